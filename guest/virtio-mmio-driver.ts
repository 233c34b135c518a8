// The transport driver of a version 2 virtio-mmio device: VIRTIO 1.4 §3.1 (initialisation) over §4.2 (registers).

import type { AccessWidth } from "../src/memory/bus.ts";
import { type FeatureSet, featureSet } from "./constants/features.ts";
import {
  VIRTIO_ID_NONE,
  VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE,
  VIRTIO_MMIO_INTERRUPT_USED_BUFFER,
  VIRTIO_MMIO_MAGIC,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_VERSION_MODERN,
} from "./constants/mmio.ts";
import {
  VIRTIO_STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_STATUS_FAILED,
  VIRTIO_STATUS_FEATURES_OK,
} from "./constants/status.ts";
import { GuestDriverError } from "./errors.ts";
import { VirtioMmioRegisters } from "./registers.ts";
import type { QueueNotifier } from "./split-virtqueue.ts";
import type { GuestTarget } from "./target.ts";
import type { Virtqueue } from "./virtqueue.ts";

/** What a register bank says it is. */
export interface DeviceIdentity {
  readonly version: number;
  /** 2 for a block device. */
  readonly deviceId: number;
  readonly vendorId: number;
}

const RESET_TIMEOUT_MS = 10_000;
const CONFIG_READ_ATTEMPTS = 100;
const INTERRUPT_BITS = VIRTIO_MMIO_INTERRUPT_USED_BUFFER | VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE;

/**
 * The steps of §3.1.1, one method each, in the order in which a driver takes them: `identify`, `reset`, `addStatus` of
 * ACKNOWLEDGE and of DRIVER, `negotiate`, `setUpQueue` for each queue, `addStatus` of DRIVER_OK. What a device does wrong is a
 * `GuestDriverError`; `fail` then tells the device that the guest has given it up.
 */
export class VirtioMmioDriver implements QueueNotifier {
  readonly registers: VirtioMmioRegisters;
  readonly #target: GuestTarget;
  /** The bits that this driver has set since the last reset. The device's own bits are never among them. */
  #statusBits = 0;

  constructor(target: GuestTarget) {
    this.#target = target;
    this.registers = new VirtioMmioRegisters(target);
  }

  /**
   * Reads who is there, and nothing else. `undefined` for the empty slot that DeviceID 0 stands for, which is no error (§4.2.2.2);
   * a `GuestDriverError` for what is no virtio-mmio device of version 2.
   */
  // @virtio MMIO-DRV-006 MMIO-DRV-008 MMIO-DRV-010 MMIO-DRV-011 MMIO-DRV-024 MMIO-DRV-025
  identify(): DeviceIdentity | undefined {
    const magic = this.registers.magicValue;
    if (magic !== VIRTIO_MMIO_MAGIC) {
      throw new GuestDriverError(
        "bad-magic",
        `MagicValue is ${hex(magic)}, not ${hex(VIRTIO_MMIO_MAGIC)}: no virtio-mmio device`,
      );
    }
    const version = this.registers.version;
    if (version !== VIRTIO_MMIO_VERSION_MODERN) {
      throw new GuestDriverError("bad-version", `Version is ${version}: this driver knows version 2`);
    }
    const deviceId = this.registers.deviceId;
    if (deviceId === VIRTIO_ID_NONE) return undefined;
    return { version, deviceId, vendorId: this.registers.vendorId };
  }

  /** Resets the device; resolves once Status reads 0, which is when the reset is over (§2.4.2). */
  // @virtio STAT-DRV-005
  async reset(): Promise<void> {
    this.startReset();
    const startedMs = this.#target.clock.nowMs();
    for (let status = this.registers.status; status !== 0; status = this.registers.status) {
      if (this.#target.clock.nowMs() - startedMs >= RESET_TIMEOUT_MS) {
        throw new GuestDriverError(
          "reset-timeout",
          `Status still reads ${hex(status)}, ${RESET_TIMEOUT_MS} ms after a reset`,
        );
      }
      await this.#target.clock.yield();
    }
  }

  /** Writes 0 to Status and does not wait. */
  startReset(): void {
    this.#statusBits = 0;
    this.registers.status = 0;
  }

  /** Sets bits of Status; none is ever cleared but by a reset (§2.1.1). */
  // @virtio STAT-DRV-001 STAT-DRV-002
  addStatus(bits: number): void {
    this.#statusBits |= bits;
    this.registers.status = this.#statusBits | (this.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET);
  }

  /** Sets FAILED: the guest has given up on the device. */
  // @virtio INIT-DRV-006
  fail(): void {
    this.addStatus(VIRTIO_STATUS_FAILED);
  }

  /** DEVICE_NEEDS_RESET is set. */
  get needsReset(): boolean {
    return (this.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) !== 0;
  }

  /** The features that the device offers, of the first 64. */
  // @virtio MMIO-DRV-012
  readOfferedFeatures(): FeatureSet {
    this.registers.deviceFeaturesSel = 1;
    const high = this.registers.deviceFeatures;
    this.registers.deviceFeaturesSel = 0;
    const low = this.registers.deviceFeatures;
    return (BigInt(high) << 32n) | BigInt(low);
  }

  /** Accepts `features`, which the device must have offered along with all of `required`, and sets FEATURES_OK. §3.1.1 steps 4 to 6 */
  // @virtio INIT-DRV-005 MMIO-DRV-013 RSVD-DRV-001
  negotiate(features: FeatureSet, required: FeatureSet): void {
    const missing = required & ~features;
    if (missing !== 0n) {
      throw new GuestDriverError("feature-missing", `the device does not offer feature ${featureNumbers(missing)}`);
    }
    this.registers.driverFeaturesSel = 1;
    this.registers.driverFeatures = Number(features >> 32n);
    this.registers.driverFeaturesSel = 0;
    this.registers.driverFeatures = Number(features & 0xffff_ffffn);
    this.addStatus(VIRTIO_STATUS_FEATURES_OK);
    if ((this.registers.status & VIRTIO_STATUS_FEATURES_OK) === 0) {
      throw new GuestDriverError("features-refused", `the device refuses features ${featureNumbers(features)}`);
    }
  }

  /**
   * Sets up queue `index` with what `create` makes of its largest size, and makes it ready. §4.2.3.2; the ring that `create`
   * returns is zeroed and of at most that size.
   */
  // @virtio MMIO-DRV-014 MMIO-DRV-015 MMIO-DRV-030
  setUpQueue<Queue extends Virtqueue>(index: number, create: (sizeMax: number) => Queue): Queue {
    this.registers.queueSel = index;
    if (this.registers.queueReady !== 0) {
      throw new GuestDriverError("queue-in-use", `queue ${index}: QueueReady is not 0 after a reset`);
    }
    const sizeMax = this.registers.queueSizeMax;
    if (sizeMax === 0)
      throw new GuestDriverError("queue-missing", `queue ${index}: QueueSizeMax is 0, there is no such queue`);
    const queue = create(sizeMax);
    this.registers.queueSize = queue.size;
    this.registers.queueDesc = queue.descriptorArea;
    this.registers.queueDriver = queue.driverArea;
    this.registers.queueDevice = queue.deviceArea;
    this.registers.queueReady = 1;
    if (this.registers.queueReady !== 1) {
      throw new GuestDriverError(
        "queue-refused",
        `queue ${index}: QueueReady does not stay 1, the device refuses the ring`,
      );
    }
    return queue;
  }

  notify(queueIndex: number): void {
    this.#target.writeRegister(VIRTIO_MMIO_QUEUE_NOTIFY, queueIndex);
  }

  /**
   * Reads why the line is raised and acknowledges that, before the caller looks at any ring: what the device does from here on
   * raises the line again. Undefined bits are neither reported nor acknowledged (§4.2.2.2). 0 when the interrupt is another's.
   */
  // @virtio MMIO-DRV-018 MMIO-DRV-019 MMIO-DRV-020 MMIO-DRV-031
  acknowledgeInterrupt(): number {
    const cause = this.registers.interruptStatus & INTERRUPT_BITS;
    if (cause !== 0) this.registers.interruptAck = cause;
    return cause;
  }

  /** One field of the device configuration space, with the access width of the field (§4.2.2.2). */
  readConfig(offset: number, width: AccessWidth): number {
    return this.registers.readConfig(offset, width);
  }

  /** A le64 field, as two accesses: only good inside `readConfigStable`. Exact up to 2^53. */
  readConfig64(offset: number): number {
    const low = this.registers.readConfig(offset, 4);
    return this.registers.readConfig(offset + 4, 4) * 2 ** 32 + low;
  }

  writeConfig(offset: number, value: number, width: AccessWidth): void {
    this.registers.writeConfig(offset, value, width);
  }

  /** What `read` returns when all that it reads of the configuration belongs together: §2.5.1. */
  // @virtio CFG-DRV-001 CFG-DRV-002
  readConfigStable<Result>(read: () => Result): Result {
    for (let attempt = 0; attempt < CONFIG_READ_ATTEMPTS; attempt++) {
      const before = this.registers.configGeneration;
      const result = read();
      if (this.registers.configGeneration === before) return result;
    }
    throw new GuestDriverError(
      "config-unstable",
      `ConfigGeneration changed during each of ${CONFIG_READ_ATTEMPTS} readings of the configuration`,
    );
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function featureNumbers(set: FeatureSet): string {
  const numbers: number[] = [];
  for (let number = 0; number < 64; number++) if ((set & featureSet(number)) !== 0n) numbers.push(number);
  return numbers.join(", ");
}

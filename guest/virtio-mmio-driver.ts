// The transport driver of a virtio-mmio device of either version: VIRTIO 1.4 §3.1 (initialisation) over §4.2 (registers).

import type { AccessWidth } from "../src/memory/bus.ts";
import {
  type FeatureSet,
  featureSet,
  hasFeature,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_RESET,
} from "./constants/features.ts";
import {
  VIRTIO_ID_NONE,
  VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE,
  VIRTIO_MMIO_INTERRUPT_USED_BUFFER,
  VIRTIO_MMIO_MAGIC,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_VERSION_LEGACY,
  VIRTIO_MMIO_VERSION_MODERN,
} from "./constants/mmio.ts";
import {
  VIRTIO_STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_STATUS_FAILED,
  VIRTIO_STATUS_FEATURES_OK,
} from "./constants/status.ts";
import { GuestDriverError } from "./errors.ts";
import { LegacyMmio } from "./legacy-mmio.ts";
import type { MmioInterface } from "./mmio-interface.ts";
import { ModernMmio } from "./modern-mmio.ts";
import { VirtioMmioRegisters } from "./registers.ts";
import type { GuestTarget } from "./target.ts";
import type { QueueNotifier, Virtqueue } from "./virtqueue.ts";

/** What a register bank says it is. */
export interface DeviceIdentity {
  readonly version: number;
  /** 2 for a block device. */
  readonly deviceId: number;
  readonly vendorId: number;
}

const RESET_TIMEOUT_MS = 10_000;
const INTERRUPT_BITS = VIRTIO_MMIO_INTERRUPT_USED_BUFFER | VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE;

/**
 * The steps of §3.1.1, one method each, in the order in which a driver takes them: `identify`, `reset`, `addStatus` of
 * ACKNOWLEDGE and of DRIVER, `negotiate`, `setUpQueue` for each queue, `addStatus` of DRIVER_OK. What a device does wrong is a
 * `GuestDriverError`; `fail` then tells the device that the guest has given it up.
 *
 * `identify` finds out which version the device is of; before it, the device counts as one of version 2.
 */
export class VirtioMmioDriver implements QueueNotifier {
  readonly registers: VirtioMmioRegisters;
  readonly #target: GuestTarget;
  /** The bits that this driver has set since the last reset. The device's own bits are never among them. */
  #statusBits = 0;
  #interface: MmioInterface;
  #features: FeatureSet = 0n;
  #notificationData = false;

  constructor(target: GuestTarget) {
    this.#target = target;
    this.registers = new VirtioMmioRegisters(target);
    this.#interface = new ModernMmio(this.registers);
  }

  /** The device is of version 1. */
  get legacy(): boolean {
    return this.#interface.version === VIRTIO_MMIO_VERSION_LEGACY;
  }

  /** Where the virtqueues of a legacy device begin and their used rings are aligned to, in bytes; undefined for version 2. */
  get legacyAlignBytes(): number | undefined {
    return this.#interface.legacyAlignBytes;
  }

  /**
   * Reads who is there, and nothing else. `undefined` for the empty slot that DeviceID 0 stands for, which is no error (§4.2.2.2);
   * a `GuestDriverError` for what is no virtio-mmio device of version 1 or 2.
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
    if (version === VIRTIO_MMIO_VERSION_LEGACY) this.#interface = new LegacyMmio(this.registers);
    else if (version !== VIRTIO_MMIO_VERSION_MODERN) {
      throw new GuestDriverError("bad-version", `Version is ${version}: this driver knows versions 1 and 2`);
    }
    const deviceId = this.registers.deviceId;
    if (deviceId === VIRTIO_ID_NONE) return undefined;
    return { version, deviceId, vendorId: this.registers.vendorId };
  }

  /** Resets the device; resolves once Status reads 0, which is when the reset is over (§2.4.2). */
  // @virtio STAT-DRV-005
  async reset(): Promise<void> {
    this.startReset();
    await this.#untilZero("Status", "a reset", () => this.registers.status);
  }

  /** Writes 0 to Status and does not wait. */
  startReset(): void {
    this.#statusBits = 0;
    this.#notificationData = false;
    this.#features = 0n;
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

  /** The features that the device offers: of the first 64, or 32 of a legacy one. */
  readOfferedFeatures(): FeatureSet {
    return this.#interface.readOfferedFeatures();
  }

  /**
   * Accepts `features`, which the device must have offered along with all of `required`, and sets FEATURES_OK, which a legacy
   * device does not know. §3.1.1 steps 4 to 6, §3.1.2
   */
  // @virtio INIT-DRV-005 INIT-DRV-009 RSVD-DRV-001 FEAT-DRV-006
  negotiate(features: FeatureSet, required: FeatureSet): void {
    const missing = required & ~features;
    if (missing !== 0n) {
      throw new GuestDriverError("feature-missing", `the device does not offer feature ${featureNumbers(missing)}`);
    }
    this.#interface.writeAcceptedFeatures(features);
    if (!this.legacy) {
      this.addStatus(VIRTIO_STATUS_FEATURES_OK);
      if ((this.registers.status & VIRTIO_STATUS_FEATURES_OK) === 0) {
        throw new GuestDriverError("features-refused", `the device refuses features ${featureNumbers(features)}`);
      }
    }
    this.#features = features;
    this.#notificationData = hasFeature(features, VIRTIO_F_NOTIFICATION_DATA);
  }

  /**
   * Sets up queue `index` with what `create` makes of its largest size, and makes it ready. The ring that `create` returns is
   * zeroed, of at most that size, and aligned to `legacyAlignBytes` where that is given.
   */
  setUpQueue<Queue extends Virtqueue>(index: number, create: (sizeMax: number) => Queue): Queue {
    return this.#interface.setUpQueue(index, create);
  }

  /** Has the device let go of queue `index`: its ring may be given back once this returns. */
  stopQueue(index: number): void {
    this.#interface.stopQueue(index);
  }

  /** Throws a `GuestDriverError` where no queue can be reset alone. */
  checkQueueReset(): void {
    if (hasFeature(this.#features, VIRTIO_F_RING_RESET)) return;
    throw new GuestDriverError("feature-missing", "VIRTIO_F_RING_RESET was not negotiated: no queue is reset alone");
  }

  /**
   * Resets queue `index` alone, after which it can be set up anew, in any size: §2.6.1. Resolves once QueueReset reads 0; the
   * device has let go of the ring and of all buffers then. Needs VIRTIO_F_RING_RESET.
   */
  // @virtio VQR-DRV-001 MMIO-DRV-021
  async resetQueue(index: number): Promise<void> {
    this.checkQueueReset();
    this.registers.queueSel = index;
    this.registers.queueReset = 1;
    await this.#untilZero(`queue ${index}: QueueReset`, "the reset of the queue", () => {
      this.registers.queueSel = index; // others may have used the registers since
      return this.registers.queueReset;
    });
  }

  // @virtio NOTIF-DRV-001 NOTIF-DRV-002 PACK-DRV-004
  notify(queueIndex: number, nextAvailable: number): void {
    const value = this.#notificationData ? (queueIndex | (nextAvailable << 16)) >>> 0 : queueIndex;
    this.#target.writeRegister(VIRTIO_MMIO_QUEUE_NOTIFY, value);
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
  readConfigStable<Result>(read: () => Result): Result {
    return this.#interface.readConfigStable(read);
  }

  async #untilZero(what: string, after: string, read: () => number): Promise<void> {
    const { clock } = this.#target;
    const startedMs = clock.nowMs();
    for (let value = read(); value !== 0; value = read()) {
      if (clock.nowMs() - startedMs >= RESET_TIMEOUT_MS) {
        throw new GuestDriverError(
          "reset-timeout",
          `${what} still reads ${hex(value)}, ${RESET_TIMEOUT_MS} ms after ${after}`,
        );
      }
      await clock.yield();
    }
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

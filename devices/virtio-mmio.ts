// The register bank of a virtio-mmio device: VIRTIO 1.4 §4.2.2, with the status rules of §2.1 and §3.1.

import { tracePoint } from "../src/base/trace.ts";
import type { AccessWidth, MmioRegion } from "../src/memory/bus.ts";
import type { GuestMemory } from "../src/memory/guest-memory.ts";
import type { InterruptLine } from "../src/memory/interrupt-line.ts";
import { type RingMistake, traceGuestError } from "./guest-mistake.ts";
import { QueueRegisters } from "./queue-registers.ts";
import type { VirtioDevice, VirtioTransport } from "./virtio-device.ts";
import {
  hasFeature,
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
} from "./virtio-features.ts";

import {
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTIO_MMIO_QUEUE_SIZE,
  VIRTIO_MMIO_QUEUE_SIZE_MAX,
  VIRTIO_MMIO_SHM_BASE_HIGH,
  VIRTIO_MMIO_SHM_BASE_LOW,
  VIRTIO_MMIO_SHM_LEN_HIGH,
  VIRTIO_MMIO_SHM_LEN_LOW,
  VIRTIO_MMIO_SHM_SEL,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VENDOR_ID,
  VIRTIO_MMIO_VERSION,
} from "./virtio-mmio-registers.ts";

const MAGIC_VALUE = 0x7472_6976; // "virt"
const VERSION = 2;
const VENDOR_ID = 0x554d_4551; // "QEMU": xv6 looks for it
const REGION_BYTES = 0x200;

const INTERRUPT_USED_BUFFER = 1;
const INTERRUPT_CONFIG_CHANGE = 2;

/** What a driver may set. DEVICE_NEEDS_RESET is the device's own. */
const DRIVER_STATUS_BITS =
  VIRTIO_CONFIG_S_ACKNOWLEDGE |
  VIRTIO_CONFIG_S_DRIVER |
  VIRTIO_CONFIG_S_DRIVER_OK |
  VIRTIO_CONFIG_S_FEATURES_OK |
  VIRTIO_CONFIG_S_FAILED;

const traceRead = tracePoint("virtio_mmio_read");
const traceWrite = tracePoint("virtio_mmio_write_offset");
const traceInterrupt = tracePoint("virtio_mmio_setting_irq");
const traceStatus = tracePoint("virtio_set_status");

/**
 * A modern (version 2) register bank in front of `device`, 0x200 bytes.
 *
 * Status, as the driver writes it:
 *
 *   0 ──ACKNOWLEDGE, DRIVER──▶ features ──FEATURES_OK──▶ queues ──DRIVER_OK──▶ live
 *   any ──0──▶ reset          any ──a broken ring──▶ DEVICE_NEEDS_RESET, stopped until reset
 *
 * Bits are added, never taken back, several at once if the driver likes; FEATURES_OK stays clear where the features will not
 * do, DRIVER_OK without FEATURES_OK. Queues may be enabled before and after DRIVER_OK, notifications count only after it.
 *
 * The interrupt line follows InterruptStatus and nothing else: raised while any bit is set.
 */
export class VirtioMmio implements MmioRegion, VirtioTransport {
  readonly size: number = REGION_BYTES;
  readonly memory: GuestMemory;
  readonly #device: VirtioDevice;
  readonly #line: InterruptLine;
  readonly #queues: readonly QueueRegisters[];

  #status = 0;
  #interruptStatus = 0;
  #deviceFeaturesSel = 0;
  #driverFeaturesSel = 0;
  #driverFeatures = 0n;
  #queueSel = 0;
  #configGeneration = 0;

  constructor(options: { device: VirtioDevice; memory: GuestMemory; line: InterruptLine }) {
    this.#device = options.device;
    this.memory = options.memory;
    this.#line = options.line;
    this.#queues = this.#device.queueSizesMax.map((sizeMax) => new QueueRegisters(options.memory, sizeMax));
    this.#device.attach(this);
  }

  read(offset: number, width: AccessWidth): number {
    const value =
      offset >= VIRTIO_MMIO_CONFIG
        ? this.#device.readConfig(offset - VIRTIO_MMIO_CONFIG, width)
        : width === 4
          ? this.#readRegister(offset)
          : this.#misuse("RegisterWidth", offset); // §4.2.2.2
    if (traceRead.enabled) traceRead.emit({ offset, width, value });
    return value;
  }

  write(offset: number, width: AccessWidth, given: number): void {
    // Emulators hand over their registers as they hold them, often signed.
    const value = width === 4 ? given >>> 0 : given & (width === 2 ? 0xffff : 0xff);
    if (traceWrite.enabled) traceWrite.emit({ offset, width, value });
    if (offset === VIRTIO_MMIO_QUEUE_NOTIFY && width === 4) this.#notifyQueue(value);
    else if (offset >= VIRTIO_MMIO_CONFIG) this.#writeConfig(offset - VIRTIO_MMIO_CONFIG, width, value);
    else if (width === 4) this.#writeRegister(offset, value);
    else this.#misuse("RegisterWidth", offset); // §4.2.2.2
  }

  notifyUsedBuffers(): void {
    this.#setInterruptStatus(this.#interruptStatus | INTERRUPT_USED_BUFFER);
  }

  // @virtio INIT-DEV-003 MMIO-DEV-007 MMIO-DEV-027 BLK-DEV-036
  notifyConfigChange(): void {
    this.#configGeneration = (this.#configGeneration + 1) >>> 0;
    if (this.#live) this.#setInterruptStatus(this.#interruptStatus | INTERRUPT_CONFIG_CHANGE);
  }

  // @virtio STAT-DEV-003 STAT-DEV-004 STAT-DEV-007
  requireReset(mistake: RingMistake, usedBuffers: boolean): void {
    traceGuestError(mistake, this.#status);
    this.#stopQueues();
    this.#status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    const configChange = this.#live ? INTERRUPT_CONFIG_CHANGE : 0; // §2.1.2
    const usedBuffer = usedBuffers ? INTERRUPT_USED_BUFFER : 0;
    this.#setInterruptStatus(this.#interruptStatus | configChange | usedBuffer);
  }

  get #live(): boolean {
    return (this.#status & VIRTIO_CONFIG_S_DRIVER_OK) !== 0;
  }

  /** The device takes no more buffers until it is reset. */
  get #stopped(): boolean {
    return (this.#status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)) !== 0;
  }

  // @virtio MMIO-DEV-001 MMIO-DEV-002 MMIO-DEV-014 MMIO-DEV-015 MMIO-DEV-016 MMIO-DEV-019 MMIO-DEV-025
  #readRegister(offset: number): number {
    switch (offset) {
      case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC_VALUE;
      case VIRTIO_MMIO_VERSION:
        return VERSION;
      case VIRTIO_MMIO_DEVICE_ID:
        return this.#device.deviceId;
      case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR_ID;
      case VIRTIO_MMIO_DEVICE_FEATURES:
        return featureWord(this.#device.offeredFeatures, this.#deviceFeaturesSel);
      case VIRTIO_MMIO_QUEUE_SIZE_MAX:
        return this.#queues[this.#queueSel]?.sizeMax ?? 0;
      case VIRTIO_MMIO_QUEUE_READY:
        return this.#queues[this.#queueSel]?.ready === true ? 1 : 0;
      case VIRTIO_MMIO_INTERRUPT_STATUS:
        return this.#interruptStatus;
      case VIRTIO_MMIO_STATUS:
        return this.#status;
      // A block device shares no memory: length and base of every region read all ones, §4.2.2.
      case VIRTIO_MMIO_SHM_LEN_LOW:
      case VIRTIO_MMIO_SHM_LEN_HIGH:
      case VIRTIO_MMIO_SHM_BASE_LOW:
      case VIRTIO_MMIO_SHM_BASE_HIGH:
        return 0xffff_ffff;
      case VIRTIO_MMIO_CONFIG_GENERATION:
        return this.#configGeneration;
      case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
      case VIRTIO_MMIO_DRIVER_FEATURES:
      case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
      case VIRTIO_MMIO_QUEUE_SEL:
      case VIRTIO_MMIO_QUEUE_SIZE:
      case VIRTIO_MMIO_QUEUE_NOTIFY:
      case VIRTIO_MMIO_INTERRUPT_ACK:
      case VIRTIO_MMIO_QUEUE_DESC_LOW:
      case VIRTIO_MMIO_QUEUE_DESC_HIGH:
      case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
      case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
      case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
      case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
      case VIRTIO_MMIO_SHM_SEL:
        return this.#misuse("RegisterWriteOnly", offset);
      default:
        return this.#misuse("RegisterUnknown", offset);
    }
  }

  #writeRegister(offset: number, value: number): void {
    switch (offset) {
      case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        this.#deviceFeaturesSel = value;
        return;
      case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        this.#driverFeaturesSel = value;
        return;
      case VIRTIO_MMIO_DRIVER_FEATURES:
        return this.#writeDriverFeatures(value);
      case VIRTIO_MMIO_QUEUE_SEL:
        this.#queueSel = value;
        return;
      case VIRTIO_MMIO_QUEUE_SIZE:
      case VIRTIO_MMIO_QUEUE_DESC_LOW:
      case VIRTIO_MMIO_QUEUE_DESC_HIGH:
      case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
      case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
      case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
      case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
        return this.#writeQueueRegister(offset, value);
      case VIRTIO_MMIO_QUEUE_READY:
        return this.#writeQueueReady(value);
      case VIRTIO_MMIO_INTERRUPT_ACK:
        return this.#setInterruptStatus(this.#interruptStatus & ~value);
      case VIRTIO_MMIO_STATUS:
        return this.#writeStatus(value);
      case VIRTIO_MMIO_SHM_SEL:
        return; // no region to select
      case VIRTIO_MMIO_MAGIC_VALUE:
      case VIRTIO_MMIO_VERSION:
      case VIRTIO_MMIO_DEVICE_ID:
      case VIRTIO_MMIO_VENDOR_ID:
      case VIRTIO_MMIO_DEVICE_FEATURES:
      case VIRTIO_MMIO_QUEUE_SIZE_MAX:
      case VIRTIO_MMIO_INTERRUPT_STATUS:
      case VIRTIO_MMIO_SHM_LEN_LOW:
      case VIRTIO_MMIO_SHM_LEN_HIGH:
      case VIRTIO_MMIO_SHM_BASE_LOW:
      case VIRTIO_MMIO_SHM_BASE_HIGH:
      case VIRTIO_MMIO_CONFIG_GENERATION:
        this.#misuse("RegisterReadOnly", offset);
        return;
      default:
        this.#misuse("RegisterUnknown", offset);
    }
  }

  // @virtio MMIO-DEV-017 FEAT-DEV-007
  #writeDriverFeatures(value: number): void {
    const settable = VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
    if ((this.#status & settable) !== VIRTIO_CONFIG_S_DRIVER) {
      this.#misuse("FeaturesAfterFeaturesOk", value);
      return;
    }
    if (this.#driverFeaturesSel > 1) return; // there are 64 features
    const shift = this.#driverFeaturesSel === 0 ? 0n : 32n;
    this.#driverFeatures = (this.#driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
  }

  // @virtio MMIO-DEV-024
  #writeQueueRegister(offset: number, value: number): void {
    const queue = this.#queues[this.#queueSel];
    if (queue === undefined) this.#misuse("QueueDoesNotExist", this.#queueSel);
    else if (queue.ready) this.#misuse("QueueChangedWhileReady", offset);
    else if (!queue.write(offset, value)) this.#misuse("QueueSizeInvalid", value);
  }

  // @virtio MMIO-DEV-008 MMIO-DEV-020
  #writeQueueReady(value: number): void {
    const index = this.#queueSel;
    const queue = this.#queues[index];
    if (queue === undefined) {
      this.#misuse("QueueDoesNotExist", index);
    } else if (value === 0) {
      if (queue.ready) this.#device.stopQueue(index);
      queue.stop();
    } else if (queue.ready) {
      this.#misuse("QueueReadyTwice", index);
    } else if (!this.#stopped) {
      const virtqueue = queue.start({
        eventIndex: hasFeature(this.#driverFeatures, VIRTIO_F_EVENT_IDX),
        indirect: hasFeature(this.#driverFeatures, VIRTIO_F_INDIRECT_DESC),
      });
      if (virtqueue === undefined) this.#misuse("QueueAddressInvalid", index);
      else this.#device.startQueue(index, virtqueue);
    }
  }

  // @virtio MMIO-DEV-021 NOTIF-DEV-001 STAT-DEV-001 STAT-DEV-002 INIT-DEV-004
  #notifyQueue(index: number): void {
    // §3.1.1: the device uses no buffer before DRIVER_OK; it looks at every queue once that is set.
    if (this.#live && !this.#stopped && this.#queues[index]?.ready === true) this.#device.notifyQueue(index);
    else this.#misuse("NotifyIgnored", index);
  }

  // @virtio STAT-DEV-005 STAT-DEV-006 STAT-DEV-007
  #writeStatus(value: number): void {
    if (traceStatus.enabled) traceStatus.emit({ value });
    if (value === 0) return this.#reset();
    if ((this.#status & ~value & DRIVER_STATUS_BITS) !== 0) this.#misuse("StatusBitsCleared", value); // §2.1.1
    const foreign = ~(DRIVER_STATUS_BITS | VIRTIO_CONFIG_S_NEEDS_RESET);
    if ((value & foreign) !== 0) this.#misuse("StatusBitsUnknown", value);
    const wanted = value & DRIVER_STATUS_BITS & ~this.#status;
    this.#status |= wanted & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FAILED);
    if ((wanted & VIRTIO_CONFIG_S_FAILED) !== 0) this.#stopQueues();
    if ((wanted & VIRTIO_CONFIG_S_FEATURES_OK) !== 0) this.#acceptFeatures();
    if ((wanted & VIRTIO_CONFIG_S_DRIVER_OK) !== 0) this.#go();
  }

  // @virtio FEAT-DEV-002 FEAT-DEV-003 FEAT-DEV-005 FEAT-DEV-010 RSVD-DEV-002
  #acceptFeatures(): void {
    const features = this.#driverFeatures;
    // §2.2.2: FEATURES_OK stays clear where the driver accepted what was not offered, or what will not do together.
    if ((features & ~this.#device.offeredFeatures) !== 0n || !this.#device.negotiate(features)) {
      this.#misuse("FeaturesRefused", Number(features & 0xffff_ffffn));
      return;
    }
    this.#status |= VIRTIO_CONFIG_S_FEATURES_OK;
  }

  #go(): void {
    if ((this.#status & VIRTIO_CONFIG_S_FEATURES_OK) === 0) {
      this.#misuse("DriverOkWithoutFeaturesOk", this.#status);
      return;
    }
    this.#status |= VIRTIO_CONFIG_S_DRIVER_OK;
    if (!this.#stopped) this.#device.go();
  }

  /** §2.4: when Status reads 0, which is when this returns, nothing touches rings, buffers or the line any more. */
  // @virtio STAT-DEV-008 STAT-DEV-009 STAT-DEV-010 MMIO-DEV-005 MMIO-DEV-006
  #reset(): void {
    this.#stopQueues();
    for (const queue of this.#queues) queue.reset();
    this.#device.reset();
    this.#deviceFeaturesSel = 0;
    this.#driverFeaturesSel = 0;
    this.#driverFeatures = 0n;
    this.#queueSel = 0;
    this.#status = 0;
    this.#setInterruptStatus(0);
  }

  #stopQueues(): void {
    for (let i = 0; i < this.#queues.length; i++) if (this.#queues[i]!.ready) this.#device.stopQueue(i);
  }

  #writeConfig(offset: number, width: AccessWidth, value: number): void {
    const writable = (this.#status & VIRTIO_CONFIG_S_FEATURES_OK) !== 0 && !this.#stopped;
    if (!writable || !this.#device.writeConfig(offset, width, value)) this.#misuse("ConfigWrite", offset);
  }

  // @virtio MMIO-DEV-003 MMIO-DEV-004 MMIO-DEV-022 MMIO-DEV-028
  #setInterruptStatus(value: number): void {
    if (value === this.#interruptStatus) return;
    this.#interruptStatus = value;
    if (traceInterrupt.enabled) traceInterrupt.emit({ interruptStatus: value });
    this.#line.set(this.#interruptStatus !== 0);
  }

  /** Class D: the access has no effect and reads as 0. */
  #misuse(mistake: Parameters<typeof traceGuestError>[0], detail: number): number {
    traceGuestError(mistake, detail);
    return 0;
  }
}

function featureWord(features: bigint, word: number): number {
  return word > 1 ? 0 : Number((features >> BigInt(32 * word)) & 0xffff_ffffn);
}

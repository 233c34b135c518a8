// The modern (version 2) registers, and the order in which a driver brings the device up with them: VIRTIO 1.4 §3.1.1, §4.2.2.

import {
  hasFeature,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
} from "../virtio-features.ts";
import type { MmioTransport } from "./mmio-transport.ts";
import { ModernQueue } from "./modern-queue.ts";
import { type RegisterBank, readSharedRegister, type Selectors, writeSharedRegister } from "./register-bank.ts";
import {
  MODERN_REGISTERS,
  readMistake,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_RESET,
  VIRTIO_MMIO_QUEUE_SIZE,
  VIRTIO_MMIO_SHM_BASE_HIGH,
  VIRTIO_MMIO_SHM_BASE_LOW,
  VIRTIO_MMIO_SHM_LEN_HIGH,
  VIRTIO_MMIO_SHM_LEN_LOW,
  VIRTIO_MMIO_SHM_SEL,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VERSION,
  writeMistake,
} from "./registers.ts";

const VERSION = 2;

/**
 * Status, as the driver writes it:
 *
 *   0 ──ACKNOWLEDGE, DRIVER──▶ features ──FEATURES_OK──▶ queues ──DRIVER_OK──▶ live
 *   any ──0──▶ reset          any ──a broken ring──▶ DEVICE_NEEDS_RESET, stopped until reset
 *
 * Bits are added, never taken back, several at once if the driver likes; FEATURES_OK stays clear where the features will not
 * do, DRIVER_OK without FEATURES_OK. Queues may be enabled before and after DRIVER_OK, notifications count only after it.
 */
export class ModernBank implements RegisterBank {
  readonly #transport: MmioTransport;
  #queues: ModernQueue[] = [];
  readonly #selectors: Selectors = { deviceFeaturesSel: 0, driverFeaturesSel: 0, queueSel: 0 };
  /** As the driver wrote them, offered or not. */
  #driverFeatures = 0n;

  constructor(transport: MmioTransport) {
    this.#transport = transport;
    this.#clear();
  }

  get configWritable(): boolean {
    return this.#featuresOk;
  }

  powerOn(): void {
    this.#reset();
  }

  // @virtio MMIO-DEV-002 MMIO-DEV-009 MMIO-DEV-010 MMIO-DEV-012 MMIO-DEV-013 MMIO-DEV-020 MMIO-DEV-025 SHM-DEV-001
  read(offset: number): number {
    const transport = this.#transport;
    switch (offset) {
      case VIRTIO_MMIO_VERSION:
        return VERSION;
      case VIRTIO_MMIO_QUEUE_READY:
        return transport.isEnabled(this.#selectors.queueSel) ? 1 : 0;
      // A block device shares no memory: length and base of every region read all ones, §4.2.2.
      case VIRTIO_MMIO_SHM_LEN_LOW:
      case VIRTIO_MMIO_SHM_LEN_HIGH:
      case VIRTIO_MMIO_SHM_BASE_LOW:
      case VIRTIO_MMIO_SHM_BASE_HIGH:
        return 0xffff_ffff;
      case VIRTIO_MMIO_QUEUE_RESET:
        // The reset of a queue is over within the write that asks for it.
        return this.#mayResetQueues ? 0 : transport.misuse("RegisterUnknown", offset);
      case VIRTIO_MMIO_CONFIG_GENERATION:
        return transport.configGeneration;
      default:
        return (
          readSharedRegister(transport, this.#selectors, offset) ??
          transport.misuse(readMistake(MODERN_REGISTERS, offset), offset)
        );
    }
  }

  // @virtio MMIO-DEV-018
  write(offset: number, value: number): void {
    switch (offset) {
      case VIRTIO_MMIO_QUEUE_NOTIFY:
        // §3.1.1: the device uses no buffer before DRIVER_OK; it looks at every queue once that is set.
        this.#transport.misuse("NotifyIgnored", value);
        return;
      case VIRTIO_MMIO_STATUS:
        return this.#writeStatus(value);
      case VIRTIO_MMIO_DRIVER_FEATURES:
        return this.#writeDriverFeatures(value);
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
      case VIRTIO_MMIO_QUEUE_RESET:
        return this.#writeQueueReset(value);
      case VIRTIO_MMIO_SHM_SEL:
        return; // no region to select
      default:
        if (writeSharedRegister(this.#transport, this.#selectors, offset, value)) return;
        this.#transport.misuse(writeMistake(MODERN_REGISTERS, offset), offset);
    }
  }

  get #featuresOk(): boolean {
    return (this.#transport.status & VIRTIO_CONFIG_S_FEATURES_OK) !== 0;
  }

  /** What was negotiated; before FEATURES_OK, what would be. */
  get #features(): bigint {
    return this.#driverFeatures & this.#transport.offeredFeatures;
  }

  get #mayResetQueues(): boolean {
    return this.#featuresOk && hasFeature(this.#driverFeatures, VIRTIO_F_RING_RESET);
  }

  // @virtio MMIO-DEV-017 FEAT-DEV-007
  #writeDriverFeatures(value: number): void {
    const settable = VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
    if ((this.#transport.status & settable) !== VIRTIO_CONFIG_S_DRIVER) {
      this.#transport.misuse("FeaturesAfterFeaturesOk", value);
      return;
    }
    const { driverFeaturesSel } = this.#selectors;
    if (driverFeaturesSel > 1) return; // there are 64 features
    const shift = driverFeaturesSel === 0 ? 0n : 32n;
    this.#driverFeatures = (this.#driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
  }

  // @virtio MMIO-DEV-024
  #writeQueueRegister(offset: number, value: number): void {
    const { queueSel } = this.#selectors;
    const queue = this.#queues[queueSel];
    if (queue === undefined) this.#transport.misuse("QueueDoesNotExist", queueSel);
    else if (this.#transport.isEnabled(queueSel)) this.#transport.misuse("QueueChangedWhileReady", offset);
    else if (offset === VIRTIO_MMIO_QUEUE_SIZE && !this.#isQueueSize(value))
      this.#transport.misuse("QueueSizeInvalid", value);
    else queue.write(offset, value);
  }

  /** §2.7: a power of two, §2.8: any; all 32 bits count, so that 0x10008 is not 8. */
  #isQueueSize(value: number): boolean {
    if (value === 0 || value > this.#transport.queueSizesMax[this.#selectors.queueSel]!) return false;
    return (value & (value - 1)) === 0 || (this.#featuresOk && hasFeature(this.#features, VIRTIO_F_RING_PACKED));
  }

  // @virtio MMIO-DEV-008 MMIO-DEV-020
  #writeQueueReady(value: number): void {
    const transport = this.#transport;
    const { queueSel } = this.#selectors;
    const queue = this.#queues[queueSel];
    if (queue === undefined) {
      transport.misuse("QueueDoesNotExist", queueSel);
    } else if (value === 0) {
      transport.disableQueue(queueSel);
    } else if (transport.isEnabled(queueSel)) {
      transport.misuse("QueueReadyTwice", queueSel);
    } else if (!transport.stopped && !transport.enableQueue(queueSel, queue.areas, this.#features)) {
      transport.misuse("QueueAddressInvalid", queueSel);
    }
  }

  /** §2.6.1: the queue is as before it was enabled; its size and addresses stand until the driver writes others. */
  // @virtio VQR-DEV-001 VQR-DEV-002 VQR-DEV-003 VQR-DEV-004 MMIO-DEV-011 MMIO-DEV-013
  #writeQueueReset(value: number): void {
    const transport = this.#transport;
    const { queueSel } = this.#selectors;
    if (!this.#mayResetQueues) transport.misuse("RegisterUnknown", VIRTIO_MMIO_QUEUE_RESET);
    else if (this.#queues[queueSel] === undefined) transport.misuse("QueueDoesNotExist", queueSel);
    else if (value !== 1) transport.misuse("QueueResetInvalid", value);
    else transport.disableQueue(queueSel);
  }

  // @virtio STAT-DEV-005 STAT-DEV-006 STAT-DEV-007
  #writeStatus(value: number): void {
    if (value === 0) return this.#reset();
    const wanted = this.#transport.writeStatus(value);
    if ((wanted & VIRTIO_CONFIG_S_FEATURES_OK) !== 0) this.#acceptFeatures();
    if ((wanted & VIRTIO_CONFIG_S_DRIVER_OK) !== 0) this.#go();
  }

  // @virtio FEAT-DEV-002 FEAT-DEV-003 FEAT-DEV-005 FEAT-DEV-010 RSVD-DEV-002 RSVD-DEV-004
  #acceptFeatures(): void {
    const features = this.#driverFeatures;
    // §2.2.2: FEATURES_OK stays clear where the driver accepted what was not offered, or what will not do together.
    if ((features & ~this.#transport.offeredFeatures) !== 0n || !this.#transport.negotiate(features)) {
      this.#transport.misuse("FeaturesRefused", Number(features & 0xffff_ffffn));
      return;
    }
    this.#transport.setStatus(VIRTIO_CONFIG_S_FEATURES_OK);
  }

  #go(): void {
    if (!this.#featuresOk) {
      this.#transport.misuse("DriverOkWithoutFeaturesOk", this.#transport.status);
      return;
    }
    this.#transport.setStatus(VIRTIO_CONFIG_S_DRIVER_OK);
    this.#transport.go();
  }

  #reset(): void {
    this.#clear();
    this.#transport.reset();
  }

  #clear(): void {
    this.#queues = this.#transport.queueSizesMax.map(() => new ModernQueue());
    this.#driverFeatures = 0n;
    this.#selectors.deviceFeaturesSel = 0;
    this.#selectors.driverFeaturesSel = 0;
    this.#selectors.queueSel = 0;
  }
}

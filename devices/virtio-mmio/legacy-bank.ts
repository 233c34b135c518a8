// The legacy (version 1) registers, and the looser order of the drivers that use them: VIRTIO 1.4 §3.1.2, §4.2.4.

import {
  featureSet,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_F_EVENT_IDX,
} from "../virtio-features.ts";
import { layoutMistake } from "../virtqueue/create-virtqueue.ts";
import { LegacyQueue } from "./legacy-queue.ts";
import type { MmioTransport } from "./mmio-transport.ts";
import { queueLayout } from "./queue-areas.ts";
import { type RegisterBank, readSharedRegister, type Selectors, writeSharedRegister } from "./register-bank.ts";
import {
  LEGACY_REGISTERS,
  readMistake,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_GUEST_PAGE_SIZE,
  VIRTIO_MMIO_QUEUE_ALIGN,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_PFN,
  VIRTIO_MMIO_QUEUE_SIZE,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VERSION,
  writeMistake,
} from "./registers.ts";

const VERSION = 1;
const LARGEST_LAYOUT = featureSet(VIRTIO_F_EVENT_IDX);

/**
 * A legacy driver writes its features, places its queues and may use them; DRIVER_OK comes when it comes. The features are
 * settled by whichever is first, DRIVER_OK or a notification of a queue that has a place: then the device starts what queues
 * there are. There is no FEATURES_OK that could be refused, so that features that were not offered count as not accepted; the
 * bit itself reads back as written.
 *
 * GuestPageSize outlives a reset: drivers write it once, before they reset the device for the first time.
 */
// @virtio FEAT-DEV-008 FEAT-DEV-009 MMIO-DEV-031
export class LegacyBank implements RegisterBank {
  readonly #transport: MmioTransport;
  readonly #selectors: Selectors = { deviceFeaturesSel: 0, driverFeaturesSel: 0, queueSel: 0 };
  #queues: LegacyQueue[] = [];
  #guestPageBytes = 0;
  #driverFeatures = 0n;
  /** The features are, and the queues run. */
  #settled = false;

  constructor(transport: MmioTransport) {
    this.#transport = transport;
    this.#clear();
  }

  // @virtio INIT-DEV-001
  get configWritable(): boolean {
    return true;
  }

  powerOn(): void {
    this.#guestPageBytes = 0;
    this.#reset();
  }

  // @virtio MMIO-DEV-033
  read(offset: number): number {
    const transport = this.#transport;
    switch (offset) {
      case VIRTIO_MMIO_VERSION:
        return VERSION;
      case VIRTIO_MMIO_QUEUE_PFN:
        return this.#queues[this.#selectors.queueSel]?.pageNumber ?? 0;
      default:
        return (
          readSharedRegister(transport, this.#selectors, offset) ??
          transport.misuse(readMistake(LEGACY_REGISTERS, offset), offset)
        );
    }
  }

  write(offset: number, value: number): void {
    switch (offset) {
      case VIRTIO_MMIO_QUEUE_NOTIFY:
        return this.#notifyEarly(value);
      case VIRTIO_MMIO_STATUS:
        return this.#writeStatus(value);
      case VIRTIO_MMIO_DRIVER_FEATURES:
        return this.#writeDriverFeatures(value);
      case VIRTIO_MMIO_GUEST_PAGE_SIZE:
        return this.#writeGuestPageSize(value);
      case VIRTIO_MMIO_QUEUE_SIZE:
      case VIRTIO_MMIO_QUEUE_ALIGN:
      case VIRTIO_MMIO_QUEUE_PFN:
        return this.#writeQueueRegister(offset, value);
      default:
        if (writeSharedRegister(this.#transport, this.#selectors, offset, value)) return;
        this.#transport.misuse(writeMistake(LEGACY_REGISTERS, offset), offset);
    }
  }

  /** Features from 32 on are not for legacy drivers. */
  #writeDriverFeatures(value: number): void {
    if (this.#settled) this.#transport.misuse("FeaturesAfterFeaturesOk", value);
    else if (this.#selectors.driverFeaturesSel === 0) this.#driverFeatures = BigInt(value);
  }

  #writeGuestPageSize(value: number): void {
    if (isPowerOfTwo(value)) this.#guestPageBytes = value;
    else this.#transport.misuse("GuestPageSizeInvalid", value);
  }

  #writeQueueRegister(offset: number, value: number): void {
    const transport = this.#transport;
    const { queueSel } = this.#selectors;
    const queue = this.#queues[queueSel];
    if (queue === undefined) transport.misuse("QueueDoesNotExist", queueSel);
    else if (offset === VIRTIO_MMIO_QUEUE_PFN && value === 0) this.#stopQueue(queueSel, queue);
    else if (queue.pageNumber !== 0) transport.misuse("QueueChangedWhileReady", offset);
    else if (offset === VIRTIO_MMIO_QUEUE_PFN) this.#placeQueue(queueSel, queue, value);
    else if (offset === VIRTIO_MMIO_QUEUE_ALIGN) this.#writeQueueAlign(queue, value);
    else if (isPowerOfTwo(value) && value <= transport.queueSizesMax[queueSel]!) queue.size = value;
    else transport.misuse("QueueSizeInvalid", value);
  }

  #writeQueueAlign(queue: LegacyQueue, value: number): void {
    if (isPowerOfTwo(value)) queue.alignBytes = value;
    else this.#transport.misuse("QueueAlignInvalid", value);
  }

  /** The other queues go on: §4.2.4. */
  #stopQueue(index: number, queue: LegacyQueue): void {
    queue.pageNumber = 0;
    queue.areas = undefined;
    this.#transport.disableQueue(index);
  }

  /** A ring that does not lie well in RAM, with the event fields that the layout always has, gets no place. */
  #placeQueue(index: number, queue: LegacyQueue, pageNumber: number): void {
    const transport = this.#transport;
    const areas = queue.areasAt(pageNumber, this.#guestPageBytes);
    if (transport.stopped) return;
    if (
      this.#guestPageBytes === 0 ||
      layoutMistake(transport.memory, queueLayout(areas, LARGEST_LAYOUT, false)) !== undefined
    ) {
      transport.misuse("QueueAddressInvalid", index);
      return;
    }
    queue.pageNumber = pageNumber;
    queue.areas = areas;
    if (this.#settled) transport.enableQueue(index, areas, this.#features);
  }

  get #features(): bigint {
    return this.#driverFeatures & this.#transport.offeredFeatures;
  }

  // @virtio INIT-DEV-002
  #notifyEarly(index: number): void {
    const waiting = !this.#settled && (this.#queues[index]?.pageNumber ?? 0) !== 0;
    if (waiting && !this.#transport.stopped) this.#settle();
    else this.#transport.misuse("NotifyIgnored", index);
  }

  // @virtio MMIO-DEV-035
  #writeStatus(value: number): void {
    if (value === 0) return this.#reset();
    const wanted = this.#transport.writeStatus(value);
    this.#transport.setStatus(wanted & VIRTIO_CONFIG_S_FEATURES_OK);
    if ((wanted & VIRTIO_CONFIG_S_DRIVER_OK) === 0) return;
    this.#transport.setStatus(VIRTIO_CONFIG_S_DRIVER_OK);
    if (!this.#settled) this.#settle();
  }

  /** Looks at every queue that has a place: one of them was notified, or DRIVER_OK is set. */
  #settle(): void {
    const transport = this.#transport;
    this.#settled = true;
    const features = this.#features;
    if (!transport.negotiate(features)) {
      transport.misuse("FeaturesRefused", Number(features));
      return;
    }
    if (!transport.stopped) {
      for (const [index, { areas }] of this.#queues.entries()) {
        if (areas !== undefined) transport.enableQueue(index, areas, features);
      }
    }
    transport.go();
  }

  #reset(): void {
    this.#clear();
    this.#transport.reset();
  }

  #clear(): void {
    this.#queues = this.#transport.queueSizesMax.map((sizeMax) => new LegacyQueue(sizeMax));
    this.#driverFeatures = 0n;
    this.#settled = false;
    this.#selectors.deviceFeaturesSel = 0;
    this.#selectors.driverFeaturesSel = 0;
    this.#selectors.queueSel = 0;
  }
}

function isPowerOfTwo(value: number): boolean {
  return value !== 0 && (value & (value - 1)) === 0;
}

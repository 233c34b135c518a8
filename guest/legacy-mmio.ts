// Version 1 of virtio-mmio, the legacy interface, for its driver: VIRTIO 1.4 §4.2.4, §2.5.4.

import type { FeatureSet } from "./constants/features.ts";
import { VIRTIO_MMIO_VERSION_LEGACY } from "./constants/mmio.ts";
import { GuestDriverError } from "./errors.ts";
import { CONFIG_READ_ATTEMPTS, type MmioInterface } from "./mmio-interface.ts";
import type { VirtioMmioRegisters } from "./registers.ts";
import type { Virtqueue } from "./virtqueue.ts";

/** The unit of QueuePFN and the alignment of the used ring: both the driver's choice. */
const PAGE_BYTES = 4096;
const MAX_PAGES = 2 ** 32;

/** A queue is one block of pages, features have 32 bits, and whether the configuration stands still is seen by reading twice. */
export class LegacyMmio implements MmioInterface {
  readonly version: number = VIRTIO_MMIO_VERSION_LEGACY;
  readonly legacyAlignBytes: number = PAGE_BYTES;
  readonly #registers: VirtioMmioRegisters;

  constructor(registers: VirtioMmioRegisters) {
    this.#registers = registers;
  }

  readOfferedFeatures(): FeatureSet {
    this.#registers.deviceFeaturesSel = 0;
    return BigInt(this.#registers.deviceFeatures);
  }

  writeAcceptedFeatures(features: FeatureSet): void {
    this.#registers.driverFeaturesSel = 0;
    this.#registers.driverFeatures = Number(features & 0xffff_ffffn);
    this.#registers.guestPageSize = PAGE_BYTES; // before any queue is configured
  }

  // @virtio MMIO-DRV-014 MMIO-DRV-034 MMIO-DRV-035 MMIO-DRV-036 SPLIT-DRV-001
  setUpQueue<Queue extends Virtqueue>(index: number, create: (sizeMax: number) => Queue): Queue {
    const registers = this.#registers;
    registers.queueSel = index;
    if (registers.queuePfn !== 0) {
      throw new GuestDriverError("queue-in-use", `queue ${index}: QueuePFN is not 0 after a reset`);
    }
    const sizeMax = registers.queueSizeMax;
    if (sizeMax === 0) {
      throw new GuestDriverError("queue-missing", `queue ${index}: QueueSizeMax is 0, there is no such queue`);
    }
    const queue = create(sizeMax);
    const page = queue.descriptorArea / PAGE_BYTES;
    if (!Number.isInteger(page) || page >= MAX_PAGES) {
      throw new GuestDriverError(
        "queue-refused",
        `queue ${index}: QueuePFN cannot say 0x${queue.descriptorArea.toString(16)}`,
      );
    }
    registers.queueSize = queue.size;
    registers.queueAlign = PAGE_BYTES;
    registers.queuePfn = page;
    if (registers.queuePfn !== page) {
      throw new GuestDriverError(
        "queue-refused",
        `queue ${index}: QueuePFN does not stay ${page}, the device refuses the ring`,
      );
    }
    return queue;
  }

  stopQueue(index: number): void {
    this.#registers.queueSel = index;
    this.#registers.queuePfn = 0;
  }

  /** §2.5.4: until two readings agree. */
  // @virtio CFG-DRV-006
  readConfigStable<Result>(read: () => Result): Result {
    let before = read();
    for (let attempt = 1; attempt < CONFIG_READ_ATTEMPTS; attempt++) {
      const result = read();
      if (JSON.stringify(result) === JSON.stringify(before)) return result;
      before = result;
    }
    throw new GuestDriverError(
      "config-unstable",
      `no two of ${CONFIG_READ_ATTEMPTS} readings of the configuration in a row agreed`,
    );
  }
}

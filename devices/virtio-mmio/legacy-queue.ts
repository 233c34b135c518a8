// What the legacy register bank keeps for each queue, and the one place in RAM that follows from it: VIRTIO 1.4 §2.7.2, §4.2.4.

import type { QueueAreas } from "./queue-areas.ts";

const DEFAULT_ALIGN_BYTES = 4096;

/** Size, alignment and page of one queue. */
export class LegacyQueue {
  /** The greatest size until the driver writes one: it laid its ring out by QueueSizeMax. */
  size: number;
  alignBytes: number = DEFAULT_ALIGN_BYTES;
  /** The guest's page at which the ring begins; 0 while the queue is not in use. */
  pageNumber = 0;
  /** Where the ring lies since it was given that page. */
  areas: QueueAreas | undefined = undefined;

  constructor(sizeMax: number) {
    this.size = sizeMax;
  }

  /** Descriptors, the available ring right behind them, the used ring at the next multiple of the alignment. */
  // @virtio SPLIT-DEV-004 MMIO-DEV-032 MMIO-DEV-034
  areasAt(pageNumber: number, pageBytes: number): QueueAreas {
    const { size, alignBytes } = this;
    const descriptorArea = pageNumber * pageBytes; // above 2^53 rounded; no RAM lies there
    const driverArea = descriptorArea + 16 * size;
    const driverEnd = driverArea + 2 * (3 + size);
    return { size, descriptorArea, driverArea, deviceArea: Math.ceil(driverEnd / alignBytes) * alignBytes };
  }
}

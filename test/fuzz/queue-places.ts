// Where the guest has put its queues, by the registers that it wrote: VIRTIO 1.4 §4.2.2 and §4.2.4, without the device's help.

import type { VirtqueueLayout } from "../../devices/virtqueue/virtqueue.ts";
import type { FuzzLayout } from "./program.ts";

const TWO_TO_32 = 2 ** 32;
const ADDRESSES = [0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4];

export type QueuePlace = Pick<VirtqueueLayout, "size" | "descriptorArea" | "driverArea" | "deviceArea">;

interface QueueRegisters {
  size: number;
  align: number;
  readonly addresses: Map<number, number>;
  place: QueuePlace | undefined;
}

/** Told of each register write, before and after it. */
export class QueuePlaces {
  readonly #layout: FuzzLayout;
  readonly #sizeMax: number;
  readonly #read: (offset: number) => number;
  #queues: QueueRegisters[];
  #selected = 0;
  #pageBytes = 0;

  constructor(layout: FuzzLayout, queues: number, sizeMax: number, read: (offset: number) => number) {
    this.#layout = layout;
    this.#sizeMax = sizeMax;
    this.#read = read;
    this.#queues = Array.from({ length: queues }, () => this.#fresh());
  }

  /** The queues that the device has taken. */
  get ready(): QueuePlace[] {
    return this.#queues.flatMap(({ place }) => (place === undefined ? [] : [place]));
  }

  get #legacy(): boolean {
    return this.#layout !== "split" && this.#layout !== "packed";
  }

  /** True when the write can only end a queue: nothing may be written any more. Selected queues end alone. */
  before(offset: number, value: number, width: number): void {
    if (width !== 4) return;
    if (offset === 0x070 && value === 0) {
      this.#selected = 0;
      this.#queues = this.#queues.map(() => this.#fresh());
    }
    const queue = this.#queues[this.#selected];
    if (queue === undefined) return;
    const ends = this.#legacy ? offset === 0x040 && value === 0 : offset === 0x044 && value === 0;
    if (ends) queue.place = undefined;
  }

  after(offset: number, value: number, width: number): void {
    if (width !== 4) return;
    if (offset === 0x030) this.#selected = value;
    if (offset === 0x028 && this.#legacy && isPowerOfTwo(value)) this.#pageBytes = value;
    const queue = this.#queues[this.#selected];
    if (queue === undefined) return;
    if (this.#legacy) this.#noteLegacy(queue, offset, value);
    else this.#noteModern(queue, offset, value);
  }

  #noteModern(queue: QueueRegisters, offset: number, value: number): void {
    if (offset === 0x044 || offset === 0x0c0) {
      if (this.#read(0x044) !== 1) queue.place = undefined;
      else queue.place ??= this.#modernPlace(queue);
    } else if (queue.place === undefined) {
      const good = isPowerOfTwo(value) || (this.#layout === "packed" && (this.#read(0x070) & 8) !== 0 && value > 0);
      if (offset === 0x038 && good && value <= this.#sizeMax) queue.size = value;
      else if (ADDRESSES.includes(offset)) queue.addresses.set(offset, value);
    }
  }

  #noteLegacy(queue: QueueRegisters, offset: number, value: number): void {
    if (offset === 0x040) {
      const page = this.#read(0x040);
      if (page === 0) queue.place = undefined;
      else queue.place ??= legacyPlace(page * this.#pageBytes, queue.size, queue.align);
    } else if (queue.place === undefined && isPowerOfTwo(value)) {
      if (offset === 0x038 && value <= this.#sizeMax) queue.size = value;
      else if (offset === 0x03c) queue.align = value;
    }
  }

  #modernPlace({ size, addresses }: QueueRegisters): QueuePlace {
    const at = (low: number): number => (addresses.get(low) ?? 0) + (addresses.get(low + 4) ?? 0) * TWO_TO_32;
    return { size, descriptorArea: at(0x080), driverArea: at(0x090), deviceArea: at(0x0a0) };
  }

  #fresh(): QueueRegisters {
    return { size: this.#legacy ? this.#sizeMax : 0, align: 4096, addresses: new Map(), place: undefined };
  }
}

/** §2.7.2: the available ring follows the descriptors, the used ring at the next multiple of the alignment. */
export function legacyPlace(descriptorArea: number, size: number, align: number): QueuePlace {
  const driverArea = descriptorArea + 16 * size;
  return { size, descriptorArea, driverArea, deviceArea: Math.ceil((driverArea + 6 + 2 * size) / align) * align };
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

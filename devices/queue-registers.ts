// What the register bank keeps for each queue: size, addresses and whether it is enabled. VIRTIO 1.4 §4.2.2.

import { unreachable } from "../src/base/assert.ts";
import type { GuestMemory } from "../src/memory/guest-memory.ts";
import {
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_SIZE,
} from "./virtio-mmio-registers.ts";
import { SplitVirtqueue, splitLayoutMistake } from "./virtqueue/split-virtqueue.ts";
import type { Virtqueue } from "./virtqueue/virtqueue.ts";

const TWO_TO_32 = 2 ** 32;

/** The registers of one queue. While it is ready nothing here changes but by `stop` and `reset`. */
export class QueueRegisters {
  readonly sizeMax: number;
  readonly #memory: GuestMemory;
  #size = 0;
  #ready = false;
  #descriptorLow = 0;
  #descriptorHigh = 0;
  #driverLow = 0;
  #driverHigh = 0;
  #deviceLow = 0;
  #deviceHigh = 0;

  constructor(memory: GuestMemory, sizeMax: number) {
    this.#memory = memory;
    this.sizeMax = sizeMax;
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Writes size or addresses; false, and no effect, for a size that a split ring cannot have. */
  write(offset: number, value: number): boolean {
    switch (offset) {
      case VIRTIO_MMIO_QUEUE_SIZE:
        return this.#writeSize(value);
      case VIRTIO_MMIO_QUEUE_DESC_LOW:
        this.#descriptorLow = value;
        return true;
      case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        this.#descriptorHigh = value;
        return true;
      case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
        this.#driverLow = value;
        return true;
      case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
        this.#driverHigh = value;
        return true;
      case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
        this.#deviceLow = value;
        return true;
      case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
        this.#deviceHigh = value;
        return true;
      default:
        return unreachable(offset as never);
    }
  }

  /** Enables the queue, with its indices at 0; undefined, and it stays disabled, where its areas do not lie well in RAM. */
  start(features: { readonly eventIndex: boolean; readonly indirect: boolean }): Virtqueue | undefined {
    const layout = {
      size: this.#size,
      // Above 2^53 the sum is rounded; no RAM lies there.
      descriptorArea: this.#descriptorHigh * TWO_TO_32 + this.#descriptorLow,
      driverArea: this.#driverHigh * TWO_TO_32 + this.#driverLow,
      deviceArea: this.#deviceHigh * TWO_TO_32 + this.#deviceLow,
      ...features,
    };
    if (this.#size === 0 || splitLayoutMistake(this.#memory, layout) !== undefined) return undefined;
    this.#ready = true;
    return new SplitVirtqueue(this.#memory, layout);
  }

  stop(): void {
    this.#ready = false;
  }

  reset(): void {
    this.#ready = false;
    this.#size = 0;
    this.#descriptorLow = 0;
    this.#descriptorHigh = 0;
    this.#driverLow = 0;
    this.#driverHigh = 0;
    this.#deviceLow = 0;
    this.#deviceHigh = 0;
  }

  /** §2.7: a power of two; all 32 bits count, so that 0x10008 is not 8. */
  #writeSize(value: number): boolean {
    if (value === 0 || value > this.sizeMax || (value & (value - 1)) !== 0) return false;
    this.#size = value;
    return true;
  }
}

// What the modern register bank keeps for each queue: its size and three addresses. VIRTIO 1.4 §4.2.2.

import { unreachable } from "../../src/base/assert.ts";
import type { QueueAreas } from "./queue-areas.ts";
import {
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_SIZE,
} from "./registers.ts";

const TWO_TO_32 = 2 ** 32;

/** The registers of one queue, 0 until they are written. */
export class ModernQueue {
  #size = 0;
  #descriptorLow = 0;
  #descriptorHigh = 0;
  #driverLow = 0;
  #driverHigh = 0;
  #deviceLow = 0;
  #deviceHigh = 0;

  /** Where the driver says that the queue lies. */
  get areas(): QueueAreas {
    return {
      size: this.#size,
      // Above 2^53 the sum is rounded; no RAM lies there.
      descriptorArea: this.#descriptorHigh * TWO_TO_32 + this.#descriptorLow,
      driverArea: this.#driverHigh * TWO_TO_32 + this.#driverLow,
      deviceArea: this.#deviceHigh * TWO_TO_32 + this.#deviceLow,
    };
  }

  /** Writes a size that is known to be good, or half an address. */
  write(offset: number, value: number): void {
    switch (offset) {
      case VIRTIO_MMIO_QUEUE_SIZE:
        this.#size = value;
        return;
      case VIRTIO_MMIO_QUEUE_DESC_LOW:
        this.#descriptorLow = value;
        return;
      case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        this.#descriptorHigh = value;
        return;
      case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
        this.#driverLow = value;
        return;
      case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
        this.#driverHigh = value;
        return;
      case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
        this.#deviceLow = value;
        return;
      case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
        this.#deviceHigh = value;
        return;
      default:
        unreachable(offset as never);
    }
  }
}

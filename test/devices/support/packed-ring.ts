// A packed ring whose every descriptor a test writes itself, and the device's queue over it. VIRTIO 1.4 §2.8.

import { createVirtqueue } from "../../../devices/virtqueue/create-virtqueue.ts";
import { DescriptorChain } from "../../../devices/virtqueue/descriptor-chain.ts";
import type { PopResult, Virtqueue, VirtqueueLayout } from "../../../devices/virtqueue/virtqueue.ts";
import { placeRing, type RingPlace } from "./ring-driver.ts";

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
/** AVAIL and USED of an available descriptor in laps 1, 3, 5... and in the others. */
export const LAP_1 = 0x80;
export const LAP_2 = 0x8000;

/** A descriptor; 16 bytes of RAM that nobody else has unless it says where. */
export interface PackedSlot {
  readonly address?: number | bigint;
  readonly lengthBytes?: number;
  readonly id?: number;
  readonly flags: number;
}

/** A packed ring whose slots a test writes itself. */
export class PackedRing {
  readonly place: RingPlace;
  readonly queue: Virtqueue;

  constructor(layout: Partial<VirtqueueLayout> & { readonly size: number }) {
    this.place = placeRing({ ...layout, packed: true });
    const queue = createVirtqueue(this.place.memory, this.place.layout);
    if (typeof queue === "string") throw new Error(queue);
    this.queue = queue;
  }

  write(slot: number, what: PackedSlot): void {
    this.writeAt(this.place.layout.descriptorArea + 16 * slot, what);
  }

  writeAt(at: number, { address = this.place.data, lengthBytes = 16, id = 0, flags }: PackedSlot): void {
    const { memory } = this.place;
    memory.writeU64(at, BigInt(address));
    memory.writeU32(at + 8, lengthBytes);
    memory.writeU16(at + 12, id);
    memory.writeU16(at + 14, flags);
  }

  /** Id, length and flags that stand in a slot. */
  used(slot: number): { id: number; lengthBytes: number; flags: number } {
    const { memory, layout } = this.place;
    const at = layout.descriptorArea + 16 * slot;
    return { id: memory.readU16(at + 12), lengthBytes: memory.readU32(at + 8), flags: memory.readU16(at + 14) };
  }

  pop(): [PopResult, DescriptorChain] {
    const chain = new DescriptorChain(this.place.memory);
    return [this.queue.pop(chain), chain];
  }

  /** The chain that must be there. */
  take(): DescriptorChain {
    const [result, chain] = this.pop();
    if (result !== "chain") throw new Error(`${this.queue.mistake ?? result} instead of a chain`);
    return chain;
  }

  /** What the queue says of the ring as it stands: its mistake, or what it finds. */
  look(): string {
    const [first] = this.pop();
    if (first === "broken" && this.pop()[0] !== "broken") throw new Error("it does not stay broken");
    return this.queue.mistake ?? first;
  }
}

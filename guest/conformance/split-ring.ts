// A split virtqueue driven by the suite: VIRTIO 1.4 §2.7, a driver as plain as it can be.

import { assert } from "../../src/base/assert.ts";
import {
  type FeatureSet,
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_NOTIFICATION_DATA,
} from "../constants/features.ts";
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_BYTES,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../constants/ring.ts";
import { RawSplitQueue } from "../raw-split-queue.ts";
import type { SplitRingLayout } from "../split-ring-layout.ts";
import type { Conversation } from "./conversation.ts";
import type { Ring, RingBuffer, UsedBuffer } from "./ring.ts";
import type { RingServices } from "./ring-services.ts";

/** Descriptors are taken in ring order, so that the same code serves IN_ORDER. `raw` is the same ring, for cases that bend it. */
export class SplitRing implements Ring {
  readonly index: number;
  readonly features: FeatureSet;
  readonly raw: RawSplitQueue;
  readonly #services: RingServices;
  readonly #conversation: Conversation;
  /** Descriptors of each list in the ring, by head; insertion order is that of making available. */
  readonly #lists = new Map<number, { readonly descriptors: number; readonly table: number | undefined }>();
  readonly #batch: UsedBuffer[] = [];
  #nextDescriptor = 0;
  #freeDescriptors: number;
  #availIdx = 0;
  #usedIdx = 0;

  constructor(index: number, layout: SplitRingLayout, features: FeatureSet, services: RingServices) {
    this.index = index;
    this.features = features;
    this.#services = services;
    this.#conversation = services.conversation;
    this.raw = new RawSplitQueue(services.target, layout);
    this.#freeDescriptors = layout.size;
  }

  get size(): number {
    return this.raw.size;
  }
  get descriptorArea(): number {
    return this.raw.layout.descriptorTable;
  }
  get driverArea(): number {
    return this.raw.layout.availableRing;
  }
  get deviceArea(): number {
    return this.raw.layout.usedRing;
  }
  get outstanding(): number {
    return this.#lists.size + this.#batch.length;
  }
  /** The free-running index up to which used buffers were taken. */
  get usedSeen(): number {
    return this.#usedIdx;
  }

  expose(buffers: readonly RingBuffer[], options: { readonly indirect?: boolean } = {}): number {
    const head = options.indirect === true ? this.#writeIndirect(buffers) : this.#writeDirect(buffers);
    this.raw.writeAvailable(this.#availIdx % this.size, head);
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    this.raw.availIdx = this.#availIdx;
    this.#conversation.note(`ring ${this.index}: ${describe(buffers)} at ${head}, avail.idx = ${this.#availIdx}`);
    return head;
  }

  notify(): void {
    const data = hasFeature(this.features, VIRTIO_F_NOTIFICATION_DATA) ? this.#availIdx * 2 ** 16 : 0;
    this.#services.registers.queueNotify = this.index + data;
  }

  takeUsed(): UsedBuffer | undefined {
    const waiting = this.#batch.shift();
    if (waiting !== undefined) return waiting;
    if (this.raw.usedIdx === this.#usedIdx) return undefined;
    const { id, length } = this.raw.readUsed(this.#usedIdx % this.size);
    if (!hasFeature(this.features, VIRTIO_F_IN_ORDER)) return this.#finish(id, length);
    // §2.7.9: one element may stand for all buffers up to the one that it names.
    for (const head of [...this.#lists.keys()]) {
      this.#batch.push(this.#finish(head, head === id ? length : undefined));
      if (head === id) break;
    }
    return this.#batch.shift();
  }

  setInterrupts(wanted: boolean): void {
    if (hasFeature(this.features, VIRTIO_F_EVENT_IDX)) this.raw.usedEvent = this.#usedIdx + (wanted ? 0 : 0x7fff);
    else this.raw.availFlags = wanted ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT;
  }

  #finish(id: number, length: number | undefined): UsedBuffer {
    this.#services.check(this.#lists.has(id), `used.ring names ${id}, which is no list that the device holds`);
    const list = this.#lists.get(id)!;
    this.#lists.delete(id);
    this.#freeDescriptors += list.descriptors;
    if (list.table !== undefined) this.#services.allocator.free(list.table);
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    this.#conversation.note(`ring ${this.index}: ${id} is used, length ${length ?? "not told"}`);
    return { id, length };
  }

  #writeDirect(buffers: readonly RingBuffer[]): number {
    const head = this.#take(buffers.length);
    for (const [i, buffer] of buffers.entries()) {
      const slot = (head + i) % this.size;
      const flags = i + 1 < buffers.length ? VIRTQ_DESC_F_NEXT : 0;
      const next = flags === 0 ? 0 : (slot + 1) % this.size;
      this.raw.writeDescriptor(slot, { ...buffer, flags: flags | writeFlag(buffer), next });
    }
    this.#lists.set(head, { descriptors: buffers.length, table: undefined });
    return head;
  }

  #writeIndirect(buffers: readonly RingBuffer[]): number {
    const head = this.#take(1);
    const table = this.#services.allocator.allocate(VIRTQ_DESC_BYTES * buffers.length);
    for (const [i, buffer] of buffers.entries()) {
      const flags = i + 1 < buffers.length ? VIRTQ_DESC_F_NEXT : 0;
      this.raw.writeIndirect(table, i, { ...buffer, flags: flags | writeFlag(buffer), next: flags === 0 ? 0 : i + 1 });
    }
    const lengthBytes = VIRTQ_DESC_BYTES * buffers.length;
    this.raw.writeDescriptor(head, { address: table, lengthBytes, flags: VIRTQ_DESC_F_INDIRECT });
    this.#lists.set(head, { descriptors: 1, table });
    return head;
  }

  #take(descriptors: number): number {
    assert(descriptors > 0 && descriptors <= this.#freeDescriptors, "conformance: the ring has no room");
    const head = this.#nextDescriptor;
    this.#nextDescriptor = (head + descriptors) % this.size;
    this.#freeDescriptors -= descriptors;
    return head;
  }
}

function writeFlag(buffer: RingBuffer): number {
  return buffer.writable ? VIRTQ_DESC_F_WRITE : 0;
}

function describe(buffers: readonly RingBuffer[]): string {
  return buffers.map(({ lengthBytes, writable }) => `${writable ? "W" : "R"}${lengthBytes}`).join(" ");
}

// A packed virtqueue driven by the suite: VIRTIO 1.4 §2.8, a driver as plain as it can be.

import { assert } from "../../src/base/assert.ts";
import { type FeatureSet, hasFeature, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA } from "../constants/features.ts";
import { VIRTQ_DESC_BYTES, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from "../constants/ring.ts";
import type { GuestTarget } from "../target.ts";
import type { Ring, RingBuffer, UsedBuffer } from "./ring.ts";
import type { RingServices } from "./ring-services.ts";

/** §2.8.1: the two bits that, against the wrap counters, say whose a descriptor is. */
export const PACKED_DESC_F_AVAIL: number = 1 << 7;
export const PACKED_DESC_F_USED: number = 1 << 15;

/** §2.8.10, flags of an event suppression area. */
export const PACKED_EVENT_F_ENABLE = 0;
export const PACKED_EVENT_F_DISABLE = 1;
export const PACKED_EVENT_F_DESC = 2;

/** One slot of the ring as it stands in RAM. */
export interface PackedDescriptor {
  readonly address: bigint;
  readonly lengthBytes: number;
  readonly id: number;
  readonly flags: number;
}

/** A ring of `size` slots at `descriptorArea`; ids are slots, in turn. Slots can be written one by one for cases that bend it. */
export class PackedRing implements Ring {
  readonly index: number;
  readonly size: number;
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
  readonly features: FeatureSet;
  readonly #target: GuestTarget;
  readonly #services: RingServices;
  /** Slots and table of each list in the ring, by id; insertion order is that of making available. */
  readonly #lists = new Map<number, { readonly slots: number; readonly table: number | undefined }>();
  readonly #batch: UsedBuffer[] = [];
  /** Where the next list goes, and the wrap counter there. */
  nextSlot = 0;
  availWrap: 0 | 1 = 1;
  /** Where the device is to use the next list, and the wrap counter there. */
  usedSlot = 0;
  usedWrap: 0 | 1 = 1;
  #freeSlots: number;
  #nextId = 0;

  constructor(
    index: number,
    areas: { readonly size: number; readonly descriptors: number; readonly driver: number; readonly device: number },
    features: FeatureSet,
    services: RingServices,
  ) {
    this.index = index;
    this.size = areas.size;
    this.descriptorArea = areas.descriptors;
    this.driverArea = areas.driver;
    this.deviceArea = areas.device;
    this.features = features;
    this.#target = services.target;
    this.#services = services;
    this.#freeSlots = areas.size;
  }

  get outstanding(): number {
    return this.#lists.size + this.#batch.length;
  }

  expose(buffers: readonly RingBuffer[], options: { readonly indirect?: boolean } = {}): number {
    const id = this.#freeId();
    const list = options.indirect === true ? this.#indirectList(buffers) : { entries: buffers, table: undefined };
    const { entries, table } = list;
    assert(entries.length > 0 && entries.length <= this.#freeSlots, "conformance: the ring has no room");
    const extra = table === undefined ? 0 : VIRTQ_DESC_F_INDIRECT;
    const slots = entries.map((_, i) => this.#slotAfter(i));
    // §2.8.21: the flags of the first descriptor are what makes the list available, so they are written last.
    for (let i = entries.length - 1; i >= 0; i--) {
      const { slot, wrap } = slots[i]!;
      const next = i + 1 < entries.length ? VIRTQ_DESC_F_NEXT : 0;
      const write = entries[i]!.writable ? VIRTQ_DESC_F_WRITE : 0;
      const { address, lengthBytes } = entries[i]!;
      this.writeSlot(slot, {
        address: BigInt(address),
        lengthBytes,
        id,
        flags: next | write | extra | availFlags(wrap),
      });
    }
    const after = this.#slotAfter(entries.length);
    this.nextSlot = after.slot;
    this.availWrap = after.wrap;
    this.#freeSlots -= entries.length;
    this.#lists.set(id, { slots: entries.length, table });
    const what = buffers.map(({ lengthBytes, writable }) => `${writable ? "W" : "R"}${lengthBytes}`).join(" ");
    this.#services.conversation.note(`ring ${this.index}: ${what} with id ${id}, from slot ${slots[0]!.slot} on`);
    return id;
  }

  notify(): void {
    const data = hasFeature(this.features, VIRTIO_F_NOTIFICATION_DATA)
      ? this.nextSlot * 2 ** 16 + this.availWrap * 2 ** 31
      : 0;
    this.#services.registers.queueNotify = this.index + data;
  }

  takeUsed(): UsedBuffer | undefined {
    const waiting = this.#batch.shift();
    if (waiting !== undefined) return waiting;
    const { flags, id, lengthBytes } = this.readSlot(this.usedSlot);
    if ((flags & PACKED_BOTH) !== usedFlags(this.usedWrap)) return undefined;
    const length = (flags & VIRTQ_DESC_F_WRITE) === 0 ? undefined : lengthBytes;
    if (!hasFeature(this.features, VIRTIO_F_IN_ORDER)) return this.#finish(id, length);
    // §2.8.6 and §2.7.9: one descriptor may stand for all lists up to the one that it names.
    for (const other of [...this.#lists.keys()]) {
      this.#batch.push(this.#finish(other, other === id ? length : undefined));
      if (other === id) break;
    }
    return this.#batch.shift();
  }

  setInterrupts(wanted: boolean): void {
    this.#target.writeRam16(this.driverArea, 0);
    this.#target.writeRam16(this.driverArea + 2, wanted ? PACKED_EVENT_F_ENABLE : PACKED_EVENT_F_DISABLE);
  }

  /** Asks for one interrupt, when `slot` is used in the lap of `wrap`; EVENT_IDX must be negotiated. */
  setEvent(slot: number, wrap: 0 | 1): void {
    this.#target.writeRam16(this.driverArea, slot | (wrap << 15));
    this.#target.writeRam16(this.driverArea + 2, PACKED_EVENT_F_DESC);
  }

  /** Writes a slot as it is given, its flags last. */
  writeSlot(slot: number, { address, lengthBytes, id, flags }: PackedDescriptor): void {
    const at = this.descriptorArea + VIRTQ_DESC_BYTES * slot;
    this.#target.writeRam64(at, BigInt.asUintN(64, address));
    this.#target.writeRam32(at + 8, lengthBytes >>> 0);
    this.#target.writeRam16(at + 12, id & 0xffff);
    this.#target.writeRam16(at + 14, flags & 0xffff);
  }

  readSlot(slot: number): PackedDescriptor {
    const at = this.descriptorArea + VIRTQ_DESC_BYTES * slot;
    const flags = this.#target.readRam16(at + 14); // before the rest, which it makes valid
    return {
      address: this.#target.readRam64(at),
      lengthBytes: this.#target.readRam32(at + 8),
      id: this.#target.readRam16(at + 12),
      flags,
    };
  }

  #finish(id: number, length: number | undefined): UsedBuffer {
    this.#services.check(this.#lists.has(id), `a used descriptor has the id ${id}, which the device does not hold`);
    const list = this.#lists.get(id)!;
    this.#lists.delete(id);
    if (list.table !== undefined) this.#services.allocator.free(list.table);
    this.#freeSlots += list.slots;
    this.usedSlot += list.slots;
    if (this.usedSlot >= this.size) {
      this.usedSlot -= this.size;
      this.usedWrap = this.usedWrap === 1 ? 0 : 1;
    }
    this.#services.conversation.note(`ring ${this.index}: id ${id} is used, length ${length ?? "not told"}`);
    return { id, length };
  }

  /** The slot `distance` after the next free one, and the wrap counter there. */
  #slotAfter(distance: number): { readonly slot: number; readonly wrap: 0 | 1 } {
    const slot = this.nextSlot + distance;
    if (slot < this.size) return { slot, wrap: this.availWrap };
    return { slot: slot - this.size, wrap: this.availWrap === 1 ? 0 : 1 };
  }

  #freeId(): number {
    while (this.#lists.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % this.size;
    const id = this.#nextId;
    this.#nextId = (id + 1) % this.size;
    return id;
  }

  #indirectList(buffers: readonly RingBuffer[]): { readonly entries: readonly RingBuffer[]; readonly table: number } {
    const lengthBytes = VIRTQ_DESC_BYTES * buffers.length;
    const table = this.#services.allocator.allocate(lengthBytes);
    for (const [i, buffer] of buffers.entries()) {
      const at = table + VIRTQ_DESC_BYTES * i;
      this.#target.writeRam64(at, BigInt(buffer.address));
      this.#target.writeRam32(at + 8, buffer.lengthBytes);
      this.#target.writeRam16(at + 12, 0);
      this.#target.writeRam16(at + 14, buffer.writable ? VIRTQ_DESC_F_WRITE : 0);
    }
    return { entries: [{ address: table, lengthBytes, writable: false }], table };
  }
}

const PACKED_BOTH = PACKED_DESC_F_AVAIL | PACKED_DESC_F_USED;

/** Flags of an available descriptor in the lap of `wrap`. */
export function availFlags(wrap: 0 | 1): number {
  return wrap === 1 ? PACKED_DESC_F_AVAIL : PACKED_DESC_F_USED;
}

/** Flags of a used descriptor in the lap of `wrap`. */
export function usedFlags(wrap: 0 | 1): number {
  return wrap === 1 ? PACKED_BOTH : 0;
}

// The driver's end of a packed virtqueue: VIRTIO 1.4 §2.8, with indirect descriptors, event index and IN_ORDER when negotiated.

import { assert } from "../src/base/assert.ts";
import type { GuestAllocator } from "./allocator.ts";
import type { BufferChain } from "./buffer-chain.ts";
import {
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_BYTES,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_SIZE_MAX,
} from "./constants/ring.ts";
import { GuestDriverError } from "./errors.ts";
import { passesEvent } from "./event-index.ts";
import { IndirectTables } from "./indirect-tables.ts";
import type { GuestTarget } from "./target.ts";
import { UsedOrder } from "./used-order.ts";
import type { QueueNotifier, Virtqueue } from "./virtqueue.ts";

/** What a `PackedVirtqueue` is made of. */
export interface PackedVirtqueueOptions {
  readonly target: GuestTarget;
  readonly allocator: GuestAllocator;
  readonly notifier: QueueNotifier;
  readonly index: number;
  /** Descriptors: any number from 1 to 32768. */
  readonly size: number;
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIndex: boolean;
  /** VIRTIO_F_INDIRECT_DESC was negotiated: a chain of several buffers takes one descriptor and a table from the allocator. */
  readonly indirect: boolean;
  /** VIRTIO_F_IN_ORDER was negotiated; false by default. */
  readonly inOrder?: boolean;
}

const NONE = -1;
const AVAIL_AND_USED = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
const EVENT_STRUCTURE_BYTES = 4;
const EVENT_OFFSET = 0x7fff;
const EVENT_WRAP = 0x8000;
// Within a descriptor.
const LENGTH = 8;
const ID = 12;
const FLAGS = 14;

/**
 * A ring in guest RAM and what the driver knows of it. What the driver wrote is never read back: positions, wrap counters, free
 * slots and what a buffer id stands for are kept here. The token of a chain is its buffer id.
 *
 *   taken position ≤ what the device has used ≤ published ≤ next position, at most a whole ring apart
 *
 * Order of stores and loads between two threads rests on `readRam16` and `writeRam16` being ordered. Of all that was added since
 * the last kick the flags of the very first descriptor are stored last (§2.8.21.1.1): a device that waits at that slot sees none
 * of the others before. They are stored before the device's event structure is read (§2.8.21.3.1), and the driver's event
 * structure before the next used descriptor is looked at again.
 */
export class PackedVirtqueue implements Virtqueue {
  readonly index: number;
  readonly size: number;
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
  usedLength = 0;

  readonly #target: GuestTarget;
  readonly #allocator: GuestAllocator;
  readonly #notifier: QueueNotifier;
  readonly #eventIndex: boolean;
  readonly #tables: IndirectTables | undefined;
  readonly #order: UsedOrder | undefined;

  /** Buffer ids that no chain has: a stack. */
  readonly #freeIds: Uint16Array;
  #freeIdCount: number;
  /** Per id: slots that the chain takes, 0 when no chain has the id. */
  readonly #slots: Uint16Array;
  /** Per id: bytes that the device may write. */
  readonly #writableBytes: Float64Array;

  #free: number;
  /** Chains that the device has, those not yet kicked among them. */
  #inFlight = 0;
  /** Chains added since the last kick, and their slots. */
  #batchChains = 0;
  #batchSlots = 0;
  /** Where the batch begins, and the flags that make all of it available. */
  #batchAt = 0;
  #batchFlags = 0;

  /** The slot to fill next, and the AVAIL and USED bits that make a descriptor there available: the wrap counter is 1 at first. */
  #next = 0;
  #availableBits: number = VIRTQ_DESC_F_AVAIL;
  /** The slot where the device writes its next used descriptor, and the bits that it will have. */
  #taken = 0;
  #usedBits: number = AVAIL_AND_USED;
  /** The used length that belongs to the last chain of the batch that `#order` is giving out. */
  #orderLength = 0;

  // @virtio PACK-DRV-001 PACK-DRV-018 PACK-DRV-019
  constructor(options: PackedVirtqueueOptions) {
    const { size, target, allocator } = options;
    assert(Number.isInteger(size) && size >= 1 && size <= VIRTQ_SIZE_MAX, `packed queue of size ${size}`);
    this.index = options.index;
    this.size = size;
    this.#target = target;
    this.#allocator = allocator;
    this.#notifier = options.notifier;
    this.#eventIndex = options.eventIndex;

    const bytes = VIRTQ_DESC_BYTES * size + 2 * EVENT_STRUCTURE_BYTES;
    this.descriptorArea = allocator.allocate(bytes, 16);
    // Zeroes all over: no descriptor available or used, every notification wanted by both sides. §2.8.13
    target.fillRam(this.descriptorArea, 0, bytes);
    this.driverArea = this.descriptorArea + VIRTQ_DESC_BYTES * size;
    this.deviceArea = this.driverArea + EVENT_STRUCTURE_BYTES;

    this.#freeIds = Uint16Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#freeIdCount = size;
    this.#slots = new Uint16Array(size);
    this.#writableBytes = new Float64Array(size);
    this.#free = size;
    this.#tables = options.indirect ? new IndirectTables(allocator, size) : undefined;
    this.#order = options.inOrder === true ? new UsedOrder(size) : undefined;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get freeDescriptors(): number {
    return this.#free;
  }

  /** A chain of more buffers than the queue has descriptors never fits (§2.8.17), and none does in part. */
  // @virtio PACK-DRV-007 PACK-DRV-009 PACK-DRV-010
  add(chain: BufferChain): number {
    assert(chain.count > 0 && chain.count <= this.size, "chain: no buffers, or more than the queue has descriptors");
    if (this.#free === 0) return NONE;
    const id = this.#freeIds[this.#freeIdCount - 1]!;
    let slots = 0;
    if (this.#tables !== undefined && chain.count > 1) slots = this.#addIndirect(this.#tables, chain, id);
    if (slots === 0 && chain.count <= this.#free) slots = this.#addDirect(chain, id);
    if (slots === 0) return NONE;

    let writable = 0;
    for (let i = chain.readableCount; i < chain.count; i++) writable += chain.lengths[i]!;
    this.#writableBytes[id] = writable;
    this.#slots[id] = slots;
    this.#freeIdCount--;
    this.#free -= slots;
    this.#inFlight++;
    this.#batchChains++;
    this.#batchSlots += slots;
    this.#order?.add(id);
    return id;
  }

  // @virtio PACK-DRV-003 PACK-DRV-011 PACK-DRV-016 PACK-DRV-017
  kick(): boolean {
    const slots = this.#batchSlots;
    if (slots === 0) return false;
    this.#target.writeRam16(this.#batchAt, this.#batchFlags);
    this.#batchChains = 0;
    this.#batchSlots = 0;
    if (!this.#wantsNotification(slots)) return false;
    const wrap = this.#availableBits === VIRTQ_DESC_F_AVAIL ? EVENT_WRAP : 0;
    this.#notifier.notify(this.index, this.#next | wrap);
    return true;
  }

  takeUsed(): number {
    const order = this.#order;
    if (order?.inBatch) return this.#takeInOrder(order);
    const at = this.descriptorArea + VIRTQ_DESC_BYTES * this.#taken;
    const flags = this.#target.readRam16(at + FLAGS);
    if ((flags & AVAIL_AND_USED) !== this.#usedBits) return NONE;
    const held = this.#inFlight - this.#batchChains;
    const id = this.#target.readRam16(at + ID);
    const slots = id < this.size && held > 0 ? this.#slots[id]! : 0;
    if (slots === 0)
      this.#refuse(`used descriptor at slot ${this.#taken} has id ${id}, no chain of the ${held} available`);
    // §2.8.4: without WRITE the length is reserved. Some devices never set the flag; then the status byte alone says how it went.
    const writable = this.#writableBytes[id]!;
    const length = (flags & VIRTQ_DESC_F_WRITE) !== 0 ? this.#target.readRam32(at + LENGTH) : writable;
    if (length > writable) {
      throw new GuestDriverError(
        "used-length",
        `queue ${this.index}: used length ${length} of a chain with ${writable} writable bytes`,
      );
    }
    if (order === undefined) {
      this.usedLength = length;
      this.#takeBack(id, slots);
      return id;
    }
    if (order.begin(id, held) === 0) this.#refuse(`used descriptor at slot ${this.#taken} has id ${id}, out of order`);
    this.#orderLength = length;
    return this.#takeInOrder(order);
  }

  disableInterrupts(): void {
    // With the event index, an offset that lies behind asks for silence until it is moved.
    if (!this.#eventIndex) this.#target.writeRam16(this.driverArea + 2, RING_EVENT_FLAGS_DISABLE);
  }

  enableInterrupts(): boolean {
    if (this.#eventIndex) {
      const wrap = (this.#usedBits & VIRTQ_DESC_F_USED) !== 0 ? EVENT_WRAP : 0;
      this.#target.writeRam16(this.driverArea, this.#taken | wrap); // first where, then that it counts
      this.#target.writeRam16(this.driverArea + 2, RING_EVENT_FLAGS_DESC);
    } else {
      this.#target.writeRam16(this.driverArea + 2, RING_EVENT_FLAGS_ENABLE);
    }
    if (this.#order?.inBatch) return false;
    // What was used before the device could see this does not interrupt: look again.
    const flags = this.#target.readRam16(this.descriptorArea + VIRTQ_DESC_BYTES * this.#taken + FLAGS);
    return (flags & AVAIL_AND_USED) !== this.#usedBits;
  }

  release(): void {
    this.#tables?.release();
    this.#allocator.free(this.descriptorArea);
  }

  #addDirect(chain: BufferChain, id: number): number {
    for (let i = 0; i < chain.count; i++) {
      const next = i === chain.count - 1 ? 0 : VIRTQ_DESC_F_NEXT;
      const write = i < chain.readableCount ? 0 : VIRTQ_DESC_F_WRITE;
      this.#writeSlot(chain.addresses[i]!, chain.lengths[i]!, id, next | write, i === 0);
    }
    return chain.count;
  }

  /** One descriptor that points to a table; 0 when there is no RAM for the table. */
  // @virtio PACK-DRV-012 PACK-DRV-013 PACK-DRV-015
  #addIndirect(tables: IndirectTables, chain: BufferChain, id: number): number {
    const table = tables.take(id, chain.count);
    if (table < 0) return 0;
    for (let i = 0; i < chain.count; i++) {
      const at = table + VIRTQ_DESC_BYTES * i;
      this.#writeAddress(at, chain.addresses[i]!);
      this.#target.writeRam32(at + LENGTH, chain.lengths[i]!);
      // Entries follow one another: no NEXT, no id. §2.8.7
      this.#target.writeRam32(at + ID, (i < chain.readableCount ? 0 : VIRTQ_DESC_F_WRITE) << 16);
    }
    this.#writeSlot(table, VIRTQ_DESC_BYTES * chain.count, id, VIRTQ_DESC_F_INDIRECT, true);
    return 1;
  }

  /** Fills the next slot. Every descriptor of a chain has its id: devices differ on which of them they return. */
  #writeSlot(address: number, lengthBytes: number, id: number, kind: number, isFirst: boolean): void {
    const at = this.descriptorArea + VIRTQ_DESC_BYTES * this.#next;
    const flags = kind | this.#availableBits;
    this.#writeAddress(at, address);
    this.#target.writeRam32(at + LENGTH, lengthBytes);
    this.#target.writeRam16(at + ID, id);
    if (isFirst && this.#batchSlots === 0) {
      this.#batchAt = at + FLAGS;
      this.#batchFlags = flags;
    } else {
      this.#target.writeRam16(at + FLAGS, flags);
    }
    this.#next++;
    if (this.#next < this.size) return;
    this.#next = 0;
    this.#availableBits ^= AVAIL_AND_USED;
  }

  #writeAddress(at: number, address: number): void {
    this.#target.writeRam32(at, address >>> 0);
    this.#target.writeRam32(at + 4, Math.floor(address / 2 ** 32));
  }

  #wantsNotification(slots: number): boolean {
    // Flags before offset: a device that is changing both looks at the ring again once it has.
    const flags = this.#target.readRam16(this.deviceArea + 2) & 3;
    if (flags === RING_EVENT_FLAGS_DISABLE) return false;
    // What is reserved, or was not negotiated, suppresses nothing.
    if (flags !== RING_EVENT_FLAGS_DESC || !this.#eventIndex) return true;
    const event = this.#target.readRam16(this.deviceArea);
    // An offset of the lap before counts from there; so does where the batch began, which may be below 0 as well.
    const sameLap = ((event & EVENT_WRAP) !== 0) === (this.#availableBits === VIRTQ_DESC_F_AVAIL);
    const offset = (event & EVENT_OFFSET) - (sameLap ? 0 : this.size);
    return passesEvent(offset, this.#next, this.#next - slots);
  }

  /** The next chain of a batch of which the device has named the last; those before it are used completely. §2.8.8 */
  #takeInOrder(order: UsedOrder): number {
    const id = order.next();
    this.usedLength = order.inBatch ? this.#writableBytes[id]! : this.#orderLength;
    this.#takeBack(id, this.#slots[id]!);
    return id;
  }

  // @virtio PACK-DRV-002
  #takeBack(id: number, slots: number): void {
    this.#slots[id] = 0;
    this.#freeIds[this.#freeIdCount++] = id;
    this.#free += slots;
    this.#inFlight--;
    this.#tables?.giveBack(id);
    this.#taken += slots;
    if (this.#taken < this.size) return;
    this.#taken -= this.size;
    this.#usedBits ^= AVAIL_AND_USED;
  }

  #refuse(what: string): never {
    throw new GuestDriverError("used-ring", `queue ${this.index}: ${what}`);
  }
}

// The driver's end of a split virtqueue: VIRTIO 1.4 §2.7, with indirect descriptors, event index and IN_ORDER when negotiated.

import { assert } from "../src/base/assert.ts";
import type { GuestAllocator } from "./allocator.ts";
import type { BufferChain } from "./buffer-chain.ts";
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_BYTES,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_SIZE_MAX,
  VIRTQ_USED_F_NO_NOTIFY,
} from "./constants/ring.ts";
import { GuestDriverError } from "./errors.ts";
import { passesEvent } from "./event-index.ts";
import { IndirectTables } from "./indirect-tables.ts";
import { availableRingBytes, RING_ENTRIES, RING_IDX, splitRingBytes, splitRingLayout } from "./split-ring-layout.ts";
import type { GuestTarget } from "./target.ts";
import { UsedOrder } from "./used-order.ts";
import type { QueueNotifier, Virtqueue } from "./virtqueue.ts";

/** What a `SplitVirtqueue` is made of. */
export interface SplitVirtqueueOptions {
  readonly target: GuestTarget;
  readonly allocator: GuestAllocator;
  readonly notifier: QueueNotifier;
  readonly index: number;
  /** Descriptors: a power of two up to 32768. */
  readonly size: number;
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIndex: boolean;
  /** VIRTIO_F_INDIRECT_DESC was negotiated: a chain of several buffers takes one descriptor and a table from the allocator. */
  readonly indirect: boolean;
  /** VIRTIO_F_IN_ORDER was negotiated; false by default. */
  readonly inOrder?: boolean;
  /**
   * The layout of a legacy device (§2.7.2): the ring begins at a multiple of this, and so does its used ring; a power of two.
   * Used lengths of such a device are ignored (§2.7.8.1). Undefined, a device of version 2.
   */
  readonly legacyAlignBytes?: number | undefined;
}

const NONE = -1;

/**
 * A ring in guest RAM and what the driver knows of it. What the driver wrote is never read back: free descriptors, heads and
 * lengths of chains are kept here, so that a device that writes where it must not confuses nobody but itself. The token of a
 * chain is its head.
 *
 * Order of stores and loads between two threads rests on `readRam16` and `writeRam16` being ordered: the chain and its ring
 * entry are written before avail.idx (§2.7.13.3.1), avail.idx before used.flags or avail_event is read (§2.7.13.4.1), and
 * used_event before used.idx is read again.
 */
export class SplitVirtqueue implements Virtqueue {
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
  readonly #ignoresLength: boolean;
  readonly #tables: IndirectTables | undefined;
  readonly #order: UsedOrder | undefined;
  readonly #usedEvent: number;
  readonly #availEvent: number;

  // Free descriptors are linked through #next from #freeHead on; so are those of a chain, from its head on. With IN_ORDER they come
  // free in the order in which they were taken, so that the links stay as they were made: each to the one behind it (§2.7.5).
  readonly #next: Uint16Array;
  #freeHead = 0;
  #free: number;
  /** Per head: descriptors of the ring that the chain takes, 0 when no chain begins there. */
  readonly #chainDescriptors: Uint16Array;
  /** Per head: bytes that the device may write. */
  readonly #writableBytes: Float64Array;

  /** avail.idx as it will be after the next kick. */
  #added = 0;
  /** avail.idx as it stands in RAM. */
  #published = 0;
  /** Index of the used element to take next. */
  #taken = 0;
  /** used.idx as last read. */
  #usedIdx = 0;
  /** The used length that belongs to the last chain of the batch that `#order` is giving out. */
  #orderLength = 0;

  constructor(options: SplitVirtqueueOptions) {
    const { size, target, allocator, legacyAlignBytes } = options;
    assert(size >= 1 && size <= VIRTQ_SIZE_MAX && Number.isInteger(Math.log2(size)), `split queue of size ${size}`);
    this.index = options.index;
    this.size = size;
    this.#target = target;
    this.#allocator = allocator;
    this.#notifier = options.notifier;
    this.#eventIndex = options.eventIndex;
    this.#ignoresLength = legacyAlignBytes !== undefined;

    // @virtio SPLIT-DRV-002 SPLIT-DRV-003 SPLIT-DRV-005 SPLIT-DRV-026
    const ringBytes = splitRingBytes(size, legacyAlignBytes);
    const layout = splitRingLayout(allocator.allocate(ringBytes, legacyAlignBytes ?? 16), size, legacyAlignBytes);
    // Zeroes all over: indices at 0, and used.flags at 0 as §2.7.10.1 wants it.
    target.fillRam(layout.descriptorTable, 0, ringBytes);
    this.descriptorArea = layout.descriptorTable;
    this.driverArea = layout.availableRing;
    this.deviceArea = layout.usedRing;
    this.#usedEvent = layout.availableRing + availableRingBytes(size) - 2;
    this.#availEvent = layout.usedRing + RING_ENTRIES + 8 * size;

    this.#next = Uint16Array.from({ length: size }, (_, i) => (i + 1) % size);
    this.#free = size;
    this.#chainDescriptors = new Uint16Array(size);
    this.#writableBytes = new Float64Array(size);
    this.#tables = options.indirect ? new IndirectTables(allocator, size) : undefined;
    this.#order = options.inOrder === true ? new UsedOrder(size) : undefined;
  }

  get inFlight(): number {
    return (this.#added - this.#taken) & 0xffff;
  }

  get freeDescriptors(): number {
    return this.#free;
  }

  /** A chain of more buffers than the queue has descriptors never fits: §2.7.5.3.1 forbids it in an indirect table too. */
  // @virtio SPLIT-DRV-014
  add(chain: BufferChain): number {
    assert(chain.count > 0 && chain.count <= this.size, "chain: no buffers, or more than the queue has descriptors");
    if (this.#free === 0) return NONE;
    let head = NONE;
    if (this.#tables !== undefined && chain.count > 1) head = this.#addIndirect(this.#tables, chain);
    if (head === NONE && chain.count <= this.#free) head = this.#addDirect(chain);
    if (head === NONE) return NONE;

    let writable = 0;
    for (let i = chain.readableCount; i < chain.count; i++) writable += chain.lengths[i]!;
    this.#writableBytes[head] = writable;
    this.#target.writeRam16(this.driverArea + RING_ENTRIES + 2 * (this.#added & (this.size - 1)), head);
    this.#added = (this.#added + 1) & 0xffff;
    this.#order?.add(head);
    return head;
  }

  // @virtio SPLIT-DRV-017 SPLIT-DRV-033 SPLIT-DRV-034
  kick(): boolean {
    if (this.#added === this.#published) return false;
    const from = this.#published;
    this.#published = this.#added;
    this.#target.writeRam16(this.driverArea + RING_IDX, this.#added); // §2.7.13.3
    if (!this.#wantsNotification(from)) return false;
    this.#notifier.notify(this.index, this.#added);
    return true;
  }

  takeUsed(): number {
    const order = this.#order;
    if (order?.inBatch) return this.#takeInOrder(order);
    if (this.#taken === this.#usedIdx) {
      this.#readUsedIdx();
      if (this.#taken === this.#usedIdx) return NONE;
    }
    const element = this.deviceArea + RING_ENTRIES + 8 * (this.#taken & (this.size - 1));
    const head = this.#target.readRam32(element);
    const descriptors = head < this.size ? this.#chainDescriptors[head]! : 0;
    if (descriptors === 0) this.#refuse(`used element ${this.#taken} names id ${head}, no chain`);
    const writable = this.#writableBytes[head]!;
    const length = this.#ignoresLength ? writable : this.#target.readRam32(element + 4);
    if (length > writable) {
      throw new GuestDriverError(
        "used-length",
        `queue ${this.index}: used length ${length} of a chain with ${writable} writable bytes`,
      );
    }
    if (order === undefined) {
      this.usedLength = length;
      this.#takeBack(head, descriptors);
      return head;
    }
    if (order.begin(head, (this.#usedIdx - this.#taken) & 0xffff) === 0) {
      this.#refuse(`used element ${this.#taken} names id ${head}, out of order`);
    }
    this.#orderLength = length;
    return this.#takeInOrder(order);
  }

  // @virtio SPLIT-DRV-018 SPLIT-DRV-020
  disableInterrupts(): void {
    // With the event index, a used_event that lies behind asks for silence until it is moved: §2.7.7.1, flags stay 0.
    if (!this.#eventIndex) this.#target.writeRam16(this.driverArea, VIRTQ_AVAIL_F_NO_INTERRUPT);
  }

  // @virtio SPLIT-DRV-036
  enableInterrupts(): boolean {
    if (this.#eventIndex) this.#target.writeRam16(this.#usedEvent, this.#taken);
    else this.#target.writeRam16(this.driverArea, 0);
    // What was used before the device could see this does not interrupt: look again. §2.7.14
    this.#readUsedIdx();
    return this.#usedIdx === this.#taken && !(this.#order?.inBatch ?? false);
  }

  release(): void {
    this.#tables?.release();
    this.#allocator.free(this.descriptorArea);
  }

  #addDirect(chain: BufferChain): number {
    const head = this.#freeHead;
    let slot = head;
    for (let i = 0; i < chain.count; i++) {
      const next = this.#next[slot]!;
      const last = i === chain.count - 1;
      this.#writeDescriptor(this.descriptorArea + VIRTQ_DESC_BYTES * slot, chain, i, last ? 0 : next);
      slot = next;
    }
    this.#freeHead = slot;
    this.#free -= chain.count;
    this.#chainDescriptors[head] = chain.count;
    return head;
  }

  /** One descriptor that points to a table; -1 when there is no RAM for the table. */
  // @virtio SPLIT-DRV-012 SPLIT-DRV-013 SPLIT-DRV-015 SPLIT-DRV-016
  #addIndirect(tables: IndirectTables, chain: BufferChain): number {
    const head = this.#freeHead;
    const table = tables.take(head, chain.count);
    if (table < 0) return NONE;
    for (let i = 0; i < chain.count; i++) {
      const last = i === chain.count - 1;
      this.#writeDescriptor(table + VIRTQ_DESC_BYTES * i, chain, i, last ? 0 : i + 1);
    }
    const at = this.descriptorArea + VIRTQ_DESC_BYTES * head;
    this.#writeAddress(at, table);
    this.#target.writeRam32(at + 8, VIRTQ_DESC_BYTES * chain.count);
    this.#target.writeRam32(at + 12, VIRTQ_DESC_F_INDIRECT); // never with NEXT, §2.7.5.3.1
    this.#freeHead = this.#next[head]!;
    this.#free--;
    this.#chainDescriptors[head] = 1;
    return head;
  }

  #writeDescriptor(at: number, chain: BufferChain, i: number, next: number): void {
    const last = i === chain.count - 1;
    const flags = (last ? 0 : VIRTQ_DESC_F_NEXT) | (i < chain.readableCount ? 0 : VIRTQ_DESC_F_WRITE);
    this.#writeAddress(at, chain.addresses[i]!);
    this.#target.writeRam32(at + 8, chain.lengths[i]!);
    this.#target.writeRam32(at + 12, flags | (next << 16));
  }

  #writeAddress(at: number, address: number): void {
    this.#target.writeRam32(at, address >>> 0);
    this.#target.writeRam32(at + 4, Math.floor(address / 2 ** 32));
  }

  // @virtio SPLIT-DRV-027 SPLIT-DRV-028 SPLIT-DRV-029 SPLIT-DRV-030 SPLIT-DRV-031 SPLIT-DRV-032
  #wantsNotification(from: number): boolean {
    // Each way ignores what the other looks at: §2.7.10.1.
    if (this.#eventIndex) return passesEvent(this.#target.readRam16(this.#availEvent), this.#added, from);
    return (this.#target.readRam16(this.deviceArea) & VIRTQ_USED_F_NO_NOTIFY) === 0;
  }

  #readUsedIdx(): void {
    const usedIdx = this.#target.readRam16(this.deviceArea + RING_IDX);
    const claimed = (usedIdx - this.#taken) & 0xffff;
    const held = (this.#published - this.#taken) & 0xffff;
    if (claimed > held) {
      this.#refuse(`used idx 0x${usedIdx.toString(16)} is ${claimed} past what was taken, ${held} were available`);
    }
    this.#usedIdx = usedIdx;
  }

  /** The next chain of a batch of which the device has named the last; those before it are used completely. §2.7.9 */
  #takeInOrder(order: UsedOrder): number {
    const head = order.next();
    this.usedLength = order.inBatch ? this.#writableBytes[head]! : this.#orderLength;
    this.#takeBack(head, this.#chainDescriptors[head]!);
    return head;
  }

  // @virtio SPLIT-DRV-010 SPLIT-DRV-011
  #takeBack(head: number, descriptors: number): void {
    this.#taken = (this.#taken + 1) & 0xffff;
    if (this.#order === undefined) {
      let tail = head;
      for (let i = 1; i < descriptors; i++) tail = this.#next[tail]!;
      this.#next[tail] = this.#freeHead;
      this.#freeHead = head;
    }
    this.#free += descriptors;
    this.#chainDescriptors[head] = 0;
    this.#tables?.giveBack(head);
  }

  #refuse(what: string): never {
    throw new GuestDriverError("used-ring", `queue ${this.index}: ${what}`);
  }
}

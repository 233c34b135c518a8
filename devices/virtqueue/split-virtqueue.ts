// The split virtqueue, device side: VIRTIO 1.4 §2.7.

import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import type { RingMistake } from "../guest-mistake.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";
import {
  type BufferInFlight,
  MAX_CHAIN_DESCRIPTORS,
  MAX_QUEUE_SIZE,
  needEvent,
  type PopResult,
  type Virtqueue,
  type VirtqueueLayout,
} from "./virtqueue.ts";

const VIRTQ_DESC_F_NEXT = 1;
const VIRTQ_DESC_F_WRITE = 2;
const VIRTQ_DESC_F_INDIRECT = 4;
const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;

const DESCRIPTOR_BYTES = 16;
const TWO_TO_32 = 2 ** 32;

/**
 * Ring positions are kept here and never read back from RAM, each descriptor is read once, and whatever the driver writes
 * meanwhile changes nothing that was checked. Only the two ring indices are read and written with Atomics: everything that
 * they announce is ordered by them, also for a driver in another thread.
 *
 * The views of RAM are little-endian; where the guest is not, each number is turned round on its way.
 */
export class SplitVirtqueue implements Virtqueue {
  readonly size: number;
  mistake: RingMistake | undefined = undefined;
  readonly #memory: GuestMemory;
  readonly #mask: number;
  readonly #eventIndex: boolean;
  readonly #indirect: boolean;
  readonly #notifyOnEmpty: boolean;
  readonly #bigEndian: boolean;
  // Offsets in RAM, in units of the view that they index.
  readonly #descriptors: number;
  readonly #availFlags16: number;
  readonly #usedIndex16: number;
  readonly #usedRing32: number;
  readonly #usedEvent16: number;
  readonly #availEvent16: number;

  /** The available index as last read: no need to look again while it is ahead. */
  #seenAvail = 0;
  #lastAvail = 0;
  #usedIndex = 0;
  /** The used index when the driver was last notified or considered for it. */
  #signalledUsed = 0;
  #inFlight = 0;

  /** `layout` has passed `layoutMistake`. */
  constructor(memory: GuestMemory, layout: VirtqueueLayout) {
    this.#memory = memory;
    this.size = layout.size;
    this.#mask = layout.size - 1;
    this.#eventIndex = layout.eventIndex;
    this.#indirect = layout.indirect;
    this.#notifyOnEmpty = layout.notifyOnEmpty;
    this.#bigEndian = layout.bigEndian;
    const avail = memory.offsetOf(layout.driverArea, 4);
    const used = memory.offsetOf(layout.deviceArea, 4);
    this.#descriptors = memory.offsetOf(layout.descriptorArea, 16);
    this.#availFlags16 = avail / 2;
    this.#usedEvent16 = avail / 2 + 2 + layout.size;
    this.#usedIndex16 = used / 2 + 1;
    this.#usedRing32 = used / 4 + 1;
    this.#availEvent16 = used / 2 + 2 + 4 * layout.size;
  }

  // @virtio SPLIT-DEV-001 SPLIT-DEV-002 SPLIT-DEV-031 VQ-DEV-003
  pop(chain: DescriptorChain): PopResult {
    if (this.mistake !== undefined) return "broken";
    if (this.#seenAvail === this.#lastAvail) {
      this.#seenAvail = this.#load16(this.#availFlags16 + 1);
      const available = (this.#seenAvail - this.#lastAvail) & 0xffff;
      if (available === 0) return "empty";
      if (available > this.size) return this.#break("AvailableIndexJump");
    }
    if (this.#inFlight === this.size) return this.#break("TooManyInFlight");
    const entry = this.#memory.u16[this.#availFlags16 + 2 + (this.#lastAvail & this.#mask)]!;
    const head = this.#bigEndian ? swap16(entry) : entry;
    if (head >= this.size) return this.#break("HeadOutOfRange");
    chain.clear(this.#memory);
    chain.head = head;
    const mistake = this.#walk(chain, head);
    if (mistake !== undefined) return this.#break(mistake);
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    this.#inFlight++;
    return "chain";
  }

  // @virtio SPLIT-DEV-003 SPLIT-DEV-022 VQ-DEV-001 VQ-DEV-002
  push(buffer: BufferInFlight, writtenBytes: number): void {
    const { u32 } = this.#memory;
    const element = this.#usedRing32 + 2 * (this.#usedIndex & this.#mask);
    u32[element] = this.#bigEndian ? swap32(buffer.head) : buffer.head;
    u32[element + 1] = this.#bigEndian ? swap32(writtenBytes) : writtenBytes;
    if (this.#memory.hasWriteListeners) this.#memory.noteDeviceWrite(element * 4, 8);
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    this.#inFlight--;
  }

  // @virtio SPLIT-DEV-016 SPLIT-DEV-017 SPLIT-DEV-018 SPLIT-DEV-019 SPLIT-DEV-020 SPLIT-DEV-021 SPLIT-DEV-022 RSVD-DEV-010
  publish(): boolean {
    const old = this.#signalledUsed;
    const now = this.#usedIndex;
    if (old === now) return false;
    // Orders the used elements before the index, and the index before the look at what the driver waits for.
    this.#store16(this.#usedIndex16, now);
    this.#signalledUsed = now;
    if (this.#notifyOnEmpty && this.#load16(this.#availFlags16 + 1) === this.#lastAvail) return true; // §6.3
    if (this.#eventIndex) return needEvent(this.#load16(this.#usedEvent16), now, old); // §2.7.7.2
    return (this.#load16(this.#availFlags16) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
  }

  // @virtio SPLIT-DEV-027 SPLIT-DEV-029 SPLIT-DEV-030
  rearm(): boolean {
    // §2.7.10: first say what we wait for, then look whether it has happened; the other order loses a notification.
    if (this.#eventIndex) this.#store16(this.#availEvent16, this.#lastAvail);
    return this.#load16(this.#availFlags16 + 1) !== this.#lastAvail;
  }

  // @virtio SPLIT-DEV-005
  #load16(index: number): number {
    const value = Atomics.load(this.#memory.u16, index);
    return this.#bigEndian ? swap16(value) : value;
  }

  #store16(index: number, value: number): void {
    Atomics.store(this.#memory.u16, index, this.#bigEndian ? swap16(value) : value);
    if (this.#memory.hasWriteListeners) this.#memory.noteDeviceWrite(index * 2, 2);
  }

  #break(mistake: RingMistake): "broken" {
    this.mistake = mistake;
    return "broken";
  }

  /** Follows the chain from `head` on; a mistake that is returned breaks the ring, one set in `chain` only the chain. */
  // @virtio SPLIT-DEV-007 SPLIT-DEV-012 SPLIT-DEV-013 SPLIT-DEV-014 SPLIT-DEV-015
  #walk(chain: DescriptorChain, head: number): RingMistake | undefined {
    const { u32, view } = this.#memory;
    let table = this.#descriptors;
    let entries = this.size;
    let index = head;
    let left = this.size;
    let total = 0;
    let indirect = false;
    for (;;) {
      // A chain longer than its table visits some descriptor twice: §2.7.5.2 forbids the loop.
      if (left-- === 0) return "DescriptorLoop";
      const at = table + index * DESCRIPTOR_BYTES;
      let address: number;
      let length: number;
      let flags: number;
      let next: number;
      // Above 2^53 the sums are rounded; no RAM lies there.
      if (at % 4 === 0 && !this.#bigEndian) {
        const word = at / 4;
        address = u32[word]! + u32[word + 1]! * TWO_TO_32;
        length = u32[word + 2]!;
        const flagsAndNext = u32[word + 3]!;
        flags = flagsAndNext & 0xffff;
        next = flagsAndNext >>> 16;
      } else {
        // An indirect table may lie anywhere: the standard asks no alignment of it.
        const little = !this.#bigEndian;
        address =
          view.getUint32(at + (little ? 0 : 4), little) + view.getUint32(at + (little ? 4 : 0), little) * TWO_TO_32;
        length = view.getUint32(at + 8, little);
        flags = view.getUint16(at + 12, little);
        next = view.getUint16(at + 14, little);
      }
      // Everything of the descriptor has been read, once; from here on it may change.
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (!this.#indirect) return "IndirectNotNegotiated";
        if (indirect) return "IndirectNested"; // §2.7.5.3.1
        if ((flags & VIRTQ_DESC_F_NEXT) !== 0) return "IndirectWithNext"; // §2.7.5.3.1
        if (length === 0 || length % DESCRIPTOR_BYTES !== 0) return "IndirectLength";
        table = this.#memory.offsetOf(address, length);
        if (table < 0) return "IndirectOutsideRam";
        indirect = true;
        entries = length / DESCRIPTOR_BYTES;
        left = entries;
        index = 0;
        continue;
      }
      if (++total > MAX_CHAIN_DESCRIPTORS) chain.mistake = "ChainTooLong";
      const writable = (flags & VIRTQ_DESC_F_WRITE) !== 0;
      const isLast = (flags & VIRTQ_DESC_F_NEXT) === 0;
      // Of a chain that is refused the end is wanted all the same: there lies the byte that says so.
      if (chain.mistake === undefined || isLast) chain.addSegment(this.#memory, writable, address, length);
      if (isLast) {
        chain.descriptors = total;
        return chain.mistake === undefined || (writable && length > 0) ? undefined : "NoStatusByte";
      }
      if (total === MAX_QUEUE_SIZE) return "DescriptorLoop"; // or as good as one: no table needs more
      index = next;
      if (index >= entries) return "NextOutOfRange";
    }
  }
}

function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

function swap32(value: number): number {
  return ((swap16(value & 0xffff) << 16) | swap16(value >>> 16)) >>> 0;
}

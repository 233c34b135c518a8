// The split virtqueue, device side: VIRTIO 1.4 §2.7.

import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import type { RingMistake } from "../guest-mistake.ts";
import { type DescriptorChain, OUTSIDE_RAM } from "./descriptor-chain.ts";
import { MAX_CHAIN_DESCRIPTORS, needEvent, type PopResult, type Virtqueue, type VirtqueueLayout } from "./virtqueue.ts";

const VIRTQ_DESC_F_NEXT = 1;
const VIRTQ_DESC_F_WRITE = 2;
const VIRTQ_DESC_F_INDIRECT = 4;
const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;

const DESCRIPTOR_BYTES = 16;
const MAX_QUEUE_SIZE = 32768;
const TWO_TO_32 = 2 ** 32;

/** Why a layout cannot be used, or undefined when it can: alignment §2.7, and all three areas within RAM. */
export function splitLayoutMistake(
  memory: GuestMemory,
  layout: VirtqueueLayout,
): "misaligned" | "outside RAM" | undefined {
  const { size, descriptorArea, driverArea, deviceArea, eventIndex } = layout;
  if (descriptorArea % 16 !== 0 || driverArea % 2 !== 0 || deviceArea % 4 !== 0) return "misaligned";
  const eventBytes = eventIndex ? 2 : 0;
  const inRam =
    memory.offsetOf(descriptorArea, 16 * size) >= 0 &&
    memory.offsetOf(driverArea, 4 + 2 * size + eventBytes) >= 0 &&
    memory.offsetOf(deviceArea, 4 + 8 * size + eventBytes) >= 0;
  return inRam ? undefined : "outside RAM";
}

/**
 * Ring positions are kept here and never read back from RAM, each descriptor is read once, and whatever the driver writes
 * meanwhile changes nothing that was checked. Only the two ring indices are read and written with Atomics: everything that
 * they announce is ordered by them, also for a driver in another thread.
 */
export class SplitVirtqueue implements Virtqueue {
  readonly size: number;
  mistake: RingMistake | undefined = undefined;
  readonly #memory: GuestMemory;
  readonly #mask: number;
  readonly #eventIndex: boolean;
  readonly #indirect: boolean;
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

  /** `layout` has passed `splitLayoutMistake`, and its size is a power of two. */
  constructor(memory: GuestMemory, layout: VirtqueueLayout) {
    this.#memory = memory;
    this.size = layout.size;
    this.#mask = layout.size - 1;
    this.#eventIndex = layout.eventIndex;
    this.#indirect = layout.indirect;
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
    const { u16 } = this.#memory;
    if (this.#seenAvail === this.#lastAvail) {
      this.#seenAvail = Atomics.load(u16, this.#availFlags16 + 1);
      const available = (this.#seenAvail - this.#lastAvail) & 0xffff;
      if (available === 0) return "empty";
      if (available > this.size) return this.#break("AvailableIndexJump");
    }
    if (this.#inFlight === this.size) return this.#break("TooManyInFlight");
    const head = u16[this.#availFlags16 + 2 + (this.#lastAvail & this.#mask)]!;
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
  push(head: number, writtenBytes: number): void {
    const { u32 } = this.#memory;
    const element = this.#usedRing32 + 2 * (this.#usedIndex & this.#mask);
    u32[element] = head;
    u32[element + 1] = writtenBytes;
    if (this.#memory.hasWriteListeners) this.#memory.noteDeviceWrite(element * 4, 8);
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    this.#inFlight--;
  }

  // @virtio SPLIT-DEV-016 SPLIT-DEV-017 SPLIT-DEV-018 SPLIT-DEV-019 SPLIT-DEV-020 SPLIT-DEV-021 SPLIT-DEV-022
  publish(): boolean {
    const old = this.#signalledUsed;
    const now = this.#usedIndex;
    if (old === now) return false;
    const { u16 } = this.#memory;
    // Orders the used elements before the index, and the index before the look at what the driver waits for.
    Atomics.store(u16, this.#usedIndex16, now);
    if (this.#memory.hasWriteListeners) this.#memory.noteDeviceWrite(this.#usedIndex16 * 2, 2);
    this.#signalledUsed = now;
    if (this.#eventIndex) return needEvent(Atomics.load(u16, this.#usedEvent16), now, old); // §2.7.7.2
    return (Atomics.load(u16, this.#availFlags16) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
  }

  // @virtio SPLIT-DEV-027 SPLIT-DEV-029 SPLIT-DEV-030
  rearm(): boolean {
    const { u16 } = this.#memory;
    if (this.#eventIndex) {
      // §2.7.10: first say what we wait for, then look whether it has happened; the other order loses a notification.
      Atomics.store(u16, this.#availEvent16, this.#lastAvail);
      if (this.#memory.hasWriteListeners) this.#memory.noteDeviceWrite(this.#availEvent16 * 2, 2);
    }
    return Atomics.load(u16, this.#availFlags16 + 1) !== this.#lastAvail;
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
      let flagsAndNext: number;
      // Above 2^53 the sums are rounded; no RAM lies there.
      if (at % 4 === 0) {
        const word = at / 4;
        address = u32[word]! + u32[word + 1]! * TWO_TO_32;
        length = u32[word + 2]!;
        flagsAndNext = u32[word + 3]!;
      } else {
        // An indirect table may lie anywhere: the standard asks no alignment of it.
        address = view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_TO_32;
        length = view.getUint32(at + 8, true);
        flagsAndNext = view.getUint32(at + 12, true);
      }
      // Everything of the descriptor has been read, once; from here on it may change.
      if ((flagsAndNext & VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (!this.#indirect) return "IndirectNotNegotiated";
        if (indirect) return "IndirectNested"; // §2.7.5.3.1
        if ((flagsAndNext & VIRTQ_DESC_F_NEXT) !== 0) return "IndirectWithNext"; // §2.7.5.3.1
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
      const writable = (flagsAndNext & VIRTQ_DESC_F_WRITE) !== 0;
      const isLast = (flagsAndNext & VIRTQ_DESC_F_NEXT) === 0;
      // Of a chain that is refused the end is wanted all the same: there lies the byte that says so.
      if (length > 0 && (chain.mistake === undefined || isLast)) this.#addSegment(chain, writable, address, length);
      if (isLast) {
        chain.descriptors = total;
        return chain.mistake === undefined || (writable && length > 0) ? undefined : "NoStatusByte";
      }
      if (total === MAX_QUEUE_SIZE) return "DescriptorLoop"; // or as good as one: no table needs more
      index = flagsAndNext >>> 16;
      if (index >= entries) return "NextOutOfRange";
    }
  }

  #addSegment(chain: DescriptorChain, writable: boolean, address: number, length: number): void {
    let offset = this.#memory.offsetOf(address, length);
    if (offset < 0) {
      offset = OUTSIDE_RAM;
      chain.outsideRam = true;
    }
    if (writable) {
      chain.writable.push(offset, length);
      return;
    }
    chain.readable.push(offset, length);
    if (chain.writable.count > 0) chain.mistake = "WritableBeforeReadable"; // §2.7.4.2
  }
}

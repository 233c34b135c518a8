// The packed virtqueue, device side: VIRTIO 1.4 §2.8.

import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import type { RingMistake } from "../guest-mistake.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";
import {
  type BufferInFlight,
  MAX_CHAIN_DESCRIPTORS,
  needEvent,
  type PopResult,
  type Virtqueue,
  type VirtqueueLayout,
} from "./virtqueue.ts";

const VIRTQ_DESC_F_NEXT = 1;
const VIRTQ_DESC_F_WRITE = 2;
const VIRTQ_DESC_F_INDIRECT = 4;
const VIRTQ_DESC_F_AVAIL = 0x80;
const VIRTQ_DESC_F_USED = 0x8000;
const AVAIL_AND_USED = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;

const RING_EVENT_FLAGS_DISABLE = 1;
const RING_EVENT_FLAGS_DESC = 2;
const EVENT_OFFSET = 0x7fff;
const EVENT_WRAP = 0x8000;

const DESCRIPTOR_BYTES = 16;
const TWO_TO_32 = 2 ** 32;

/**
 * Positions and wrap counters are kept here and never read back from RAM. A list is read when its first descriptor is seen to be
 * available, each descriptor of it once; afterwards its slots count only as room for used descriptors, which are written at a
 * position of their own.
 *
 *   used position ≤ what is pushed ≤ what is popped ≤ available position, at most a whole ring apart
 *
 * Atomics order what the flags of a list's first descriptor and the two event structures announce. Of a batch of used
 * descriptors the first one's flags are stored last: a driver that waits for that slot sees none of the others before.
 */
export class PackedVirtqueue implements Virtqueue {
  readonly size: number;
  mistake: RingMistake | undefined = undefined;
  readonly #memory: GuestMemory;
  readonly #eventIndex: boolean;
  readonly #indirect: boolean;
  // Offsets in RAM, in units of the view that they index.
  readonly #ring16: number;
  readonly #ring32: number;
  readonly #driverEvent32: number;
  readonly #deviceEvent32: number;

  #next = 0;
  /** What the AVAIL and USED bits of an available descriptor at `#next` are: §2.8.1, the wrap counter is 1 at first. */
  #availableBits: number = VIRTQ_DESC_F_AVAIL;
  #used = 0;
  /** What they are of a used descriptor at `#used`. */
  #usedBits: number = AVAIL_AND_USED;
  /** Slots from the used position, as the driver can see it, up to `#next`. */
  #slotsTaken = 0;
  /** Slots of the batch that was pushed and is not yet visible. */
  #slotsPushed = 0;
  /** The slot of the batch's first used descriptor, and the flags that it will have. */
  #batchSlot = 0;
  #batchFlags = 0;

  /** `layout` has passed `layoutMistake`. */
  constructor(memory: GuestMemory, layout: VirtqueueLayout) {
    this.#memory = memory;
    this.size = layout.size;
    this.#eventIndex = layout.eventIndex;
    this.#indirect = layout.indirect;
    const ring = memory.offsetOf(layout.descriptorArea, DESCRIPTOR_BYTES);
    this.#ring16 = ring / 2;
    this.#ring32 = ring / 4;
    this.#driverEvent32 = memory.offsetOf(layout.driverArea, 4) / 4;
    this.#deviceEvent32 = memory.offsetOf(layout.deviceArea, 4) / 4;
  }

  // @virtio PACK-DEV-001 PACK-DEV-006 PACK-DEV-010 VQ-DEV-003
  pop(chain: DescriptorChain): PopResult {
    if (this.mistake !== undefined) return "broken";
    // Orders the whole list before its first flags, which the driver stored last: §2.8.21.1.1.
    const flags = Atomics.load(this.#memory.u16, this.#ring16 + 8 * this.#next + 7);
    if ((flags & AVAIL_AND_USED) !== this.#availableBits) return "empty";
    chain.clear(this.#memory);
    const mistake = this.#takeList(chain, flags);
    if (mistake === undefined) return "chain";
    this.mistake = mistake;
    return "broken";
  }

  // @virtio PACK-DEV-002 PACK-DEV-007 PACK-DEV-010 PACK-DEV-011 PACK-DEV-013 PACK-DEV-014 PACK-DEV-015 PACK-DEV-026
  push(buffer: BufferInFlight, writtenBytes: number): void {
    const { u16, u32 } = this.#memory;
    const slot = this.#used;
    const at16 = this.#ring16 + 8 * slot;
    // §2.8.3: the flag says whether anything was written anywhere, the length how much from the first byte on.
    const flags = this.#usedBits | (buffer.hasWritable ? VIRTQ_DESC_F_WRITE : 0);
    u32[this.#ring32 + 4 * slot + 2] = writtenBytes;
    u16[at16 + 6] = buffer.head;
    if (this.#slotsPushed === 0) {
      this.#batchSlot = slot;
      this.#batchFlags = flags;
    } else {
      u16[at16 + 7] = flags;
    }
    if (this.#memory.hasWriteListeners) this.#memory.noteDeviceWrite(at16 * 2 + 8, this.#slotsPushed === 0 ? 6 : 8);
    this.#slotsPushed += buffer.slots;
    this.#used = slot + buffer.slots;
    if (this.#used >= this.size) {
      this.#used -= this.size;
      this.#usedBits ^= AVAIL_AND_USED;
    }
  }

  // @virtio PACK-DEV-020 PACK-DEV-021 PACK-DEV-023 PACK-DEV-024 PACK-DEV-025
  publish(): boolean {
    const slots = this.#slotsPushed;
    if (slots === 0) return false;
    const { u16, u32 } = this.#memory;
    const flags16 = this.#ring16 + 8 * this.#batchSlot + 7;
    // Orders all that was pushed before these flags, and them before the look at what the driver waits for.
    Atomics.store(u16, flags16, this.#batchFlags);
    if (this.#memory.hasWriteListeners) this.#memory.noteDeviceWrite(flags16 * 2, 2);
    this.#slotsPushed = 0;
    this.#slotsTaken -= slots;
    // One load: the driver may be rewriting the structure, and offset and flags belong together.
    const event = Atomics.load(u32, this.#driverEvent32);
    const flags = (event >>> 16) & 3; // the other bits are reserved
    if (flags === RING_EVENT_FLAGS_DISABLE) return false;
    // What is reserved, or was not negotiated, suppresses nothing.
    if (flags !== RING_EVENT_FLAGS_DESC || !this.#eventIndex) return true;
    // An offset of the lap before counts from there; so does where the batch began, which may be below 0 as well.
    const sameLap = ((event & EVENT_WRAP) !== 0) === ((this.#usedBits & VIRTQ_DESC_F_USED) !== 0);
    const offset = (event & EVENT_OFFSET) - (sameLap ? 0 : this.size);
    return needEvent(offset, this.#used, this.#used - slots);
  }

  // @virtio PACK-DEV-022 PACK-DEV-023
  rearm(): boolean {
    const { u16, u32 } = this.#memory;
    const wrap = this.#availableBits === VIRTQ_DESC_F_AVAIL ? EVENT_WRAP : 0;
    // Without EVENT_IDX it reads: notify of everything.
    const event = this.#eventIndex ? this.#next | wrap | (RING_EVENT_FLAGS_DESC << 16) : 0;
    // First say what we wait for, then look whether it has happened; the other order loses a notification.
    Atomics.store(u32, this.#deviceEvent32, event);
    if (this.#memory.hasWriteListeners) this.#memory.noteDeviceWrite(this.#deviceEvent32 * 4, 4);
    const flags = Atomics.load(u16, this.#ring16 + 8 * this.#next + 7);
    return (flags & AVAIL_AND_USED) === this.#availableBits;
  }

  /** Takes the list that begins at `#next`; a mistake that is returned breaks the ring, one set in `chain` only the chain. */
  // @virtio PACK-DEV-008 PACK-DEV-009 PACK-DEV-012
  #takeList(chain: DescriptorChain, firstFlags: number): RingMistake | undefined {
    const { u16, u32 } = this.#memory;
    const room = this.size - this.#slotsTaken;
    let slot = this.#next;
    let bits = this.#availableBits;
    let flags = firstFlags;
    for (let count = 1; ; count++) {
      // Slots that are in flight cannot be available again: the driver has written over them, or the list is longer than the ring.
      if (count > room) return count > this.size ? "DescriptorLoop" : "TooManyInFlight";
      const word = this.#ring32 + 4 * slot;
      // Above 2^53 the sum is rounded; no RAM lies there.
      const address = u32[word]! + u32[word + 1]! * TWO_TO_32;
      const length = u32[word + 2]!;
      const id = u16[2 * word + 6]!;
      // Everything of the descriptor has been read, once; from here on it may change.
      const indirect = (flags & VIRTQ_DESC_F_INDIRECT) !== 0;
      const isLast = (flags & VIRTQ_DESC_F_NEXT) === 0;
      if (indirect) {
        if (!this.#indirect) return "IndirectNotNegotiated";
        if (count > 1 || !isLast) return "IndirectWithNext"; // §2.8.19
        const mistake = this.#readTable(chain, address, length);
        if (mistake !== undefined) return mistake;
      } else {
        if (count > MAX_CHAIN_DESCRIPTORS) chain.mistake = "ChainTooLong";
        const writable = (flags & VIRTQ_DESC_F_WRITE) !== 0;
        // Of a chain that is refused the end is wanted all the same: there lies the byte that says so.
        if (chain.mistake === undefined || isLast) chain.addSegment(this.#memory, writable, address, length);
        if (isLast && chain.mistake !== undefined && !(writable && length > 0)) return "NoStatusByte";
        chain.descriptors = count;
      }
      if (++slot === this.size) {
        slot = 0;
        bits ^= AVAIL_AND_USED;
      }
      if (isLast) {
        chain.head = id; // §2.8.6: that of the last descriptor
        chain.slots = count;
        this.#next = slot;
        this.#availableBits = bits;
        this.#slotsTaken += count;
        return undefined;
      }
      flags = u16[this.#ring16 + 8 * slot + 7]!;
      // The first descriptor of a list is made available after all others: §2.8.17.
      if (count < this.size && (flags & AVAIL_AND_USED) !== bits) return "DescriptorNotAvailable";
    }
  }

  /** Reads an indirect table: its entries one after another, of whose flags only WRITE counts. */
  // @virtio PACK-DEV-016 PACK-DEV-017
  #readTable(chain: DescriptorChain, address: number, lengthBytes: number): RingMistake | undefined {
    if (lengthBytes === 0 || lengthBytes % DESCRIPTOR_BYTES !== 0) return "IndirectLength";
    const table = this.#memory.offsetOf(address, lengthBytes);
    if (table < 0) return "IndirectOutsideRam";
    const { view } = this.#memory;
    const entries = lengthBytes / DESCRIPTOR_BYTES;
    chain.descriptors = Math.min(entries, MAX_CHAIN_DESCRIPTORS);
    // Of a table that is refused only the end is wanted.
    if (entries > MAX_CHAIN_DESCRIPTORS) chain.mistake = "ChainTooLong";
    for (let i = entries > MAX_CHAIN_DESCRIPTORS ? entries - 1 : 0; i < entries; i++) {
      const at = table + i * DESCRIPTOR_BYTES; // anywhere in RAM: no alignment is asked of it
      const segment = view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_TO_32;
      const length = view.getUint32(at + 8, true);
      const writable = (view.getUint16(at + 14, true) & VIRTQ_DESC_F_WRITE) !== 0;
      const isLast = i === entries - 1;
      if (chain.mistake === undefined || isLast) chain.addSegment(this.#memory, writable, segment, length);
      if (isLast && chain.mistake !== undefined && !(writable && length > 0)) return "NoStatusByte";
    }
    return undefined;
  }
}

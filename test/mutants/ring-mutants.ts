// Broken rules of the rings: VIRTIO 1.4 §2.7, §2.8 and §2.9.
import { type Mutant, mutantsOf } from "./mutant.ts";

const split = mutantsOf("virtqueue/split-virtqueue.ts", [
  [
    "split-avail-entry-not-wrapped",
    "reads available entries past the end of the ring",
    "this.#availFlags16 + 2 + (this.#lastAvail & this.#mask)",
    "this.#availFlags16 + 2 + this.#lastAvail",
  ],
  [
    "split-used-element-not-wrapped",
    "writes used elements past the end of the ring",
    "2 * (this.#usedIndex & this.#mask)",
    "2 * this.#usedIndex",
  ],
  [
    "split-avail-index-not-wrapped",
    "does not wrap its available index at 2^16",
    "this.#lastAvail = (this.#lastAvail + 1) & 0xffff;",
    "this.#lastAvail = this.#lastAvail + 1;",
  ],
  [
    "split-avail-index-jump-followed",
    "follows an available index that has moved by more than the ring holds",
    'if (available > this.size) return this.#break("AvailableIndexJump");',
    "",
  ],
  [
    "split-head-not-checked",
    "follows a head that is no descriptor",
    'if (head >= this.size) return this.#break("HeadOutOfRange");',
    "",
  ],
  [
    "split-next-not-checked",
    "follows a next that is no descriptor, silently to the end of the chain",
    'if (index >= entries) return "NextOutOfRange";',
    "if (index >= entries) index = 0;",
  ],
  [
    "split-used-id-wrong",
    "names the position instead of the head in used elements",
    "u32[element] = this.#bigEndian ? swap32(buffer.head) : buffer.head;",
    "u32[element] = this.#usedIndex & this.#mask;",
  ],
  [
    "split-used-length-one-more",
    "says that one byte more was written",
    "this.#bigEndian ? swap32(writtenBytes) : writtenBytes;",
    "this.#bigEndian ? swap32(writtenBytes) : writtenBytes + 1;",
  ],
  [
    "split-used-length-huge",
    "says of every buffer that it was written completely and more",
    "this.#bigEndian ? swap32(writtenBytes) : writtenBytes;",
    "0xffff;",
  ],
  [
    "split-used-index-twice",
    "moves the used index by two",
    "this.#usedIndex = (this.#usedIndex + 1) & 0xffff;",
    "this.#usedIndex = (this.#usedIndex + 2) & 0xffff;",
  ],
  [
    "split-used-index-not-published",
    "leaves the used index in RAM as it was",
    "this.#store16(this.#usedIndex16, now);",
    "",
  ],
  [
    "split-no-interrupt-ignored",
    "notifies though NO_INTERRUPT is set",
    "return (this.#load16(this.#availFlags16) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;",
    "return true;",
  ],
  [
    "split-never-notifies",
    "does not notify though NO_INTERRUPT is clear",
    "return (this.#load16(this.#availFlags16) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;",
    "return false;",
  ],
  [
    "split-flags-heeded-with-event-index",
    "heeds flags instead of used_event when EVENT_IDX is negotiated",
    "if (this.#eventIndex) return needEvent(this.#load16(this.#usedEvent16), now, old); // §2.7.7.2",
    "",
  ],
  [
    "split-used-event-off-by-one",
    "notifies one buffer later than used_event asks",
    "needEvent(this.#load16(this.#usedEvent16), now, old)",
    "needEvent((this.#load16(this.#usedEvent16) + 1) & 0xffff, now, old)",
  ],
  [
    "split-used-event-elsewhere",
    "looks for used_event one entry too early",
    "this.#usedEvent16 = avail / 2 + 2 + layout.size;",
    "this.#usedEvent16 = avail / 2 + 1 + layout.size;",
  ],
  [
    "split-avail-event-elsewhere",
    "writes avail_event over the last used element",
    "this.#availEvent16 = used / 2 + 2 + 4 * layout.size;",
    "this.#availEvent16 = used / 2 + 4 * layout.size;",
  ],
  [
    "split-avail-event-not-moved",
    "never says from which buffer on it wants to be notified",
    "if (this.#eventIndex) this.#store16(this.#availEvent16, this.#lastAvail);",
    "",
  ],
  [
    "split-write-flag-ignored",
    "takes every buffer but the last one for readable",
    "const writable = (flags & VIRTQ_DESC_F_WRITE) !== 0;",
    "const writable = total > 1 && (flags & VIRTQ_DESC_F_NEXT) === 0;",
  ],
  [
    "split-indirect-index-ignored",
    "walks indirect tables entry by entry instead of by next",
    "index = next;",
    "index = indirect ? index + 1 : next;",
  ],
  [
    "split-indirect-after-direct-refused",
    "refuses an indirect table after direct descriptors",
    'if (indirect) return "IndirectNested"; // §2.7.5.3.1',
    'if (indirect || total > 0) return "IndirectNested";',
  ],
  [
    "split-indirect-write-flag-heeded",
    "refuses WRITE on what points to an indirect table",
    'if ((flags & VIRTQ_DESC_F_NEXT) !== 0) return "IndirectWithNext"; // §2.7.5.3.1',
    'if ((flags & (VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE)) !== 0) return "IndirectWithNext";',
  ],
  [
    "split-indirect-alignment-demanded",
    "rounds the address of an indirect table down to 16",
    "table = this.#memory.offsetOf(address, length);",
    "table = this.#memory.offsetOf(address - (address % 16), length);",
  ],
  [
    "split-first-descriptor-only",
    "takes at most two descriptors of a chain",
    "if (isLast) {",
    "if (isLast || total === 2) {",
  ],
  [
    "split-big-endian-ring-is-little",
    "has a little-endian ring for a big-endian legacy guest",
    "this.#bigEndian = layout.bigEndian;",
    "this.#bigEndian = false;",
  ],
]);

const packed = mutantsOf("virtqueue/packed-virtqueue.ts", [
  [
    "packed-wrap-counter-starts-at-0",
    "begins with wrap counter 0",
    "#availableBits: number = VIRTQ_DESC_F_AVAIL;",
    "#availableBits: number = VIRTQ_DESC_F_USED;",
  ],
  [
    "packed-used-wrap-not-toggled",
    "does not toggle the wrap counter of used descriptors",
    "      this.#usedBits ^= AVAIL_AND_USED;",
    "",
  ],
  [
    "packed-avail-wrap-not-toggled",
    "does not toggle the wrap counter of available descriptors",
    "        bits ^= AVAIL_AND_USED;",
    "",
  ],
  [
    "packed-used-flag-only",
    "sets USED and leaves AVAIL",
    "#usedBits: number = AVAIL_AND_USED;",
    "#usedBits: number = VIRTQ_DESC_F_USED;",
  ],
  ["packed-write-flag-never", "never says that it has written", "(buffer.hasWritable ? VIRTQ_DESC_F_WRITE : 0)", "0"],
  [
    "packed-length-one-more",
    "says that one byte more was written",
    "u32[this.#ring32 + 4 * slot + 2] = writtenBytes;",
    "u32[this.#ring32 + 4 * slot + 2] = writtenBytes + 1;",
  ],
  [
    "packed-first-id",
    "names the id of the first descriptor of a list",
    "chain.head = id; // §2.8.6: that of the last descriptor",
    "chain.head = u16[2 * (this.#ring32 + 4 * this.#next) + 6]!;",
  ],
  [
    "packed-slots-not-skipped",
    "writes used descriptors slot by slot, whatever a list takes",
    "this.#used = slot + buffer.slots;",
    "this.#used = slot + 1;",
  ],
  [
    "packed-disable-ignored",
    "notifies though the driver has disabled events",
    "if (flags === RING_EVENT_FLAGS_DISABLE) return false;",
    "",
  ],
  [
    "packed-event-ignored",
    "notifies of every buffer though the driver asks for one",
    "if (flags !== RING_EVENT_FLAGS_DESC || !this.#eventIndex) return true;",
    "return true;",
  ],
  [
    "packed-event-wrap-ignored",
    "does not look at the wrap counter of the event",
    "((event & EVENT_WRAP) !== 0) === ((this.#usedBits & VIRTQ_DESC_F_USED) !== 0)",
    "true",
  ],
  [
    "packed-never-notifies",
    "never notifies",
    "    return needEvent(offset, this.#used, this.#used - slots);",
    "    return false;",
  ],
  [
    "packed-device-event-not-written",
    "never says from which buffer on it wants to be notified",
    "Atomics.store(u32, this.#deviceEvent32, event);",
    "Atomics.store(u32, this.#deviceEvent32, RING_EVENT_FLAGS_DISABLE << 16);",
  ],
  [
    "packed-event-without-feature",
    "writes an offset though EVENT_IDX was not negotiated",
    "const event = this.#eventIndex ? this.#next | wrap",
    "const event = this.#eventIndex || true ? this.#next | wrap",
  ],
  [
    "packed-power-of-two-only",
    "wraps at the next power of two",
    "if (++slot === this.size) {",
    "if (++slot === 2 ** Math.floor(Math.log2(this.size))) {",
  ],
  [
    "packed-indirect-next-heeded",
    "stops at the first entry without NEXT in an indirect table",
    "const isLast = i === entries - 1;",
    "const isLast = (view.getUint16(at + 14, true) & VIRTQ_DESC_F_NEXT) === 0 || i === entries - 1;\n      if (isLast) i = entries;",
  ],
  [
    "packed-indirect-write-heeded",
    "refuses WRITE on what points to an indirect table",
    "if (count > 1 || !isLast) return",
    "if (count > 1 || !isLast || (flags & VIRTQ_DESC_F_WRITE) !== 0) return",
  ],
  [
    "packed-list-end-not-found",
    "takes no more than two descriptors of a list",
    "const isLast = (flags & VIRTQ_DESC_F_NEXT) === 0;",
    "const isLast = (flags & VIRTQ_DESC_F_NEXT) === 0 || count === 2;",
  ],
  [
    "packed-avail-flag-not-looked-at",
    "takes descriptors that are not available",
    'if ((flags & AVAIL_AND_USED) !== this.#availableBits) return "empty";',
    "",
  ],
]);

const inOrder = mutantsOf("virtqueue/in-order-virtqueue.ts", [
  [
    "in-order-not-kept",
    "uses buffers as they are finished though IN_ORDER was negotiated",
    "if (buffer.sequence !== this.#turn) {",
    "if (Math.random() < 0) {",
  ],
  [
    "in-order-held-back-forgotten",
    "forgets what was finished before its turn",
    "this.#queue.push(this.#buffer, this.#writtenBytes[at]!);",
    "",
  ],
]);

export const ringMutants: readonly Mutant[] = [...split, ...packed, ...inOrder];

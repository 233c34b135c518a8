// A bitmap over a disk, one bit for each group of 2^G bytes, with fast search: docs/reference/bitmaps.md §1.

import { assert } from "../base/assert.ts";
import { BlockError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import { type BitChunk, CHUNK_BITS, LAST_WORD } from "./bit-chunk.ts";
import { BitmapIterator } from "./bitmap-iterator.ts";
import { ChunkedBits, MAX_BITS } from "./chunked-bits.ts";
import { DirtyAreas } from "./dirty-areas.ts";

const CHUNKS_PER_BIT = 1 / CHUNK_BITS;
const MAX_SIZE_BYTES = 2 ** 53;
/** Exponents of granularity from here on cannot be serialised: §1.1. */
const MAX_SERIALIZABLE_GRANULARITY = 2 ** 58;
const SERIALIZED_WORD_BITS = 64;
/** The bits are copied to be hashed, and the platforms' hashes take less than 2 GiB at once. */
const MAX_HASHED_BYTES = 2 ** 30;

/** A run of bytes that are all dirty. Filled by `nextDirtyArea`; made once and used again. */
export class DirtyArea {
  offset = 0;
  length = 0;
}

/** The state of a run of bytes. Filled by `status`; made once and used again. */
export class DirtyStatus {
  dirty = false;
  length = 0;
}

/**
 * Which of `sizeBytes` bytes are dirty, with one bit for every group of `granularityBytes`; the last group may be cut off
 * by the end. Offsets and lengths are bytes. Calls outside the bounds stated are mistakes of the caller (assertions).
 *
 * Searches and the count are right after every call, loading a part of a serialised bitmap included: there is no separate
 * last step.
 */
export class HierarchicalBitmap {
  readonly granularityBytes: number;
  readonly #bits: ChunkedBits;
  readonly #chunks: readonly BitChunk[];
  /** 1 / granularityBytes: exact, as that is a power of two. */
  readonly #perByte: number;
  /** The bits of an offset that are 0 at the begin of a group; -1 where 32 bits do not tell. */
  readonly #groupMask: number;
  #sizeBytes: number;
  /** Where the last group ends. */
  #endBytes: number;

  /** All clean. At most 2^53 bytes and 2^41 bits; `granularityBytes` is a power of two up to 2^63. */
  constructor(sizeBytes: number, granularityBytes: number) {
    assert(granularityBytes <= 2 ** 63 && isPowerOfTwo(granularityBytes), "granularity is not a power of two");
    const bits = bitsOf(sizeBytes, granularityBytes);
    this.granularityBytes = granularityBytes;
    this.#perByte = 1 / granularityBytes;
    this.#groupMask = granularityBytes <= 2 ** 31 ? granularityBytes - 1 : -1;
    this.#sizeBytes = sizeBytes;
    this.#endBytes = bits * granularityBytes;
    this.#bits = new ChunkedBits(bits);
    this.#chunks = this.#bits.chunks;
  }

  /** Dirty wherever `a` or `b` is, in `result`, which may be one of the two. See `merge` for what is asked of them. */
  static merge(a: HierarchicalBitmap, b: HierarchicalBitmap, result: HierarchicalBitmap): void {
    if (result !== a && result !== b) result.resetAll();
    result.merge(a);
    result.merge(b);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Dirty groups in bytes: a last group that is cut off by the end counts in full. */
  get countBytes(): number {
    return this.#bits.count * this.granularityBytes;
  }

  /** Makes every group dirty that the range touches. The range may end with the last group rather than with the size. */
  set(start: number, length: number): void {
    if (length === 0) return;
    const last = start + length - 1;
    assert(start >= 0 && length > 0 && last < this.#endBytes, "set: outside the bitmap");
    const from = start * this.#perByte;
    const to = last * this.#perByte;
    const index = chunkOf(from);
    const bit = bitOf(from);
    if (bit === bitOf(to) && index === chunkOf(to)) this.#bits.setBit(index, bit);
    else this.#bits.set(index, bit, chunkOf(to), bitOf(to));
  }

  /** Makes the groups of the range clean: whole groups only, except the last one of the bitmap. */
  reset(start: number, length: number): void {
    if (length === 0) return;
    const end = start + length;
    assert(start >= 0 && length > 0 && end <= this.#endBytes, "reset: outside the bitmap");
    if (((start | end) & this.#groupMask) !== 0 || this.#groupMask === -1) this.#assertWhole(start, end);
    const from = start * this.#perByte;
    const to = (end - 1) * this.#perByte;
    const index = chunkOf(from);
    const bit = bitOf(from);
    if (bit === bitOf(to) && index === chunkOf(to)) this.#bits.resetBit(index, bit);
    else this.#bits.reset(index, bit, chunkOf(to), bitOf(to));
  }

  resetAll(): void {
    this.#bits.resetAll();
  }

  /** True if the group of the byte at `offset` is dirty. */
  get(offset: number): boolean {
    assert(offset >= 0 && offset < this.#endBytes, "get: outside the bitmap");
    return this.#chunks[chunkOf(offset * this.#perByte)]!.has(bitOf(offset * this.#perByte));
  }

  /** The dirty groups from that of the byte at `first` on, as a live view. */
  iterate(first = 0): BitmapIterator {
    assert(first === 0 || (first > 0 && first < this.#endBytes), "iterate: outside the bitmap");
    return new BitmapIterator(
      this.#chunks,
      this.granularityBytes,
      chunkOf(first * this.#perByte),
      bitOf(first * this.#perByte),
    );
  }

  /** Offset of the first dirty byte of the range, or -1. The range is cut off at the size. */
  nextDirty(start: number, length: number = Number.POSITIVE_INFINITY): number {
    assert(start >= 0 && length >= 0, "nextDirty: negative range");
    const end = Math.min(start + length, this.#sizeBytes);
    if (start >= end) return -1;
    const from = start * this.#perByte;
    let index = chunkOf(from);
    let bit = this.#chunks[index]!.nextSet(bitOf(from));
    if (bit < 0) {
      index = this.#bits.nextUsedChunk(index + 1, chunkOf((end - 1) * this.#perByte));
      if (index < 0) return -1;
      bit = this.#chunks[index]!.nextSet(0);
    }
    const offset = this.#offsetOf(index, bit);
    return offset >= end ? -1 : Math.max(offset, start);
  }

  /** Offset of the first clean byte of the range, or -1. The range is cut off at the size. */
  nextZero(start: number, length: number = Number.POSITIVE_INFINITY): number {
    assert(start >= 0 && length >= 0, "nextZero: negative range");
    const end = Math.min(start + length, this.#sizeBytes);
    if (start >= end) return -1;
    const from = start * this.#perByte;
    const to = (end - 1) * this.#perByte;
    const lastIndex = chunkOf(to);
    const lastWord = bitOf(to) >>> 5;
    let index = chunkOf(from);
    let bit = this.#chunks[index]!.nextClear(bitOf(from), index < lastIndex ? LAST_WORD : lastWord);
    if (bit < 0) {
      index = this.#bits.nextUnfilledChunk(index + 1, lastIndex);
      if (index < 0) return -1;
      bit = this.#chunks[index]!.nextClear(0, index < lastIndex ? LAST_WORD : lastWord);
      if (bit < 0) return -1;
    }
    const offset = this.#offsetOf(index, bit);
    return offset >= end ? -1 : Math.max(offset, start);
  }

  /**
   * The first run of dirty bytes in `[start, end)`, cut off after `maxBytes` and at the size. False if there is none; else
   * `area` holds it. To walk all of them, `areas` is faster.
   */
  nextDirtyArea(start: number, end: number, maxBytes: number, area: DirtyArea): boolean {
    assert(start >= 0 && maxBytes > 0, "nextDirtyArea: negative start or empty area");
    const stop = Math.min(end, this.#sizeBytes);
    if (start >= stop) return false;
    const from = start * this.#perByte;
    let index = chunkOf(from);
    let bit = this.#chunks[index]!.nextSet(bitOf(from));
    if (bit < 0) {
      index = this.#bits.nextUsedChunk(index + 1, chunkOf((stop - 1) * this.#perByte));
      if (index < 0) return false;
      bit = this.#chunks[index]!.nextSet(0);
    }
    const offset = Math.max(this.#offsetOf(index, bit), start);
    if (offset >= stop) return false;
    const limit = Math.min(stop, offset + maxBytes);
    const to = (limit - 1) * this.#perByte;
    const lastIndex = chunkOf(to);
    const lastWord = bitOf(to) >>> 5;
    area.offset = offset;
    area.length = limit - offset;
    bit = this.#chunks[index]!.nextClear(bit, index < lastIndex ? LAST_WORD : lastWord);
    if (bit < 0) {
      index = this.#bits.nextUnfilledChunk(index + 1, lastIndex);
      if (index < 0) return true;
      bit = this.#chunks[index]!.nextClear(0, index < lastIndex ? LAST_WORD : lastWord);
      if (bit < 0) return true;
    }
    area.length = Math.min(this.#offsetOf(index, bit), limit) - offset;
    return true;
  }

  /** The runs of dirty bytes in `[start, end)` one after another, cut off at the size: faster than as many searches. */
  areas(start = 0, end: number = this.#sizeBytes): DirtyAreas {
    const stop = Math.min(end, this.#sizeBytes);
    assert(start >= 0, "areas: negative start");
    return new DirtyAreas(this.#bits, this.granularityBytes, start, stop);
  }

  /** Fills `status` with the state of the byte at `start` and for how many bytes of the range it holds. */
  status(start: number, length: number, status: DirtyStatus): void {
    const end = start + length;
    assert(start >= 0 && length > 0 && end <= this.#sizeBytes, "status: outside the bitmap");
    status.dirty = this.get(start);
    const change = status.dirty ? this.nextZero(start, length) : this.nextDirty(start, length);
    status.length = (change < 0 ? end : change) - start;
  }

  /** Makes dirty what is dirty in `other`, which is of the same size; its granularity may be another one. */
  merge(other: HierarchicalBitmap): void {
    assert(other.#sizeBytes === this.#sizeBytes, "merge: bitmaps of different sizes");
    if (other === this) return;
    if (other.granularityBytes === this.granularityBytes) {
      this.#bits.merge(other.#bits);
      return;
    }
    const areas = other.areas();
    while (areas.next()) this.set(areas.offset, areas.length);
  }

  /** Changes the size. Groups past the end are forgotten, the one in which the end lies keeps its bit, new ones are clean. */
  truncate(newSizeBytes: number): void {
    const bits = bitsOf(newSizeBytes, this.granularityBytes);
    this.#sizeBytes = newSizeBytes;
    this.#endBytes = bits * this.granularityBytes;
    if (bits !== this.#bits.length) this.#bits.resize(bits);
  }

  /**
   * SHA-256 of the bits as 64 hexadecimal digits: over whole 64-bit words, one at least, bit i at bit i % 8 of byte i / 8.
   * The bits are taken before the call returns. Rejects with `BlockError` ENOMEM for bitmaps of more than 1 GiB.
   */
  async sha256(): Promise<string> {
    const length = Math.max(Math.ceil(this.#bits.length / SERIALIZED_WORD_BITS), 1) * 8;
    if (length > MAX_HASHED_BYTES) throw new BlockError("ENOMEM", `bitmap of ${length} bytes is too large to hash`);
    const bytes = new Uint8Array(length);
    this.#bits.store(0, this.#bits.length, bytes);
    return sha256(bytes);
  }

  /** Parts of a serialised bitmap begin at multiples of this and end there or with the last group: §1.3. */
  get serializationAlignBytes(): number {
    assert(this.granularityBytes < MAX_SERIALIZABLE_GRANULARITY, "granularity too large to serialise");
    return SERIALIZED_WORD_BITS * this.granularityBytes;
  }

  /** Disk bytes that `chunkBytes` bytes of serialised bitmap tell about. */
  serializationCoverage(chunkBytes: number): number {
    const coverage = this.granularityBytes * 8 * chunkBytes;
    assert(coverage % this.serializationAlignBytes === 0, "chunks of a serialised bitmap end within a word");
    return coverage;
  }

  /** Length in bytes of the part of the serialised bitmap for a range. */
  serializationSize(start: number, length: number): number {
    if (length === 0) return 0;
    this.#checkPart(start, length);
    const align = this.serializationAlignBytes;
    return (Math.ceil((start + length) / align) - start / align) * 8;
  }

  /** Writes the part for a range to `out`: 64-bit little-endian words, lowest bit first. */
  serialize(start: number, length: number, out: Uint8Array): void {
    if (length === 0) return;
    assert(out.length >= this.serializationSize(start, length), "serialize: no room");
    this.#bits.store(start * this.#perByte, Math.ceil((start + length) * this.#perByte), out);
  }

  /** Replaces the bits of a range by a part that `serialize` wrote. Bits past the end are dropped. */
  deserialize(start: number, length: number, bytes: Uint8Array): void {
    if (length === 0) return;
    assert(bytes.length >= this.serializationSize(start, length), "deserialize: too few bytes");
    this.#bits.load(start * this.#perByte, Math.ceil((start + length) * this.#perByte), bytes);
  }

  /** `deserialize` of a part that is all zero. */
  deserializeZeroes(start: number, length: number): void {
    if (length === 0) return;
    this.#checkPart(start, length);
    this.reset(start, length);
  }

  /** `deserialize` of a part that is all ones. Bits past the end are not set (QEMU keeps them). */
  deserializeOnes(start: number, length: number): void {
    if (length === 0) return;
    this.#checkPart(start, length);
    this.set(start, length);
  }

  #checkPart(start: number, length: number): void {
    const align = this.serializationAlignBytes;
    assert(start >= 0 && length > 0, "serialised part: negative range");
    assert(start % align === 0, "serialised part: starts within a word");
    const endBit = Math.ceil((start + length) * this.#perByte);
    assert(endBit <= this.#bits.length, "serialised part: outside the bitmap");
    assert(length % align === 0 || endBit === this.#bits.length, "serialised part: ends within a word");
  }

  #assertWhole(start: number, end: number): void {
    const from = start * this.#perByte;
    const to = end * this.#perByte;
    const whole = Math.floor(from) === from && (Math.floor(to) === to || end === this.#sizeBytes);
    assert(whole, "reset: a part of a group");
  }

  #offsetOf(index: number, bit: number): number {
    return (index * CHUNK_BITS + bit) * this.granularityBytes;
  }
}

/** The chunk of a byte's group. A position is an offset times `#perByte`, so it counts groups and has a fraction. */
function chunkOf(position: number): number {
  return (position * CHUNKS_PER_BIT) | 0;
}

/** The number of a byte's group in its chunk. `&` takes the integer part modulo 2^32, so this is exact at any position. */
function bitOf(position: number): number {
  return position & (CHUNK_BITS - 1);
}

/** True if a bitmap can be as large: 2^53 bytes and 2^41 bits at most. */
export function fitsBitmap(sizeBytes: number, granularityBytes: number): boolean {
  return sizeBytes >= 0 && sizeBytes <= MAX_SIZE_BYTES && sizeBytes / granularityBytes <= MAX_BITS;
}

function bitsOf(sizeBytes: number, granularityBytes: number): number {
  assert(fitsBitmap(sizeBytes, granularityBytes), "bitmap of more than 2^53 bytes or 2^41 bits");
  return Math.ceil(sizeBytes / granularityBytes);
}

function isPowerOfTwo(value: number): boolean {
  while (value > 1) value /= 2;
  return value === 1;
}

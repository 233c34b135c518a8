// An array of up to 2^41 bits in chunks that take memory only where the bits of a chunk differ from one another.

import { assert } from "../base/assert.ts";
import { BitChunk, CHUNK_BITS } from "./bit-chunk.ts";

/** The most bits that an array can have: docs/reference/bitmaps.md §1.1. */
export const MAX_BITS: number = 2 ** 41;

const LAST_BIT = CHUNK_BITS - 1;

/** Stands for every chunk without a set bit, whatever its size. */
const EMPTY_CHUNK = new BitChunk(CHUNK_BITS);
/** Stands for every complete chunk without a clear bit. */
const FULL_CHUNK = new BitChunk(CHUNK_BITS);
FULL_CHUNK.set(0, LAST_BIT);

/**
 * Bits 0 to `length - 1`, addressed by the index of their chunk and their number in it. Both are 32-bit integers, and that
 * is why: the engine allocates a box for a larger number at each call that it does not inline.
 *
 * Memory: 8 bytes for each chunk of 2^20 bits (16 MiB for 2^41 bits), and 132 KiB for each chunk that had one of its bits
 * changed alone. Chunks that are all 0 or all 1 are shared and copied before the first change; a range operation over a
 * whole chunk gives its memory back.
 */
export class ChunkedBits {
  /** The same array for good. Searched from outside, changed by this class alone. */
  readonly chunks: BitChunk[] = [];
  #length = 0;
  #count = 0;

  constructor(length: number) {
    this.resize(length);
  }

  get length(): number {
    return this.#length;
  }

  /** Number of set bits. */
  get count(): number {
    return this.#count;
  }

  /** Sets bit number `bit` of chunk `index`. */
  setBit(index: number, bit: number): void {
    const chunk = this.chunks[index]!;
    this.#count += (chunk === EMPTY_CHUNK ? this.#own(index) : chunk).setBit(bit);
  }

  /** Clears bit number `bit` of chunk `index`. */
  resetBit(index: number, bit: number): void {
    const chunk = this.chunks[index]!;
    this.#count -= (chunk === FULL_CHUNK ? this.#own(index) : chunk).resetBit(bit);
  }

  /** Sets the bits from number `first` of chunk `index` to number `last` of chunk `lastIndex`. */
  set(index: number, first: number, lastIndex: number, last: number): void {
    for (; index <= lastIndex; index++, first = 0) {
      const end = index === lastIndex ? last : LAST_BIT;
      if (end - first === LAST_BIT) this.#replace(index, FULL_CHUNK);
      else if (this.chunks[index] !== FULL_CHUNK) this.#count += this.#own(index).set(first, end);
    }
  }

  /** Clears the bits from number `first` of chunk `index` to number `last` of chunk `lastIndex`. */
  reset(index: number, first: number, lastIndex: number, last: number): void {
    for (; index <= lastIndex; index++, first = 0) {
      const end = index === lastIndex ? last : LAST_BIT;
      if (end - first === LAST_BIT) this.#replace(index, EMPTY_CHUNK);
      else if (this.chunks[index] !== EMPTY_CHUNK) this.#count -= this.#own(index).reset(first, end);
    }
  }

  resetAll(): void {
    this.chunks.fill(EMPTY_CHUNK);
    this.#count = 0;
  }

  /** The first chunk from `index` to `lastIndex` that has a set bit, or -1. */
  nextUsedChunk(index: number, lastIndex: number): number {
    while (index <= lastIndex && this.chunks[index]!.count === 0) index++;
    return index <= lastIndex ? index : -1;
  }

  /** The first chunk from `index` to `lastIndex` that is not a complete one full of set bits, or -1. */
  nextUnfilledChunk(index: number, lastIndex: number): number {
    while (index <= lastIndex && this.chunks[index]!.count === CHUNK_BITS) index++;
    return index <= lastIndex ? index : -1;
  }

  /** Sets what is set in `other`, which is as long. */
  merge(other: ChunkedBits): void {
    assert(other.#length === this.#length, "merge: bitmaps of different lengths");
    for (let index = 0; index < this.chunks.length; index++) {
      const source = other.chunks[index]!;
      const chunk = this.chunks[index]!;
      if (source.count === 0 || chunk === source) continue;
      if (source === FULL_CHUNK) this.#replace(index, FULL_CHUNK);
      else if (chunk.count === 0) this.#replace(index, source.copy(this.#chunkLength(index)));
      else if (chunk !== FULL_CHUNK) this.#count += chunk.merge(source);
    }
  }

  /** Drops the bits from `length` on, or adds clear ones up to there. */
  resize(length: number): void {
    assert(length >= 0 && length <= MAX_BITS, "a bitmap has at most 2^41 bits");
    const edge = Math.floor(Math.min(length, this.#length) / CHUNK_BITS);
    if (length < this.#length) {
      const last = this.#length - 1;
      this.reset(edge, length % CHUNK_BITS, Math.floor(last / CHUNK_BITS), last % CHUNK_BITS);
    }
    this.#length = length;
    const chunks = Math.ceil(length / CHUNK_BITS);
    while (this.chunks.length < chunks) this.chunks.push(EMPTY_CHUNK);
    this.chunks.length = chunks;
    // A last chunk has room for its bits only: the one in which the shorter array ends changes its size.
    const chunk = this.chunks[edge];
    if (chunk !== undefined && !isShared(chunk)) this.chunks[edge] = chunk.copy(this.#chunkLength(edge));
  }

  /** Writes the bits from `from`, a multiple of 64, up to `end` to `out`, bit i at bit i % 8 of byte i / 8. */
  store(from: number, end: number, out: Uint8Array): void {
    let index = Math.floor(from / CHUNK_BITS);
    let done = 0;
    for (let at = (from % CHUNK_BITS) >>> 5; index * CHUNK_BITS < end; index++, at = 0) {
      const stop = wordsOf(Math.min(end - index * CHUNK_BITS, CHUNK_BITS));
      this.chunks[index]!.store(at, stop, out, done);
      done += (stop - at) * 4;
    }
  }

  /**
   * Replaces the bits from `from`, a multiple of 64, up to `end`, which is one too or `length`, by those that `store` wrote.
   */
  load(from: number, end: number, bytes: Uint8Array): void {
    let index = Math.floor(from / CHUNK_BITS);
    let done = 0;
    for (let at = (from % CHUNK_BITS) >>> 5; index * CHUNK_BITS < end; index++, at = 0) {
      const stop = wordsOf(Math.min(end - index * CHUNK_BITS, CHUNK_BITS));
      this.#count += this.#own(index).load(at, stop, bytes, done);
      done += (stop - at) * 4;
    }
  }

  #chunkLength(index: number): number {
    return Math.min(this.#length - index * CHUNK_BITS, CHUNK_BITS);
  }

  /** The chunk `index` as one of our own, which may be changed. */
  #own(index: number): BitChunk {
    const chunk = this.chunks[index]!;
    if (!isShared(chunk)) return chunk;
    const own = chunk === FULL_CHUNK ? chunk.copy(CHUNK_BITS) : new BitChunk(this.#chunkLength(index));
    this.chunks[index] = own;
    return own;
  }

  #replace(index: number, chunk: BitChunk): void {
    this.#count += chunk.count - this.chunks[index]!.count;
    this.chunks[index] = chunk;
  }
}

function isShared(chunk: BitChunk): boolean {
  return chunk === EMPTY_CHUNK || chunk === FULL_CHUNK;
}

/** How many words of 32 bits hold `bits` bits in whole units of 64. */
function wordsOf(bits: number): number {
  return ((bits + 63) >>> 6) << 1;
}

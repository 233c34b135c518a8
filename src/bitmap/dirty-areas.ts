// The dirty areas of a hierarchical bitmap one after another.

import { type BitChunk, CHUNK_BITS, LAST_WORD } from "./bit-chunk.ts";
import type { ChunkedBits } from "./chunked-bits.ts";
import { WORD_BITS } from "./words.ts";

/**
 * A cursor over the runs of dirty bytes in a range:
 *
 *     for (const areas = bitmap.areas(); areas.next(); ) copy(areas.offset, areas.length);
 *
 * A live view: what changes behind the area last found is seen. If the bitmap is truncated meanwhile, an area may reach to the
 * end of the last group. Between one call and the next only integers are handed on,
 * which saves a third of the time that a `nextDirtyArea` from where the last one ended takes.
 */
export class DirtyAreas {
  /** The area that `next` found, in bytes. */
  offset = 0;
  length = 0;
  readonly #bits: ChunkedBits;
  readonly #chunks: readonly BitChunk[];
  readonly #granularity: number;
  readonly #start: number;
  readonly #end: number;
  /** The last chunk of the range, and its last word in it. */
  readonly #lastIndex: number;
  readonly #lastWord: number;
  /** From which bit on to look. */
  #index: number;
  #at: number;

  /** Made by `HierarchicalBitmap.areas`. */
  constructor(bits: ChunkedBits, granularity: number, start: number, end: number) {
    const first = Math.floor(start / granularity);
    const last = Math.ceil(end / granularity) - 1;
    this.#bits = bits;
    this.#chunks = bits.chunks;
    this.#granularity = granularity;
    this.#start = start;
    this.#end = end;
    this.#lastIndex = start < end ? Math.floor(last / CHUNK_BITS) : -1;
    this.#lastWord = Math.floor((last % CHUNK_BITS) / WORD_BITS);
    this.#index = Math.floor(first / CHUNK_BITS);
    this.#at = first % CHUNK_BITS;
  }

  /** Moves to the next area; false if there is none. */
  next(): boolean {
    const chunks = this.#chunks;
    const lastIndex = Math.min(this.#lastIndex, chunks.length - 1);
    let index = this.#index;
    if (index > lastIndex) return false;
    let bit = chunks[index]!.nextSet(this.#at);
    if (bit < 0) {
      index = this.#bits.nextUsedChunk(index + 1, lastIndex);
      if (index < 0) return this.#finish();
      bit = chunks[index]!.nextSet(0);
    }
    const offset = Math.max((index * CHUNK_BITS + bit) * this.#granularity, this.#start);
    const end = Math.min(this.#end, this.#bits.length * this.#granularity);
    if (offset >= end) return this.#finish();
    this.offset = offset;
    bit = chunks[index]!.nextClear(bit, index < this.#lastIndex ? LAST_WORD : this.#lastWord);
    if (bit < 0) return this.#endFurther(index, lastIndex, end);
    this.length = Math.min((index * CHUNK_BITS + bit) * this.#granularity, end) - offset;
    this.#index = index;
    this.#at = bit;
    return true;
  }

  /** The area reaches to the end of chunk `index` at least. */
  #endFurther(index: number, lastIndex: number, end: number): boolean {
    const next = this.#bits.nextUnfilledChunk(index + 1, lastIndex);
    const bit = next < 0 ? -1 : this.#chunks[next]!.nextClear(0, next < this.#lastIndex ? LAST_WORD : this.#lastWord);
    if (bit < 0) {
      this.#finish();
      this.length = end - this.offset;
    } else {
      this.#index = next;
      this.#at = bit;
      this.length = Math.min((next * CHUNK_BITS + bit) * this.#granularity, end) - this.offset;
    }
    return true;
  }

  #finish(): boolean {
    this.#index = this.#lastIndex + 1;
    return false;
  }
}

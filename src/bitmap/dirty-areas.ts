// The dirty areas of a hierarchical bitmap one after another.

import { CHUNK_BITS } from "./bit-chunk.ts";
import type { ChunkedBits } from "./chunked-bits.ts";

/**
 * A cursor over the runs of dirty bytes in a range:
 *
 *     for (const areas = bitmap.areas(); areas.next(); ) copy(areas.offset, areas.length);
 *
 * A live view: what changes behind the area last found is seen. If the bitmap is truncated meanwhile, an area may reach to the
 * end of the last group. Between one call and the next only integers are handed on,
 * which makes it twice as fast as a `nextDirtyArea` from where the last one ended (16 Mi bits, 1 % of them set).
 */
export class DirtyAreas {
  /** The area that `next` found, in bytes. */
  offset = 0;
  length = 0;
  readonly #bits: ChunkedBits;
  readonly #granularity: number;
  readonly #start: number;
  readonly #end: number;
  /** The last bit of the range. */
  readonly #lastIndex: number;
  readonly #last: number;
  /** From which bit on to look. */
  #index: number;
  #at: number;

  /** Made by `HierarchicalBitmap.areas`. */
  constructor(bits: ChunkedBits, granularity: number, start: number, end: number) {
    const first = Math.floor(start / granularity);
    const last = Math.ceil(end / granularity) - 1;
    this.#bits = bits;
    this.#granularity = granularity;
    this.#start = start;
    this.#end = end;
    this.#lastIndex = start < end ? Math.floor(last / CHUNK_BITS) : -1;
    this.#last = last % CHUNK_BITS;
    this.#index = Math.floor(first / CHUNK_BITS);
    this.#at = first % CHUNK_BITS;
  }

  /** Moves to the next area; false if there is none. */
  next(): boolean {
    const bits = this.#bits;
    const lastIndex = Math.min(this.#lastIndex, bits.chunks.length - 1);
    if (this.#index > lastIndex) return false;
    const first = bits.seekSet(this.#index, this.#at, lastIndex);
    const offset = Math.max((bits.found * CHUNK_BITS + first) * this.#granularity, this.#start);
    if (first < 0 || offset >= this.#end) {
      this.#index = lastIndex + 1;
      return false;
    }
    const clear = bits.seekClear(bits.found, first, lastIndex, this.#last);
    this.#index = clear < 0 ? lastIndex + 1 : bits.found;
    this.#at = clear;
    const next = clear < 0 ? this.#end : (bits.found * CHUNK_BITS + clear) * this.#granularity;
    this.offset = offset;
    this.length = Math.min(next, this.#end) - offset;
    return true;
  }
}

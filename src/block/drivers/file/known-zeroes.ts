// What a file driver knows to read as zeroes: the holes that the file had when it was opened, and what it made itself.

import { assert } from "../../../base/assert.ts";
import { HierarchicalBitmap } from "../../../bitmap/hierarchical-bitmap.ts";

/** The block of most file systems: the size in which holes come. */
const MIN_GRANULE_BYTES = 4096;
/** 2 MiB of bits, for images of 64 GiB and more; the granule grows with the image instead. */
const MAX_GRANULES = 2 ** 24;

/**
 * The granules of an image that are known to read as zeroes. Knowing too little is always right: a granule counts only
 * when all of it is zero, and stops counting when any of it is written.
 */
export class KnownZeroes {
  /** Something is known. A field for the write path to look at. */
  any = false;
  #lengthBytes: number;
  /** Dirty is zero. Made when there is something to remember. */
  #zeroes: HierarchicalBitmap | undefined;

  /** Nothing is known of an image of `lengthBytes`. */
  constructor(lengthBytes: number) {
    this.#lengthBytes = lengthBytes;
  }

  /** The image's. */
  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Nothing is known any more. */
  forget(): void {
    this.#zeroes = undefined;
    this.any = false;
  }

  /** The range reads as zeroes now. */
  add(start: number, length: number): void {
    this.#zeroes ??= new HierarchicalBitmap(this.#lengthBytes, granuleBytesFor(this.#lengthBytes));
    addWhole(this.#zeroes, start, start + length);
    this.any = this.#zeroes.countBytes > 0;
  }

  /** The range is written. */
  remove(start: number, length: number): void {
    if (this.#zeroes === undefined || length === 0) return;
    const granule = this.#zeroes.granularityBytes;
    const first = Math.floor(start / granule) * granule;
    const end = Math.min(Math.ceil((start + length) / granule) * granule, this.#lengthBytes);
    this.#zeroes.reset(first, end - first);
    this.any = this.#zeroes.countBytes > 0;
  }

  /** True if all of the range is known to be zero. */
  covers(start: number, length: number): boolean {
    return this.nextUnknown(start, length) < 0;
  }

  /** Offset of the first byte of the range that is not known to be zero, or -1. */
  nextUnknown(start: number, length: number): number {
    if (length === 0) return -1;
    return this.#zeroes === undefined ? start : this.#zeroes.nextZero(start, length);
  }

  /** Offset of the first byte of the range that is known to be zero, or -1. */
  nextZero(start: number, length: number): number {
    return this.#zeroes === undefined ? -1 : this.#zeroes.nextDirty(start, length);
  }

  /** The image has another length now. What it grew by reads as zeroes. */
  resize(lengthBytes: number): void {
    const oldLength = this.#lengthBytes;
    this.#lengthBytes = lengthBytes;
    const granule = granuleBytesFor(lengthBytes);
    if (this.#zeroes !== undefined) {
      if (granule === this.#zeroes.granularityBytes) this.#zeroes.truncate(lengthBytes);
      else this.#zeroes = regrained(this.#zeroes, lengthBytes, granule);
      this.any = this.#zeroes.countBytes > 0;
    }
    if (lengthBytes > oldLength) this.add(oldLength, lengthBytes - oldLength);
  }
}

/** Marks the granules that lie in the range as a whole. The last one of the image may be cut off. */
function addWhole(zeroes: HierarchicalBitmap, start: number, end: number): void {
  const granule = zeroes.granularityBytes;
  const first = Math.ceil(start / granule) * granule;
  const last = end === zeroes.sizeBytes ? end : Math.floor(end / granule) * granule;
  if (last > first) zeroes.set(first, last - first);
}

/** The same knowledge for another length in another granule. */
function regrained(old: HierarchicalBitmap, lengthBytes: number, granuleBytes: number): HierarchicalBitmap {
  const result = new HierarchicalBitmap(lengthBytes, granuleBytes);
  const end = Math.min(old.sizeBytes, lengthBytes);
  for (let start = old.nextDirty(0, end); start >= 0; ) {
    const stop = old.nextZero(start, end - start);
    addWhole(result, start, stop < 0 ? end : stop);
    start = stop < 0 ? -1 : old.nextDirty(stop, end - stop);
  }
  return result;
}

function granuleBytesFor(lengthBytes: number): number {
  assert(lengthBytes >= 0, "known zeroes: negative length");
  let granule = MIN_GRANULE_BYTES;
  while (lengthBytes / granule > MAX_GRANULES) granule *= 2;
  return granule;
}

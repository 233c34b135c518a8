// Hands out guest RAM: first fit over sorted free ranges, so that the same calls always give the same addresses.

import { assert } from "../src/base/assert.ts";
import { GuestOutOfMemoryError } from "./errors.ts";

/** Sizes are rounded up to this, which is also the least alignment: that of a descriptor table, §2.7. */
const GRANULE_BYTES = 16;

/**
 * Guest-physical ranges of [baseAddress, baseAddress + sizeBytes), given out and taken back. It holds addresses only and never
 * touches RAM: what a range contains is the business of who has it.
 */
export class GuestAllocator {
  /** First address that can be given out; rounded up to 16. */
  readonly baseAddress: number;
  /** Bytes that can be given out in all; rounded down to 16. */
  readonly sizeBytes: number;
  // Free ranges, ascending, never empty and never touching one another.
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #allocated = new Map<number, number>();
  #freeBytes = 0;

  constructor(baseAddress: number, sizeBytes: number) {
    assert(Number.isSafeInteger(baseAddress) && baseAddress >= 0, "allocator: base is no address");
    assert(Number.isSafeInteger(baseAddress + sizeBytes) && sizeBytes >= 0, "allocator: size is no length");
    this.baseAddress = roundUp(baseAddress, GRANULE_BYTES);
    const end = Math.floor((baseAddress + sizeBytes) / GRANULE_BYTES) * GRANULE_BYTES;
    this.sizeBytes = Math.max(0, end - this.baseAddress);
    this.reset();
  }

  /** Bytes that are free, all ranges together. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Ranges that are given out. */
  get allocatedCount(): number {
    return this.#allocated.size;
  }

  /**
   * The address of `sizeBytes` bytes, aligned to `alignment` (a power of two): the lowest that fits. Throws a
   * `GuestOutOfMemoryError` when none does.
   */
  allocate(sizeBytes: number, alignment: number = GRANULE_BYTES): number {
    const address = this.tryAllocate(sizeBytes, alignment);
    if (address < 0) throw new GuestOutOfMemoryError(sizeBytes, alignment, this.#freeBytes);
    return address;
  }

  /** As `allocate`, but -1 when nothing fits. */
  tryAllocate(sizeBytes: number, alignment: number = GRANULE_BYTES): number {
    assert(Number.isSafeInteger(sizeBytes) && sizeBytes > 0, "allocate: size is no positive integer");
    assert(alignment === GRANULE_BYTES || isPowerOfTwo(alignment), "allocate: alignment is no power of two");
    const size = roundUp(sizeBytes, GRANULE_BYTES);
    const align = Math.max(alignment, GRANULE_BYTES);
    for (let i = 0; i < this.#starts.length; i++) {
      const address = roundUp(this.#starts[i]!, align);
      if (address + size > this.#ends[i]!) continue;
      this.#cut(i, address, address + size);
      this.#allocated.set(address, size);
      this.#freeBytes -= size;
      return address;
    }
    return -1;
  }

  /** Takes back what `allocate` gave. Throws an `Error` for an address that is not given out, such as one freed twice. */
  free(address: number): void {
    const size = this.#allocated.get(address);
    if (size === undefined) throw new Error(`guest address 0x${address.toString(16)} is not allocated: freed twice?`);
    this.#allocated.delete(address);
    this.#freeBytes += size;
    this.#insert(address, address + size);
  }

  /** Takes everything back at once. */
  reset(): void {
    this.#allocated.clear();
    this.#starts.length = 0;
    this.#ends.length = 0;
    this.#freeBytes = this.sizeBytes;
    if (this.sizeBytes > 0) this.#insert(this.baseAddress, this.baseAddress + this.sizeBytes);
  }

  /** Takes [from, to) out of free range `i`. */
  #cut(i: number, from: number, to: number): void {
    const start = this.#starts[i]!;
    const end = this.#ends[i]!;
    if (from === start && to === end) {
      this.#starts.splice(i, 1);
      this.#ends.splice(i, 1);
    } else if (from === start) {
      this.#starts[i] = to;
    } else {
      this.#ends[i] = from;
      if (to < end) {
        this.#starts.splice(i + 1, 0, to);
        this.#ends.splice(i + 1, 0, end);
      }
    }
  }

  /** Adds [from, to) to the free ranges, joined with its neighbours. */
  #insert(from: number, to: number): void {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! < from) low = middle + 1;
      else high = middle;
    }
    const joinsPrevious = low > 0 && this.#ends[low - 1] === from;
    const joinsNext = this.#starts[low] === to;
    if (joinsPrevious && joinsNext) {
      this.#ends[low - 1] = this.#ends[low]!;
      this.#starts.splice(low, 1);
      this.#ends.splice(low, 1);
    } else if (joinsPrevious) {
      this.#ends[low - 1] = to;
    } else if (joinsNext) {
      this.#starts[low] = from;
    } else {
      this.#starts.splice(low, 0, from);
      this.#ends.splice(low, 0, to);
    }
  }
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value)) && value >= 1;
}

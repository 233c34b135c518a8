// The naive twin of a hierarchical bitmap: one byte a bit, and the sentences of docs/reference/bitmaps.md §1.2 as loops.

export class FlatBitmap {
  size: number;
  readonly granularity: number;
  bits: Uint8Array;

  constructor(size: number, granularity: number) {
    this.size = size;
    this.granularity = granularity;
    this.bits = new Uint8Array(Math.ceil(size / granularity));
  }

  clone(): FlatBitmap {
    const clone = new FlatBitmap(this.size, this.granularity);
    clone.bits.set(this.bits);
    return clone;
  }

  bitOf(item: number): number {
    return Math.floor(item / this.granularity);
  }

  get countBytes(): number {
    let count = 0;
    for (const bit of this.bits) count += bit;
    return count * this.granularity;
  }

  set(start: number, length: number): void {
    if (length > 0) this.bits.fill(1, this.bitOf(start), this.bitOf(start + length - 1) + 1);
  }

  reset(start: number, length: number): void {
    if (length > 0) this.bits.fill(0, this.bitOf(start), this.bitOf(start + length - 1) + 1);
  }

  get(item: number): boolean {
    return this.bits[this.bitOf(item)] === 1;
  }

  /** The first item from `start` on in the range, cut off at the size, whose bit is `value`; or -1. */
  next(value: 0 | 1, start: number, length: number): number {
    const end = Math.min(start + length, this.size);
    if (start >= end) return -1;
    const bit = this.bits.indexOf(value, this.bitOf(start));
    if (bit < 0) return -1;
    const item = Math.max(bit * this.granularity, start);
    return item < end ? item : -1;
  }

  nextArea(start: number, end: number, max: number): { offset: number; length: number } | undefined {
    const stop = Math.min(end, this.size);
    const offset = this.next(1, start, stop - start);
    if (offset < 0) return undefined;
    const limit = Math.min(stop, offset + max);
    const zero = this.next(0, offset, limit - offset);
    return { offset, length: (zero < 0 ? limit : zero) - offset };
  }

  areas(start: number, end: number): { offset: number; length: number }[] {
    const areas: { offset: number; length: number }[] = [];
    for (let at = start; at < end; ) {
      const area = this.nextArea(at, end, Number.POSITIVE_INFINITY);
      if (area === undefined) break;
      areas.push(area);
      at = area.offset + area.length;
    }
    return areas;
  }

  merge(other: FlatBitmap): void {
    for (let bit = other.bits.indexOf(1); bit >= 0; bit = other.bits.indexOf(1, bit + 1)) {
      const start = bit * other.granularity;
      this.set(start, Math.min(other.granularity, this.size - start));
    }
  }

  truncate(size: number): void {
    const bits = new Uint8Array(Math.ceil(size / this.granularity));
    bits.set(this.bits.subarray(0, bits.length));
    this.bits = bits;
    this.size = size;
  }

  /** Bit i at bit i % 8 of byte i / 8, in whole units of eight bytes, one at least if `padded`. */
  packed(padded = false): Uint8Array {
    const bytes = new Uint8Array(Math.max(Math.ceil(this.bits.length / 64), padded ? 1 : 0) * 8);
    this.bits.forEach((bit, i) => {
      bytes[i >> 3]! |= bit << (i & 7);
    });
    return bytes;
  }
}

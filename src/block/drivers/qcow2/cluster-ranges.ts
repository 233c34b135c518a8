// Places in a file that stay what they are while an image is open, such as the tables of its snapshots.

/** Half-open ranges, looked through in logarithmic time. */
export class ClusterRanges {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  constructor(ranges: readonly { readonly offsetBytes: number; readonly lengthBytes: number }[]) {
    const sorted = ranges.filter(({ lengthBytes }) => lengthBytes > 0).sort((a, b) => a.offsetBytes - b.offsetBytes);
    for (const { offsetBytes, lengthBytes } of sorted) {
      const last = this.#ends.length - 1;
      const end = offsetBytes + lengthBytes;
      if (last >= 0 && offsetBytes <= this.#ends[last]!) this.#ends[last] = Math.max(this.#ends[last]!, end);
      else {
        this.#starts.push(offsetBytes);
        this.#ends.push(end);
      }
    }
  }

  /** True if some range has a byte from `start` up to `end`. */
  overlaps(start: number, end: number): boolean {
    let [low, high] = [0, this.#ends.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle]! > start) high = middle;
      else low = middle + 1;
    }
    return low < this.#starts.length && this.#starts[low]! < end;
  }
}

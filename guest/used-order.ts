// VIRTIO_F_IN_ORDER at the driver's end: one used entry may stand for all buffers up to the one that it names. VIRTIO 1.4 §2.7.9, §2.8.8.

const NONE = -1;

/**
 * The chains that were made available, in that order. `begin` takes the used entry's word for how far the device has come, `next`
 * gives the chains up to there one after another.
 */
export class UsedOrder {
  readonly #tokens: Uint16Array;
  /** Where the oldest chain stands, and how many there are. */
  #first = 0;
  #count = 0;
  #last = NONE;

  /** `size`: chains at a time, at most. */
  constructor(size: number) {
    this.#tokens = new Uint16Array(size);
  }

  /** True while `next` has chains to give. */
  get inBatch(): boolean {
    return this.#last !== NONE;
  }

  add(token: number): void {
    this.#tokens[(this.#first + this.#count) % this.#tokens.length] = token;
    this.#count++;
  }

  /** The used entry names `last`. Returns how many chains that makes, or 0 when it is not among the oldest `limit`. */
  begin(last: number, limit: number): number {
    const among = Math.min(limit, this.#count);
    for (let i = 0; i < among; i++) {
      if (this.#tokens[(this.#first + i) % this.#tokens.length] !== last) continue;
      this.#last = last;
      return i + 1;
    }
    return 0;
  }

  /** The next chain of the batch; `inBatch` is false after the one that the used entry named. */
  next(): number {
    const token = this.#tokens[this.#first]!;
    this.#first = (this.#first + 1) % this.#tokens.length;
    this.#count--;
    if (token === this.#last) this.#last = NONE;
    return token;
  }
}

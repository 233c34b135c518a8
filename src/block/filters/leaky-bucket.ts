// A leaky bucket: how much has passed of one quantity, and how long the next must wait. QEMU's docs/throttle.txt.

/** The share of a second that passes at once where no burst is allowed. */
const SLICE_SECONDS = 0.1;

/**
 * What has passed fills the bucket, which leaks `average` units a second. As long as it is not full the next may pass, and may
 * overfill it: then it waits until that has leaked away. Without bursts it holds what leaks in 100 ms. With bursts it holds `max`
 * for `lengthSeconds`; if that is more than a second, a second bucket that leaks at `max` keeps them from coming all at once.
 */
export class LeakyBucket {
  readonly #average: number;
  readonly #max: number;
  readonly #lengthSeconds: number;
  #level = 0;
  #burstLevel = 0;

  /** Units a second; an `average` of 0 limits nothing. */
  constructor(average: number, max: number, lengthSeconds: number) {
    this.#average = average;
    this.#max = max;
    this.#lengthSeconds = lengthSeconds;
  }

  get limits(): boolean {
    return this.#average > 0;
  }

  leak(seconds: number): void {
    this.#level = Math.max(0, this.#level - this.#average * seconds);
    if (this.#lengthSeconds > 1) this.#burstLevel = Math.max(0, this.#burstLevel - this.#max * seconds);
  }

  add(units: number): void {
    this.#level += units;
    if (this.#lengthSeconds > 1) this.#burstLevel += units;
  }

  /** Seconds until something may pass; 0 for now. */
  get wait(): number {
    if (this.#average === 0) return 0;
    const size = this.#max === 0 ? this.#average * SLICE_SECONDS : this.#max * this.#lengthSeconds;
    const extra = this.#level - size;
    if (extra > 0) return extra / this.#average;
    if (this.#lengthSeconds <= 1) return 0;
    return Math.max(0, this.#burstLevel - this.#max * SLICE_SECONDS) / this.#max;
  }
}

// A limit of bytes per second, in slices of time: docs/reference/backup.md §1.8, corrections.md B7.

import type { Clock } from "./clock.ts";

const SLICE_MS = 100;
const SLICES_PER_SECOND = 1000 / SLICE_MS;

/**
 * A request may begin while less than a slice's share was begun in the slice; then all of it counts, and the slice is stretched
 * until the share fits what was begun. So a request larger than the share goes at once, and the one after it waits the longer.
 */
export class RateLimit {
  readonly #clock: Clock;
  #bytesPerSecond = 0;
  #shareBytes = 0;
  #startMs = 0;
  #endMs = Number.NEGATIVE_INFINITY;
  #chargedBytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** 0 is no limit. What was charged before stays charged, at the new rate. */
  set bytesPerSecond(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#shareBytes = Math.max(bytesPerSecond / SLICES_PER_SECOND, 1);
  }

  /** How long the next request has to wait; 0 when it may begin. To be asked again after the wait. */
  delayMs(): number {
    if (this.#bytesPerSecond === 0) return 0;
    const nowMs = this.#clock.nowMs();
    if (this.#endMs < nowMs) this.#beginSlice(nowMs);
    if (this.#chargedBytes < this.#shareBytes) return 0;
    this.#endMs = this.#startMs + (this.#chargedBytes / this.#shareBytes) * SLICE_MS;
    return Math.max(this.#endMs - nowMs, 0);
  }

  /** A request begins, whether it has waited or not. */
  charge(bytes: number): void {
    if (this.#bytesPerSecond === 0) return;
    const nowMs = this.#clock.nowMs();
    if (this.#endMs < nowMs) this.#beginSlice(nowMs);
    this.#chargedBytes += bytes;
  }

  #beginSlice(nowMs: number): void {
    this.#startMs = nowMs;
    this.#endMs = nowMs + SLICE_MS;
    this.#chargedBytes = 0;
  }
}

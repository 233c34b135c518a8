// Gives up tables of a qcow2 image that nobody has used for a while: QMP's `cache-clean-interval`.

import type { Clock } from "../../../base/clock.ts";
import type { TableCache } from "./table-cache.ts";

/** No timer of the platform goes further. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Looks through the caches each interval. What is used at least once in each stays. */
export class CacheCleaner {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #caches: readonly TableCache[];
  #takeBack: (() => void) | undefined;

  /** An interval of 0: never. */
  constructor(options: { clock: Clock; intervalMs: number; caches: readonly TableCache[] }) {
    this.#clock = options.clock;
    this.#intervalMs = options.intervalMs;
    this.#caches = options.caches;
    if (this.#intervalMs > 0) this.#wait(this.#intervalMs);
  }

  stop(): void {
    this.#takeBack?.();
    this.#takeBack = undefined;
  }

  #wait(leftMs: number): void {
    const delayMs = Math.min(leftMs, MAX_TIMER_MS);
    const tick = (): void => {
      if (delayMs < leftMs) return this.#wait(leftMs - delayMs);
      for (const cache of this.#caches) cache.giveUpUnused();
      this.#wait(this.#intervalMs);
    };
    this.#takeBack = this.#clock.setTimer(delayMs, tick, { background: true });
  }
}

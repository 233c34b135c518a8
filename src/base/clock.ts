// Time and the turn of the event loop, injected so that a run with a seed repeats exactly.

import { platform } from "#platform";

export interface Clock {
  /** Milliseconds since some moment, never going back. */
  nowMs(): number;
  /**
   * Calls `callback` once, `delayMs` from now; the function returned takes that back. `background`: the program need not stay alive for
   * its sake.
   */
  setTimer(delayMs: number, callback: () => void, options?: { readonly background?: boolean }): () => void;
  /** Resolves after timers, sockets, signals and other guests have had their turn. */
  yield(): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: () => platform.monotonicMs(),
  setTimer(delayMs, callback, { background = false } = {}) {
    const timer = setTimeout(callback, delayMs);
    // A browser's timer is a number, and keeps nothing alive.
    if (background) (timer as { unref?(): void }).unref?.();
    return () => clearTimeout(timer);
  },
  yield: () => platform.yieldToEventLoop(),
};

const MAX_STEPS = 64;
const MAX_TIME_MS = 1;

/**
 * Fairness of a loop whose steps may all complete at once: `step()` once a round, and yield when it says so, which is
 * after 64 rounds or one millisecond.
 *
 *     if (pacer.step()) await pacer.yield();
 */
export class Pacer {
  readonly #clock: Clock;
  #steps = 0;
  #sinceMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.nowMs();
  }

  /** Counts one round; true when it is others' turn. */
  step(): boolean {
    this.#steps++;
    return this.#steps >= MAX_STEPS || this.#clock.nowMs() - this.#sinceMs >= MAX_TIME_MS;
  }

  async yield(): Promise<void> {
    await this.#clock.yield();
    this.#steps = 0;
    this.#sinceMs = this.#clock.nowMs();
  }
}

// Waiting for a while, or until somebody says otherwise.

import type { Clock } from "./clock.ts";

/** A timer's longest wait: browsers and Node take a longer one for none at all. Who sleeps looks anew after it. */
const MAX_SLEEP_MS = 24 * 3600 * 1000;

/** One sleeper at a time. */
export class InterruptibleSleep {
  readonly #clock: Clock;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Somebody sleeps. */
  get sleeping(): boolean {
    return this.#wake !== undefined;
  }

  /** Resolves at `wake`, or after `delayMs` if given, or after a day if that is sooner. */
  sleep(delayMs?: number): Promise<void> {
    return new Promise((resolve) => {
      const cancelTimer =
        delayMs === undefined ? undefined : this.#clock.setTimer(Math.min(delayMs, MAX_SLEEP_MS), () => this.wake());
      this.#wake = () => {
        this.#wake = undefined;
        cancelTimer?.();
        resolve();
      };
    });
  }

  wake(): void {
    this.#wake?.();
  }
}

// The clock beside requests that a device has: it ticks while there are any, so that a silent device does not go unnoticed.

import type { Clock } from "../src/base/clock.ts";

const MAX_TICK_MS = 1000;
const TICKS_PER_TIMEOUT = 4;

/**
 * Calls `onTick` about once a second from `start` to `stop`. A request submitted at tick n has had its full time when the tick
 * is past n + `ticksAllowed`.
 */
export class Watchdog {
  /** Whole ticks that a request may take; Infinity when it may take for ever. */
  readonly ticksAllowed: number;
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #onTick: () => void;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, timeoutMs: number, onTick: () => void) {
    this.#clock = clock;
    this.#onTick = onTick;
    this.#tickMs = Math.min(MAX_TICK_MS, timeoutMs / TICKS_PER_TIMEOUT);
    this.ticksAllowed = Math.ceil(timeoutMs / this.#tickMs);
  }

  start(): void {
    this.#cancel ??= this.#clock.setTimer(this.#tickMs, () => {
      this.#cancel = undefined;
      this.#onTick();
    });
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}

// The time that a qtest client makes pass: it stands still until somebody steps it. docs/reference/monitor.md §7.

import type { Clock } from "../../src/base/clock.ts";

interface Timer {
  readonly deadlineNs: bigint;
  readonly callback: () => void;
}

const NS_PER_MS = 1e6;
const MAX_NS = (1n << 63n) - 1n;

/** Begins at 0. Whose turn of the event loop it is, is real: `yield` is that of another clock. */
export class VirtualClock implements Clock {
  readonly #real: Clock;
  /** By deadline; of several at one moment the first that was set comes first. */
  readonly #timers: Timer[] = [];
  #nowNs = 0n;

  constructor(real: Clock) {
    this.#real = real;
  }

  get nowNs(): bigint {
    return this.#nowNs;
  }

  nowMs(): number {
    return Number(this.#nowNs) / NS_PER_MS;
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const delayNs = BigInt(Math.ceil(Math.max(0, delayMs) * NS_PER_MS));
    const timer: Timer = { deadlineNs: this.#nowNs + delayNs, callback };
    const later = this.#timers.findIndex(({ deadlineNs }) => deadlineNs > timer.deadlineNs);
    this.#timers.splice(later < 0 ? this.#timers.length : later, 0, timer);
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  yield(): Promise<void> {
    return this.#real.yield();
  }

  /** When the next timer is due; undefined when there is none. */
  get nextDeadlineNs(): bigint | undefined {
    return this.#timers[0]?.deadlineNs;
  }

  /** Lets time pass until `ns`, and calls each timer at its own time. A moment that has passed, or that no one will live to, does nothing. */
  advanceTo(ns: bigint): void {
    if (ns > MAX_NS) return;
    for (let next = this.#timers[0]; next !== undefined && next.deadlineNs <= ns; next = this.#timers[0]) {
      this.#timers.shift();
      if (next.deadlineNs > this.#nowNs) this.#nowNs = next.deadlineNs;
      next.callback();
    }
    if (ns > this.#nowNs) this.#nowNs = ns;
  }
}

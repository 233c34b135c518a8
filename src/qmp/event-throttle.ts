// Events that come at most once in a while: the first at once, and of those that follow within the period only the last, at its end.

import type { Clock } from "../base/clock.ts";
import type { QmpEvent } from "./events.ts";

/** How often an event may come, counted apart for each `key`: a device, a node. */
export interface ThrottleRule<T> {
  readonly periodMs: number;
  key(data: T): string;
}

interface Period {
  /** What is to be said at the end of the period. */
  last: QmpEvent | undefined;
  readonly cancel: () => void;
}

export class EventThrottle {
  readonly #clock: Clock;
  readonly #deliver: (event: QmpEvent) => void;
  readonly #periods = new Map<string, Period>();

  constructor(clock: Clock, deliver: (event: QmpEvent) => void) {
    this.#clock = clock;
    this.#deliver = deliver;
  }

  /** Delivers the event, now or at the end of the period that runs. */
  add(event: QmpEvent, periodMs: number, key: string): void {
    const name = `${event.event} ${key}`;
    const running = this.#periods.get(name);
    if (running !== undefined) {
      running.last = event;
      return;
    }
    this.#begin(name, periodMs);
    this.#deliver(event);
  }

  /** Forgets what was still to be delivered. */
  close(): void {
    for (const { cancel } of this.#periods.values()) cancel();
    this.#periods.clear();
  }

  #begin(name: string, periodMs: number): void {
    const cancel = this.#clock.setTimer(periodMs, () => {
      const last = this.#periods.get(name)?.last;
      this.#periods.delete(name);
      if (last === undefined) return;
      this.#begin(name, periodMs);
      this.#deliver(last);
    });
    this.#periods.set(name, { last: undefined, cancel });
  }
}

// Simulated time and chance: everything that happens later happens in an order that a seed decides, and a hang is an error.

import type { Clock } from "../../src/base/clock.ts";

/** Numbers that look random and follow from a seed. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 to 1, 1 excluded. (mulberry32) */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** An integer from 0 to `limit - 1`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }
}

interface SimulatedEvent {
  readonly atMs: number;
  /** Decides between events of the same moment. */
  readonly lot: number;
  readonly happen: () => void;
}

/**
 * A clock that stands still until `run` moves it to the next event. Events of one moment happen in random order; between two
 * events all that follows from the first one has happened.
 */
export class Simulation implements Clock {
  readonly random: Random;
  readonly #events: SimulatedEvent[] = [];
  readonly #maxEvents: number;
  #nowMs = 0;
  #happened = 0;
  #order = 0;

  constructor(seed: number, maxEvents = 100_000) {
    this.random = new Random(seed);
    this.#maxEvents = maxEvents;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const event = { atMs: this.#nowMs + delayMs, lot: this.random.next(), happen: callback };
    this.#events.push(event);
    return () => {
      const index = this.#events.indexOf(event);
      if (index >= 0) this.#events.splice(index, 1);
    };
  }

  yield(): Promise<void> {
    return this.after(0);
  }

  /** Resolves `delayMs` from now. */
  after(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.setTimer(delayMs, resolve);
    });
  }

  /** Larger with every call: which of two things of different places was first. */
  order(): number {
    return ++this.#order;
  }

  /** Lets time pass until `outcome` is there. An `Error` if nothing is left that could bring it, or it takes too many events. */
  async run<T>(outcome: Promise<T>): Promise<T> {
    let settled = false;
    const note = (): void => {
      settled = true;
    };
    outcome.then(note, note);
    for (;;) {
      await settle();
      if (settled) return outcome;
      this.#step();
    }
  }

  #step(): void {
    const event = this.#takeNext();
    if (event === undefined) throw new Error(`simulation: hangs at ${this.#nowMs} ms after ${this.#happened} events`);
    if (++this.#happened > this.#maxEvents) throw new Error(`simulation: no end after ${this.#maxEvents} events`);
    this.#nowMs = event.atMs;
    event.happen();
  }

  #takeNext(): SimulatedEvent | undefined {
    let next: SimulatedEvent | undefined;
    for (const event of this.#events)
      if (next === undefined || event.atMs < next.atMs || (event.atMs === next.atMs && event.lot < next.lot))
        next = event;
    if (next !== undefined) this.#events.splice(this.#events.indexOf(next), 1);
    return next;
  }
}

/** Resolves when every promise that can be settled without an event is settled. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

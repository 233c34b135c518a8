// Fairness of the script API: which request still belongs to this turn of the event loop, and which waits for the next.

import { type Clock, Pacer } from "../src/base/clock.ts";

/**
 * Asked once before every request. A device that completes everything at once never makes its guest wait, so the guest itself
 * lets others have their turn after 64 requests or one millisecond: whatever a script awaits, timers, sockets, signals and
 * jobs go on.
 */
export class SubmissionTurn {
  readonly #pacer: Pacer;
  #yielding: Promise<void> | undefined;
  #justYielded = false;

  constructor(clock: Clock) {
    this.#pacer = new Pacer(clock);
  }

  /** `undefined` when one more request may go now; else the promise to wait for before asking again. */
  next(): Promise<void> | undefined {
    if (this.#yielding !== undefined) return this.#yielding;
    const over = this.#pacer.step();
    // The first after a pause goes whatever the clock says, so that a slow one makes progress too.
    if (!over || this.#justYielded) {
      this.#justYielded = false;
      return undefined;
    }
    this.#yielding = this.#yield();
    return this.#yielding;
  }

  async #yield(): Promise<void> {
    await this.#pacer.yield();
    this.#yielding = undefined;
    this.#justYielded = true;
  }
}

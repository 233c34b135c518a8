// Interrupt lines on their way into a device, told to a qtest client: docs/reference/monitor.md §7.

import { assert } from "../../src/base/assert.ts";
import type { InterruptLine } from "../../src/memory/interrupt-line.ts";

/** A device that interrupt lines go into, or come out of. */
export interface InterceptedPins {
  /** Where the device stands in QOM: `/machine/unattached/device[1]`. */
  readonly path: string;
  /** How many lines can go in, or come out. */
  readonly count: number;
  /** The lines that are there, by the number of their pin. */
  readonly lines: ReadonlyMap<number, InterruptLine>;
}

/** Where interrupts can be listened to. */
export interface InterruptTopology {
  /** The whole path of what is named; paths begin with a slash, and some things have short names. Undefined: nothing is. */
  resolve(name: string): string | undefined;
  /** The unnamed inputs of the device at `path`; undefined where it has none. */
  inputs(path: string): InterceptedPins | undefined;
  /** Its outputs of that name; undefined where it has none. */
  outputs(path: string, name: string | undefined): InterceptedPins | undefined;
}

export type InterceptOutcome = "ok" | "unknown device" | "already enabled";

/**
 * One device at most is intercepted, for good: a later client finds it so. Levels are taken for low until something is heard, at
 * the interception and again when a client comes.
 */
export class InterruptIntercept {
  readonly #topology: InterruptTopology;
  readonly #raised = new Set<number>();
  #path: string | undefined;
  #listener: (pin: number, raised: boolean) => void = () => {};

  constructor(topology: InterruptTopology) {
    this.#topology = topology;
  }

  /** Tells `listener` of changes from now on, and nobody else; levels begin low. */
  tell(listener: (pin: number, raised: boolean) => void): void {
    this.#listener = listener;
    this.#raised.clear();
  }

  interceptIn(name: string): InterceptOutcome {
    return this.#intercept(name, (path) => this.#topology.inputs(path));
  }

  interceptOut(name: string, outputs: string | undefined): InterceptOutcome {
    return this.#intercept(name, (path) => this.#topology.outputs(path, outputs));
  }

  /** Sets an input of a device by hand. False where there is no such input. */
  setInput(path: string, pin: number, raised: boolean): boolean {
    const pins = this.#topology.inputs(path);
    if (pins === undefined || pin >= pins.count) return false;
    if (path === this.#path) this.#hear(pin, raised);
    return true;
  }

  #intercept(name: string, pinsOf: (path: string) => InterceptedPins | undefined): InterceptOutcome {
    const path = this.#topology.resolve(name);
    if (path === undefined) return "unknown device";
    if (this.#path !== undefined) return this.#path === path ? "ok" : "already enabled";
    this.#path = path;
    // A device without such pins is intercepted all the same, and never heard of.
    for (const [pin, line] of pinsOf(path)?.lines ?? []) line.onChange((raised) => this.#hear(pin, raised));
    return "ok";
  }

  #hear(pin: number, raised: boolean): void {
    assert(pin >= 0, "interrupt pin: negative");
    if (this.#raised.has(pin) === raised) return;
    if (raised) this.#raised.add(pin);
    else this.#raised.delete(pin);
    this.#listener(pin, raised);
  }
}

// A user of a node that writes down what it is told, and is quiet when the test says so.

import type { NodeParent } from "../../src/block/drain.ts";

export class RecordingParent implements NodeParent {
  readonly parentName: string;
  readonly log: string[];
  drains = 0;
  #busy: Promise<void> | undefined;
  #becomeQuiet: (() => void) | undefined;

  constructor(log: string[] = [], parentName = "parent") {
    this.log = log;
    this.parentName = parentName;
  }

  /** From now on it has something under way, until `becomeQuiet`. */
  becomeBusy(): void {
    this.#busy = new Promise((resolve) => {
      this.#becomeQuiet = resolve;
    });
  }

  becomeQuiet(): void {
    this.#busy = undefined;
    this.#becomeQuiet?.();
  }

  beginDrain(): void {
    this.drains++;
    this.log.push(`${this.parentName} begin`);
  }

  untilQuiet(): Promise<void> | undefined {
    return this.#busy;
  }

  endDrain(): void {
    if (--this.drains < 0) throw new Error("drained section ended that never began");
    this.log.push(`${this.parentName} end`);
  }

  resized(lengthBytes: number): void {
    this.log.push(`${this.parentName} resized ${lengthBytes}`);
  }
}

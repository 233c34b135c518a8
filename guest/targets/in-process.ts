// A guest target in the same thread as its device: registers and RAM are a call away, the interrupt a listener.

import type { Clock } from "../../src/base/clock.ts";
import type { AccessWidth, MmioRegion } from "../../src/memory/bus.ts";
import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import type { InterruptLine } from "../../src/memory/interrupt-line.ts";
import { checkRegister, cutToWidth, LocalRamTarget } from "./local-ram-target.ts";

/** What an `InProcessTarget` stands on. */
export interface InProcessTargetOptions {
  /** RAM of the guest. */
  readonly memory: GuestMemory;
  /** The register bank of the one device. */
  readonly region: MmioRegion;
  /** The interrupt line of that device. */
  readonly line: InterruptLine;
  /** Time; the system's by default. */
  readonly clock?: Clock;
}

/** A device of this thread. Accesses outside RAM throw a `GuestMemoryError`, those outside the register bank a `RangeError`. */
export class InProcessTarget extends LocalRamTarget {
  readonly #region: MmioRegion;
  readonly #line: InterruptLine;

  constructor(options: InProcessTargetOptions) {
    super(options.memory, options.clock);
    this.#region = options.region;
    this.#line = options.line;
  }

  override readRegister(offset: number, width: AccessWidth = 4): number {
    checkRegister(offset, width, this.#region.size);
    return this.#region.read(offset, width);
  }

  override writeRegister(offset: number, value: number, width: AccessWidth = 4): void {
    checkRegister(offset, width, this.#region.size);
    this.#region.write(offset, width, cutToWidth(value, width));
  }

  override get interruptRaised(): boolean {
    return this.#line.raised;
  }

  override onInterrupt(listener: () => void): () => void {
    return this.#line.onChange((raised) => {
      if (raised) listener();
    });
  }
}

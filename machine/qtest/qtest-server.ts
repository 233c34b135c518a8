// The qtest server of a machine: register-level clients drive its bus, hear its interrupts and make its time pass. docs/reference/monitor.md §7.

import type { Clock } from "../../src/base/clock.ts";
import type { Bus } from "../../src/memory/bus.ts";
import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import type { ByteStream } from "../../src/transport/byte-stream.ts";
import { AddressSpace } from "./address-space.ts";
import { clockCommands } from "./clock-commands.ts";
import { generalCommands } from "./general-commands.ts";
import { interruptCommands } from "./interrupt-commands.ts";
import { InterruptIntercept, type InterruptTopology } from "./interrupt-intercept.ts";
import { memoryCommands } from "./memory-commands.ts";
import { portCommands } from "./port-commands.ts";
import type { QtestCommand } from "./qtest-command.ts";
import { QtestLog } from "./qtest-log.ts";
import { QtestSession } from "./qtest-session.ts";
import type { VirtualClock } from "./virtual-clock.ts";

export interface QtestServerOptions {
  readonly bus: Bus;
  readonly memory: GuestMemory;
  readonly interrupts: InterruptTopology;
  /** What clock_step steps. */
  readonly virtualClock: VirtualClock;
  /** When it is others' turn, and when a line of the log was. */
  readonly clock: Clock;
  /** Takes the log; there is none without. */
  readonly log?: ((text: string) => void) | undefined;
}

/** Serves one client after the other. What one has intercepted stays so. */
export class QtestServer {
  readonly #intercept: InterruptIntercept;
  readonly #commands: ReadonlyMap<string, QtestCommand>;
  readonly #clock: Clock;
  readonly #log: QtestLog | undefined;

  constructor(options: QtestServerOptions) {
    const { bus, memory, interrupts, virtualClock, clock, log } = options;
    this.#intercept = new InterruptIntercept(interrupts);
    this.#clock = clock;
    this.#log = log === undefined ? undefined : new QtestLog(clock, log);
    this.#commands = new Map(
      Object.entries({
        ...generalCommands,
        ...memoryCommands(new AddressSpace({ bus, memory })),
        ...portCommands,
        ...clockCommands(virtualClock),
        ...interruptCommands(this.#intercept, interrupts),
      }),
    );
  }

  /** Answers whoever is at the other end of `stream`, until it is closed. The client before has gone by then. */
  serve(stream: ByteStream): void {
    const session = new QtestSession(stream, { commands: this.#commands, clock: this.#clock, log: this.#log });
    this.#intercept.tell((pin, raised) => session.interrupt(pin, raised));
  }
}

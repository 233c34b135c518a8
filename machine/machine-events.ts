// Events of the machine and its devices: docs/reference/monitor.md §3, §4.

import { defineEvent, type EventQueue } from "../src/qmp/events.ts";
import { bool, enumeration, object, optional, str } from "../src/qmp/schema/types.ts";

/** Who made the machine reset or end. */
export type Cause = "host-qmp-quit" | "host-qmp-system-reset" | "host-signal";

/** A failed request of a device, as BLOCK_IO_ERROR tells it. */
export interface IoErrorData {
  readonly "qom-path": string;
  readonly device: string;
  readonly "node-name": string;
  readonly operation: "read" | "write";
  readonly action: "ignore" | "report" | "stop";
  /** Only for a device that can stop. */
  readonly nospace?: boolean;
  readonly reason: string;
}

const cause = object({ guest: bool, reason: enumeration("host-qmp-quit", "host-qmp-system-reset", "host-signal") });

const STOP = defineEvent("STOP");
const RESUME = defineEvent("RESUME");
const RESET = defineEvent("RESET", cause);
const SHUTDOWN = defineEvent("SHUTDOWN", cause);
/** Told for each error: QEMU 7.2, and so recorded behaviour, does not limit it, other than 10.1 (monitor.md §4). */
const BLOCK_IO_ERROR = defineEvent(
  "BLOCK_IO_ERROR",
  object({
    "qom-path": str,
    device: str,
    "node-name": optional(str),
    operation: enumeration("read", "write"),
    action: enumeration("ignore", "report", "stop"),
    nospace: optional(bool),
    reason: str,
  }),
);

/** Tells the monitor's clients what happens to one machine. */
export class MachineEvents {
  readonly #queue: EventQueue;

  constructor(queue: EventQueue) {
    this.#queue = queue;
    queue.declare(STOP, RESUME, RESET, SHUTDOWN, BLOCK_IO_ERROR);
  }

  runs(running: boolean): void {
    this.#queue.emit(running ? RESUME : STOP);
  }

  reset(reason: Cause): void {
    this.#queue.emit(RESET, { guest: false, reason });
  }

  shutDown(reason: Cause): void {
    this.#queue.emit(SHUTDOWN, { guest: false, reason });
  }

  ioError(data: IoErrorData): void {
    this.#queue.emit(BLOCK_IO_ERROR, data);
  }
}

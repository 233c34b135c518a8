// One command of qemu-io: its names, how many arguments it takes, what it may do to the disk. docs/reference/monitor.md §5.1.

import type { BlockBackend } from "../../block/backend.ts";
import type { QemuIoServices } from "./human-monitor-services.ts";
import type { AioRequests } from "./qemu-io-aio-requests.ts";
import type { RequestMemory } from "./qemu-io-memory.ts";

/** The longest request: the largest multiple of 512 that fits 31 bits. */
export const MAX_REQUEST_BYTES = 2147483136;

/** What one run of a command works with. */
export interface IoContext {
  readonly backend: BlockBackend;
  readonly services: QemuIoServices;
  readonly memory: RequestMemory;
  /** Asynchronous requests on the way, those of earlier commands as well. */
  readonly aio: AioRequests;
}

export interface IoCommand {
  readonly name: string;
  readonly alias?: string;
  /** Words after the name, options included. */
  readonly minArguments: number;
  readonly maxArguments: number;
  /** What it needs of the node: bits of src/block/permissions.ts. */
  readonly needs: number;
  /** `[-Cq] off len` */
  readonly synopsis: string;
  readonly description: string;
  /** `words` begins with the name as it was typed. Throws an `IoRefusal` where they make no sense. */
  run(context: IoContext, words: readonly string[]): void | Promise<void>;
}

/** Words that make no sense. The text goes where QEMU prints it: to standard output or to the monitor. */
export class IoRefusal extends Error {
  override readonly name: string = "IoRefusal";
  readonly to: "output" | "monitor" | "errorOutput";

  constructor(text: string, to: "output" | "monitor" | "errorOutput" = "output") {
    super(text);
    this.to = to;
  }
}

/** A command's line of help, which is also what it answers where the number of operands is wrong. */
export function usageLine(command: IoCommand, name: string = command.name): string {
  return `${name} ${command.synopsis === "" ? "" : `${command.synopsis} `}-- ${command.description}`;
}

/** Words that make no sense, and of which only the command's usage is said. */
export class IoUsage extends Error {
  override readonly name: string = "IoUsage";
}

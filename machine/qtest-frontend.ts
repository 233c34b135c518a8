// `-qtest` and `-qtest-log`: where a machine meets its qtest clients. docs/reference/monitor.md §6, §7.

import { openSync, writeSync } from "node:fs";
import { BlockError, QmpError } from "../src/base/errors.ts";
import { type Chardev, openChardev } from "../src/transport/chardev.ts";
import { parseChardevAddress } from "../src/transport/chardev-address.ts";
import { QomInterrupts } from "./qom-interrupts.ts";
import { QtestServer } from "./qtest/qtest-server.ts";
import type { VirtualClock } from "./qtest/virtual-clock.ts";
import type { SystemMachine } from "./system-machine.ts";

export interface QtestFrontendOptions {
  readonly machine: SystemMachine;
  readonly virtualClock: VirtualClock;
  /** `unix:PATH[,server=on]`, `tcp:…`, `stdio` or `null`. */
  readonly address: string;
  /** A file for the log, or `none`; undefined: the standard error. */
  readonly log: string | undefined;
}

/** One qtest server on its character device, from `open` to `close`. */
export class QtestFrontend {
  readonly #chardev: Chardev;
  readonly #waits: boolean;

  private constructor(chardev: Chardev, waits: boolean) {
    this.#chardev = chardev;
    this.#waits = waits;
  }

  /** Throws a `QmpError` whose text has QEMU's two lines. */
  static async open(options: QtestFrontendOptions): Promise<QtestFrontend> {
    const { machine, virtualClock, address: text, log } = options;
    const { bus, memory, clock } = machine;
    const interrupts = new QomInterrupts(machine);
    const server = new QtestServer({ bus, memory, clock, interrupts, virtualClock, log: openLog(log) });
    try {
      const address = parseChardevAddress(text);
      if (address.backend === "chardev") throw new QmpError(`Cannot find character device '${address.id}'`);
      const chardev = await openChardev(address, (stream) => server.serve(stream));
      const isServer = (address.backend === "unix" || address.backend === "tcp") && address.socket.server;
      return new QtestFrontend(chardev, isServer && address.socket.wait !== false);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      const [reason] = error.message.split("\n");
      throw new QmpError(`${reason}\nFailed to initialize device for qtest: "${text}"`);
    }
  }

  /** Resolves when a server has had its first client, or at once when nobody has to wait for that. */
  get connected(): Promise<void> {
    return this.#waits ? this.#chardev.connected : Promise.resolve();
  }

  close(): Promise<void> {
    return this.#chardev.close();
  }
}

function openLog(path: string | undefined): ((text: string) => void) | undefined {
  if (path === "none" || path === "/dev/null") return undefined;
  if (path === undefined) return (text) => void process.stderr.write(text);
  try {
    const file = openSync(path, "w");
    return (text) => void writeSync(file, text);
  } catch (error) {
    throw new QmpError(`Could not open the log of qtest: ${BlockError.from(error, path).message}`);
  }
}

// The character devices of a machine, and the monitors on them: docs/reference/monitor.md §1, §2 (query-chardev), §6.

import { QmpError } from "../src/base/errors.ts";
import { type Command, defineCommand } from "../src/qmp/command.ts";
import type { QmpServer } from "../src/qmp/qmp-server.ts";
import { array, bool, object, str } from "../src/qmp/schema/types.ts";
import type { ByteStream } from "../src/transport/byte-stream.ts";
import { type Chardev, type OpenableAddress, openChardev } from "../src/transport/chardev.ts";
import { parseChardevAddress } from "../src/transport/chardev-address.ts";
import { parseChardevOptions, parseMonitorOptions } from "./monitor-options.ts";

interface NamedChardev {
  readonly label: string;
  readonly address: OpenableAddress;
  /** How the monitor on it prints; undefined while there is none. */
  pretty: boolean | undefined;
  open: Chardev | undefined;
}

const chardevInfo = object({ label: str, filename: str, "frontend-open": bool });

/** Opens a character device. A `QmpError` with QEMU's text if that fails. */
export type Opener = () => Promise<void>;

/**
 * Options are gathered first, all of `-chardev`, then `-mon`, then `-qmp`; a `QmpError` has QEMU's text. What has to be opened is
 * opened by the caller at last: clients meet a machine that is there.
 */
export class MonitorChardevs {
  readonly #server: QmpServer;
  readonly #chardevs: NamedChardev[] = [];
  #shorthands = 0;

  constructor(server: QmpServer) {
    this.#server = server;
    server.commands.add(this.#query());
  }

  /** `-chardev` */
  addChardev(text: string): Opener {
    const { id, address } = parseChardevOptions(text);
    if (this.#find(id) !== undefined) throw new QmpError(`Duplicate ID '${id}' for chardev`);
    return this.#add({ label: id, address, pretty: undefined, open: undefined });
  }

  /** `-mon` */
  addMonitor(text: string): void {
    const { chardev, pretty } = parseMonitorOptions(text);
    this.#claim(chardev, pretty);
  }

  /** `-qmp`, which makes a character device of its own unless it names one. */
  addQmp(text: string): Opener | undefined {
    const address = parseChardevAddress(text);
    const label = `compat_monitor${this.#shorthands++}`;
    if (address.backend === "chardev") {
      this.#claim(address.id, false);
      return undefined;
    }
    return this.#add({ label, address, pretty: false, open: undefined });
  }

  /** Resolves when all servers have had a client whose options do not say `wait=off`. */
  async connected(): Promise<void> {
    for (const { address, open } of this.#chardevs) {
      const isServer = (address.backend === "unix" || address.backend === "tcp") && address.socket.server;
      if (isServer && address.socket.wait !== false) await open?.connected;
    }
  }

  async close(): Promise<void> {
    for (const { open } of this.#chardevs) await open?.close();
  }

  #add(chardev: NamedChardev): Opener {
    this.#chardevs.push(chardev);
    return async () => {
      chardev.open = await openChardev(chardev.address, (stream) => this.#serve(chardev, stream));
    };
  }

  #find(label: string): NamedChardev | undefined {
    return this.#chardevs.find((chardev) => chardev.label === label);
  }

  #claim(id: string, pretty: boolean): void {
    const chardev = this.#find(id);
    if (chardev === undefined) throw new QmpError(`chardev "${id}" not found`);
    if (chardev.pretty !== undefined) throw new QmpError(`Device '${id}' is in use`);
    chardev.pretty = pretty;
  }

  /** Whoever comes to a character device that nothing has is connected, and not read. */
  #serve({ pretty }: NamedChardev, stream: ByteStream): void {
    if (pretty !== undefined) this.#server.serve(stream, { pretty });
  }

  #query(): Command {
    return defineCommand({
      name: "query-chardev",
      returns: array(chardevInfo),
      allowPreconfig: true,
      run: () =>
        this.#chardevs.map(({ label, open, pretty }) => ({
          label,
          filename: open?.filename ?? "",
          "frontend-open": pretty !== undefined,
        })),
    });
  }
}

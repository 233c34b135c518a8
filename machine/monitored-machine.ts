// A machine as its command line describes it, with monitors that serve clients until one of them ends it.

import { readFile, stat } from "node:fs/promises";
import { type Clock, systemClock } from "../src/base/clock.ts";
import { BlockError, QmpError } from "../src/base/errors.ts";
import { bitmapCommands } from "../src/qmp/commands/bitmap.ts";
import { blockdevCommands } from "../src/qmp/commands/blockdev.ts";
import { generalCommands } from "../src/qmp/commands/general.ts";
import { jobCommands } from "../src/qmp/commands/job.ts";
import { addObject, objectCommands, objectOptions } from "../src/qmp/commands/object.ts";
import { queryBlockCommands } from "../src/qmp/commands/query-block.ts";
import { imageName } from "../src/qmp/commands/query-block-names.ts";
import { queryBlockstatsCommands } from "../src/qmp/commands/query-blockstats.ts";
import { transactionCommands } from "../src/qmp/commands/transaction.ts";
import { systemWallClock } from "../src/qmp/events.ts";
import { HumanMonitor } from "../src/qmp/hmp/human-monitor.ts";
import { QmpServer } from "../src/qmp/qmp-server.ts";
import { blockdevOptions, toBlockdevOptions } from "../src/qmp/schema/blockdev-options.ts";
import { visitOption } from "../src/qmp/schema/keyval-reader.ts";
import { type Chardev, openChardev } from "../src/transport/chardev.ts";
import { parseChardevAddress } from "../src/transport/chardev-address.ts";
import { type CommandLine, CommandLineError, type TypedOption } from "./command-line.ts";
import { parseDeviceOptions } from "./device-options.ts";
import { machineCommands } from "./machine-commands.ts";
import { addSystemDrive } from "./system-drive.ts";
import { SystemMachine } from "./system-machine.ts";

export interface MonitoredMachineOptions {
  /** Of this package, for query-version. */
  readonly version: string;
  readonly clock?: Clock;
}

/** Built by `create`, runs until `ended`. */
export class MonitoredMachine {
  readonly server: QmpServer;
  readonly machine: SystemMachine;
  /** Resolves when everything has been given back, after a client's `quit` or a call of `end`. */
  readonly ended: Promise<void>;
  readonly #chardevs: Chardev[] = [];
  readonly #interrupted = new AbortController();
  #end!: (reason: "host-qmp-quit" | "host-signal") => void;

  private constructor(commandLine: CommandLine, { version, clock = systemClock }: MonitoredMachineOptions) {
    this.server = new QmpServer({ clock, wallClock: systemWallClock, version });
    const { ramBytes, stopped } = commandLine;
    this.machine = new SystemMachine({ ramBytes, stopped, events: this.server.events, clock });
    const { graph, jobs } = this.machine;
    const host = { name: undefined, quit: () => this.#quit() };
    this.server.commands.add(
      ...generalCommands(this.server, host),
      ...machineCommands(this.machine, this.#humanMonitor(clock)),
      ...bitmapCommands(graph),
      ...transactionCommands({ graph, jobs, clock }),
      ...jobCommands(jobs),
      ...blockdevCommands({ graph, jobs }),
      ...objectCommands(this.machine.throttleGroups),
      ...queryBlockCommands({ graph, allocatedBytes }),
      ...queryBlockstatsCommands(graph),
    );
    const reason = new Promise<"host-qmp-quit" | "host-signal">((resolve) => {
      this.#end = resolve;
    });
    this.ended = reason.then((why) => this.#close(why));
  }

  /**
   * Makes objects, nodes, drives and devices, in this order whatever that of the command line, and opens the monitors at last. Throws a
   * `CommandLineError`, and everything has then been closed again.
   */
  static async create(commandLine: CommandLine, options: MonitoredMachineOptions): Promise<MonitoredMachine> {
    const made = new MonitoredMachine(commandLine, options);
    try {
      await made.#build(commandLine);
    } catch (error) {
      made.end();
      await made.ended;
      throw error;
    }
    return made;
  }

  /** Ends the machine in order, as a signal does. */
  end(): void {
    this.#end("host-signal");
  }

  async #build({ machine, objects, blockdevs, drives, devices, qmp }: CommandLine): Promise<void> {
    const { graph } = this.machine;
    const waited: Promise<void>[] = [];
    for (const option of objects) {
      await blame(option, () => {
        addObject(this.machine.throttleGroups, visitOption(objectOptions, option.value, "qom-type"));
      });
    }
    for (const option of blockdevs) {
      await blame(option, () => graph.add(toBlockdevOptions(visitOption(blockdevOptions, option.value, "driver"))));
    }
    for (const [index, option] of drives.entries()) {
      await blame(option, () => addSystemDrive(graph, option.value, index));
    }
    for (const option of devices) {
      await blame(option, async () => {
        const properties = parseDeviceOptions(option.value);
        if (machine === "none") throw new QmpError("No 'virtio-bus' bus found for device 'virtio-blk-device'");
        await this.machine.addDevice(properties);
      });
    }
    // Last: clients meet a machine that is there.
    for (const option of qmp) await blame(option, async () => waited.push(...(await this.#openMonitor(option.value))));
    await Promise.all(waited);
  }

  /** Returns what the start has to wait for: a server's first client, unless `wait=off`. */
  async #openMonitor(text: string): Promise<Promise<void>[]> {
    const address = parseChardevAddress(text);
    if (address.backend === "chardev") throw new QmpError(`chardev "${address.id}" not found`);
    const chardev = await openChardev(address, (stream) => this.server.serve(stream));
    this.#chardevs.push(chardev);
    const isServer = (address.backend === "unix" || address.backend === "tcp") && address.socket.server;
    return isServer && address.socket.wait !== false ? [chardev.connected] : [];
  }

  #humanMonitor(clock: Clock): HumanMonitor {
    const { machine } = this;
    const { graph, jobs, slots } = machine;
    return new HumanMonitor({
      graph,
      jobs,
      clock,
      version: this.server.version,
      interrupted: this.#interrupted.signal,
      output: (text) => process.stdout.write(text),
      errorOutput: (text) => process.stderr.write(text),
      runState: () => machine.runState.state,
      deviceBackend: (idOrPath) => slots.find(idOrPath)?.backend,
      imageName: (node) => imageName(graph.nodes, node),
      stop: () => machine.stop(),
      cont: () => machine.cont(),
      systemReset: () => machine.reset(),
      quit: () => this.#quit(),
      async readFile(path, maxBytes) {
        try {
          return (await readFile(path)).subarray(0, maxBytes);
        } catch (error) {
          throw BlockError.from(error, path);
        }
      },
    });
  }

  async #quit(): Promise<void> {
    await this.machine.shutDown("host-qmp-quit");
    this.#end("host-qmp-quit");
  }

  async #close(reason: "host-qmp-quit" | "host-signal"): Promise<void> {
    this.#interrupted.abort();
    await this.machine.shutDown(reason);
    await this.server.shutdown();
    for (const chardev of this.#chardevs) await chardev.close();
    await this.machine.close();
  }
}

/** What goes wrong while an option is carried out is told as QEMU tells it: the option as typed, then the reason. */
async function blame(option: TypedOption, carryOut: () => unknown): Promise<void> {
  try {
    await carryOut();
  } catch (error) {
    if (!(error instanceof QmpError) && !(error instanceof BlockError)) throw error;
    const hint = error instanceof BlockError && error.hint !== undefined ? `\n${error.hint}` : "";
    throw new CommandLineError(`${option.typed}: ${error.message}${hint}`);
  }
}

/** What a file takes on its disk; undefined where it cannot be looked at. */
async function allocatedBytes(path: string): Promise<number | undefined> {
  const status = await stat(path).catch(() => undefined);
  return status === undefined ? undefined : status.blocks * 512;
}

// A machine as its command line describes it, with monitors that serve clients until one of them ends it.

import type { Clock } from "../src/base/clock.ts";
import { BlockError, QmpError } from "../src/base/errors.ts";
import { addObject, objectOptions } from "../src/qmp/commands/object.ts";
import type { QmpServer } from "../src/qmp/qmp-server.ts";
import { blockdevOptions, toBlockdevOptions } from "../src/qmp/schema/blockdev-options.ts";
import { visitOption } from "../src/qmp/schema/keyval-reader.ts";
import { type Chardev, openChardev } from "../src/transport/chardev.ts";
import { parseChardevAddress } from "../src/transport/chardev-address.ts";
import { type CommandLine, CommandLineError, type TypedOption } from "./command-line.ts";
import { parseDeviceOptions } from "./device-options.ts";
import { addSystemDrive } from "./system-drive.ts";
import type { SystemMachine } from "./system-machine.ts";
import { type EndReason, SystemMonitor } from "./system-monitor.ts";

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
  readonly #monitor: SystemMonitor;
  readonly #chardevs: Chardev[] = [];
  #end!: (reason: EndReason) => void;

  private constructor({ ramBytes, stopped }: CommandLine, { version, clock }: MonitoredMachineOptions) {
    const output = (text: string): void => {
      process.stdout.write(text);
    };
    const monitor = new SystemMonitor({
      ramBytes,
      stopped,
      version,
      output,
      ...(clock === undefined ? {} : { clock }),
    });
    this.#monitor = monitor;
    this.server = monitor.server;
    this.machine = monitor.machine;
    const reason = new Promise<EndReason>((resolve) => {
      this.#end = resolve;
    });
    void monitor.quit.then(() => this.#end("host-qmp-quit"));
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

  async #close(reason: EndReason): Promise<void> {
    await this.#monitor.close(reason, async () => {
      for (const chardev of this.#chardevs) await chardev.close();
    });
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

// A machine as its command line describes it, with monitors that serve clients until one of them ends it.

import { type Clock, systemClock } from "../src/base/clock.ts";
import { BlockError, QmpError } from "../src/base/errors.ts";
import { onWarning } from "../src/base/warnings.ts";
import { addObject, objectOptions } from "../src/qmp/commands/object.ts";
import type { QmpServer } from "../src/qmp/qmp-server.ts";
import { blockdevOptions, toBlockdevOptions } from "../src/qmp/schema/blockdev-options.ts";
import { visitOption } from "../src/qmp/schema/keyval-reader.ts";
import { type CommandLine, CommandLineError, type TypedOption } from "./command-line.ts";
import { parseDeviceOptions } from "./device-options.ts";
import { MonitorChardevs, type Opener } from "./monitor-chardevs.ts";
import { PidFile } from "./pid-file.ts";
import { VirtualClock } from "./qtest/virtual-clock.ts";
import { QtestFrontend } from "./qtest-frontend.ts";
import { addSystemDrive, type DriveBus, driveBus } from "./system-drive.ts";
import type { SystemMachine } from "./system-machine.ts";
import { type EndReason, SystemMonitor } from "./system-monitor.ts";

export interface MonitoredMachineOptions {
  /** Of this package, for query-version. */
  readonly version: string;
  readonly clock?: Clock;
  /** Before each line on the standard error: the program's name. */
  readonly program?: string;
}

/** Built by `create`, runs until `ended`. */
export class MonitoredMachine {
  readonly server: QmpServer;
  readonly machine: SystemMachine;
  /** Resolves when everything has been given back, after a client's `quit` or a call of `end`, or a migration that failed to arrive. */
  readonly ended: Promise<void>;
  /** The migration that it was started for has failed to arrive. */
  lost = false;
  readonly #monitor: SystemMonitor;
  readonly #chardevs: MonitorChardevs;
  /** What qtest's clock_step steps. */
  readonly #virtualClock: VirtualClock;
  #qtest: QtestFrontend | undefined;
  #pidFile: PidFile | undefined;
  readonly #endWarnings: () => void;
  #end!: (reason: EndReason) => void;

  private constructor(commandLine: CommandLine, { version, clock = systemClock, program }: MonitoredMachineOptions) {
    const { ramBytes, stopped, board, legacy, virtualTime, name, uuid } = commandLine;
    this.#virtualClock = new VirtualClock(clock);
    const report = (line: string): void =>
      void process.stderr.write(program === undefined ? `${line}\n` : `${program}: ${line}\n`);
    this.#endWarnings = onWarning((line, bare) => (bare ? void process.stderr.write(`${line}\n`) : report(line)));
    const monitor = new SystemMonitor({
      ...{ ramBytes, stopped, board, legacy, name, uuid, version, clock },
      output: (text) => void process.stdout.write(text),
      incoming: commandLine.incoming !== undefined,
      report,
      ...(virtualTime ? { throttleClock: this.#virtualClock } : {}),
    });
    this.#monitor = monitor;
    this.server = monitor.server;
    this.machine = monitor.machine;
    this.#chardevs = new MonitorChardevs(monitor.server);
    const reason = new Promise<EndReason>((resolve) => {
      this.#end = resolve;
    });
    void monitor.quit.then(() => this.#end("host-qmp-quit"));
    void monitor.lost.then(() => {
      this.lost = true;
      this.#end("host-signal");
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

  async #build(commandLine: CommandLine): Promise<void> {
    const { objects, blockdevs, drives, devices, pidFile } = commandLine;
    const { graph, throttleGroups, ioThreads } = this.machine;
    if (pidFile !== undefined) this.#pidFile = await createPidFile(pidFile);
    const ids = new Set<string>();
    for (const option of objects) {
      await blame(option, () => {
        const object = visitOption(objectOptions, option.value, "qom-type");
        if (ids.has(object.id)) throw new QmpError(`Duplicate ID '${object.id}' for object`);
        ids.add(object.id);
        addObject({ groups: throttleGroups, ioThreads }, object);
      });
    }
    for (const option of blockdevs) {
      await blame(option, () => graph.add(toBlockdevOptions(visitOption(blockdevOptions, option.value, "driver"))));
    }
    const counts: Record<DriveBus, number> = { none: 0, virtio: 0 };
    const connected = new Map<string, TypedOption>();
    for (const option of drives) {
      await blame(option, async () => {
        const bus = driveBus(option.value);
        const { name } = await addSystemDrive(graph, throttleGroups, option.value, counts[bus]++);
        if (bus === "virtio") connected.set(name, option);
      });
    }
    for (const option of devices) {
      await blame(option, () => this.#addDevice(option.value, commandLine, connected));
    }
    for (const [drive, option] of connected) {
      await blame(option, () => this.#addDevice(`virtio-blk-device,drive=${drive}`, commandLine));
    }
    await this.#openQtest(commandLine);
    await this.#openMonitors(commandLine);
    await this.#qtest?.connected;
    const { incoming } = commandLine;
    if (incoming !== undefined) await blame(incoming, () => this.machine.migration.awaitIncoming(incoming.value));
  }

  /** On a drive that is not one of `connected`, which get theirs without being asked. */
  async #addDevice(
    text: string,
    { machine, deviceDefaults }: CommandLine,
    connected: ReadonlyMap<string, TypedOption> = new Map(),
  ): Promise<void> {
    const properties = parseDeviceOptions(text, deviceDefaults);
    const drive = connected.get(properties.drive);
    if (drive !== undefined) {
      throw new CommandLineError(
        `${drive.typed}: Drive '${properties.drive}' is already in use because it has been automatically connected to ` +
          "another device (did you need 'if=none' in the drive options?)",
      );
    }
    if (machine === "none") throw new QmpError("No 'virtio-bus' bus found for device 'virtio-blk-device'");
    const { ioThread } = properties;
    if (ioThread !== undefined) {
      if (!this.machine.ioThreads.has(ioThread)) throw new QmpError(`Device '${ioThread}' not found`);
      // What QEMU says of slots like these, unless a kernel serves their doorbells.
      throw new QmpError("ioeventfd is required for iothread");
    }
    await this.machine.addDevice(properties);
  }

  /** QEMU names this option at the end of its message. */
  async #openQtest({ qtest, qtestLog: log }: CommandLine): Promise<void> {
    const last = qtest.at(-1);
    if (last === undefined) return;
    const { machine } = this;
    const virtualClock = this.#virtualClock;
    try {
      this.#qtest = await QtestFrontend.open({ machine, virtualClock, address: last.value, log });
    } catch (error) {
      throw error instanceof QmpError ? new CommandLineError(error.message) : error;
    }
  }

  /** Last: clients meet a machine that is there. */
  async #openMonitors({ chardevs, monitors, qmp }: CommandLine): Promise<void> {
    const opening: { readonly option: TypedOption; readonly open: Opener | undefined }[] = [];
    for (const option of chardevs) {
      await blame(option, () => opening.push({ option, open: this.#chardevs.addChardev(option.value) }));
    }
    for (const option of monitors) await blame(option, () => this.#chardevs.addMonitor(option.value));
    for (const option of qmp) {
      await blame(option, () => opening.push({ option, open: this.#chardevs.addQmp(option.value) }));
    }
    for (const { option, open } of opening) await blame(option, async () => open?.());
    await this.#chardevs.connected();
  }

  async #close(reason: EndReason): Promise<void> {
    await this.#monitor.close(reason, async () => {
      await this.#qtest?.close();
      await this.#chardevs.close();
      await this.#pidFile?.remove();
    });
    this.#endWarnings();
  }
}

/** QEMU says nothing of the option here. */
async function createPidFile(path: string): Promise<PidFile> {
  try {
    return await PidFile.create(path);
  } catch (error) {
    throw error instanceof QmpError ? new CommandLineError(error.message) : error;
  }
}

/** What goes wrong while an option is carried out is told as QEMU tells it: the option as typed, then the reason. */
async function blame(option: TypedOption, carryOut: () => unknown): Promise<void> {
  try {
    await carryOut();
  } catch (error) {
    const isTold = error instanceof CommandLineError;
    if (isTold || (!(error instanceof QmpError) && !(error instanceof BlockError))) throw error;
    const hint = error.hint === undefined ? "" : `\n${error.hint}`;
    throw new CommandLineError(`${option.typed}: ${error.message}${hint}`);
  }
}

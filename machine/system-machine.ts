// A machine that a monitor runs: block graph, jobs, devices and run state, and the events that they cause. docs/reference/monitor.md §3, §4.

import { type Clock, systemClock } from "../src/base/clock.ts";
import { BlockError, QmpError, strerror } from "../src/base/errors.ts";
import { RunState, type RunStateName } from "../src/base/run-state.ts";
import { ThrottleGroups } from "../src/block/filters/throttle-group.ts";
import { BlockGraph } from "../src/block/graph.ts";
import type { IoErrorReport } from "../src/block/io-errors.ts";
import { JobList } from "../src/job/job-list.ts";
import { Bus } from "../src/memory/bus.ts";
import { GuestMemory } from "../src/memory/guest-memory.ts";
import type { Migration } from "../src/migration/migration.ts";
import type { MigrationChannels } from "../src/migration/migration-address.ts";
import { systemChannels } from "../src/migration/migration-channels.ts";
import { reportWriteThresholds } from "../src/qmp/commands/block-write-threshold.ts";
import { reportImageDamage } from "../src/qmp/commands/image-corrupted.ts";
import { IoThreads } from "../src/qmp/commands/io-threads.ts";
import { reportJobs } from "../src/qmp/commands/job.ts";
import type { EventQueue } from "../src/qmp/events.ts";
import { type Board, virtBoards } from "./boards.ts";
import type { VirtioBlkDeviceOptions } from "./device-options.ts";
import { optionsNamed } from "./drive-filenames.ts";
import { allDrivers } from "./drivers.ts";
import { MachineEvents } from "./machine-events.ts";
import { machineMigration } from "./machine-migration.ts";
import { type SlotDevice, VirtioSlots } from "./virtio-slots.ts";

export interface SystemMachineOptions {
  readonly ramBytes: number;
  /** Does not run until it is told to. */
  readonly stopped: boolean;
  readonly events: EventQueue;
  /** That of `qemu-system-aarch64` by default. */
  readonly board?: Board;
  /** Devices have the legacy registers, version 1; otherwise the modern ones, version 2. */
  readonly legacy?: boolean;
  readonly clock?: Clock;
  /** What throttled requests wait by; `clock` by default. */
  readonly throttleClock?: Clock;
  /** Where what filters say of requests that they stop goes; nowhere by default. */
  readonly output?: (text: string) => void;
  /** Waits for a migration, and runs when that has arrived unless `stopped`. Images are another's until then. */
  readonly incoming?: boolean;
  /** What migrations go through: those of the system by default. */
  readonly channels?: MigrationChannels;
  /** Calls a task when no command is being carried out, and none is until it is done. At once by default. */
  readonly inTurn?: (task: () => Promise<void>) => Promise<void>;
  /** -uuid */
  readonly uuid?: string | undefined;
  /** Takes lines for the standard error. */
  readonly report?: (line: string) => void;
  /** The migration that it waited for has failed: the program ends. */
  readonly onLost?: () => void;
}

/**
 * What is common to all monitors of one machine. It begins empty: nodes, drives and devices are added, and taken apart in the
 * opposite order by `close`.
 */
export class SystemMachine {
  readonly graph: BlockGraph;
  readonly jobs: JobList;
  readonly runState: RunState;
  readonly memory: GuestMemory;
  readonly bus: Bus;
  readonly slots: VirtioSlots;
  readonly clock: Clock;
  readonly board: Board;
  readonly throttleGroups: ThrottleGroups;
  readonly ioThreads: IoThreads = new IoThreads(process.pid);
  readonly migration: Migration;
  readonly #events: MachineEvents;
  readonly #report: (line: string) => void;
  readonly #inTurn: (task: () => Promise<void>) => Promise<void>;
  /** Resolves when it begins to end. */
  readonly #ending: Promise<void>;
  #end!: () => void;
  /** Runs as soon as it has arrived. */
  #autostart: boolean;
  #shutDown = false;

  constructor(options: SystemMachineOptions) {
    const { ramBytes, stopped, events, board = virtBoards.aarch64, legacy = false, clock = systemClock } = options;
    const { output = () => {}, incoming = false, uuid, report = () => {}, onLost = () => {} } = options;
    const { channels = systemChannels, inTurn = (task) => task() } = options;
    this.clock = clock;
    this.board = board;
    this.throttleGroups = new ThrottleGroups(options.throttleClock ?? clock);
    this.#events = new MachineEvents(events);
    this.#report = report;
    this.#inTurn = inTurn;
    this.#ending = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.graph = new BlockGraph({
      drivers: allDrivers(this.throttleGroups, output),
      clock,
      opensInactive: () => this.runState.state === "inmigrate",
      optionsNamed,
    });
    this.jobs = new JobList(this.graph.names);
    this.#autostart = !stopped;
    this.runState = new RunState(incoming ? "inmigrate" : stopped ? "prelaunch" : "running");
    this.memory = new GuestMemory({ baseAddress: board.ramBase, sizeBytes: ramBytes });
    this.bus = new Bus({ memory: this.memory, unmapped: "zeroes" });
    const { memory, bus, graph } = this;
    this.slots = new VirtioSlots({ layout: board.slots, legacy, memory, bus, graph, clock });
    reportJobs(this.jobs, events);
    this.runState.onChange((running) => this.#events.runs(running));
    reportWriteThresholds(this.graph, events);
    reportImageDamage(this.graph, events);
    this.migration = machineMigration({ machine: this, events, uuid, report, channels, onLost });
  }

  async addDevice(options: VirtioBlkDeviceOptions): Promise<SlotDevice> {
    const device = await this.slots.plugIn(options);
    device.backend.errors.onError((report) => this.#onIoError(device, report));
    return device;
  }

  /** Stops the guest; jobs go on. One that is still to arrive will not run then. */
  async stop(): Promise<void> {
    if (this.runState.state === "inmigrate") this.#autostart = false;
    else await this.stopFor("paused");
  }

  /** Stops the guest for a reason, which is its state then, also where it stood still. */
  async stopFor(state: "paused" | "finish-migrate"): Promise<void> {
    if (!this.runState.stop(state) && state !== "paused") this.runState.restate(state);
    using _drained = await this.graph.drainAll();
  }

  /**
   * The guest goes on, with all images its own, or will as soon as it has arrived. Rejects with a `QmpError` while it is about to be
   * elsewhere, and with that or a `BlockError` where it cannot have an image: it stands still then.
   */
  async cont(): Promise<void> {
    if (this.runState.state === "inmigrate") {
      this.#autostart = true;
      return;
    }
    this.migration.checkContinue();
    await this.graph.activateAll();
    this.resume();
  }

  /** The guest goes on; requests that an error has held back are sent again. */
  resume(): void {
    if (this.runState.running) return;
    for (const { backend } of this.slots.devices) if (backend.name !== "") backend.errors.status = "ok";
    this.runState.resume();
    for (const { backend } of this.slots.devices) backend.errors.retry();
  }

  /** A migration of this machine has not happened: it is what it was `before`, unless somebody has continued it already. */
  async takeBack(before: RunStateName): Promise<void> {
    const whole = await this.#activate();
    if (this.runState.state !== "finish-migrate" || this.#shutDown) return;
    if (before !== "running") this.runState.restate(before);
    else if (whole) this.resume();
    else this.runState.restate("paused");
  }

  /** A migration has arrived of a machine that was in `state`. `late`: one that does not run yet leaves images to others until then. */
  async arrive(state: RunStateName, late: boolean): Promise<void> {
    const runs = state === "running" && this.#autostart;
    const whole = (late && !runs) || (await this.#activate());
    if (state !== "running") this.runState.restate(state);
    else if (runs && whole) this.resume();
    else this.runState.restate("paused");
  }

  /** Waits until no command is being carried out. As soon as the machine ends it does not: the last one waits for what is under way. */
  async betweenCommands(task: () => Promise<void>): Promise<void> {
    let result: Promise<void> | undefined;
    const once = (): Promise<void> => {
      result ??= task();
      return result;
    };
    await Promise.race([this.#inTurn(once), this.#ending]);
    await once();
  }

  /** False, and told, where an image cannot be had. */
  async #activate(): Promise<boolean> {
    try {
      await this.graph.activateAll();
      return true;
    } catch (error) {
      if (!(error instanceof QmpError || error instanceof BlockError)) throw error;
      this.#report(error.message);
      return false;
    }
  }

  /** As if the reset button was pressed. */
  reset(): void {
    this.slots.reset();
    if (this.runState.state === "io-error") this.runState.restate("prelaunch");
    this.#events.reset("host-qmp-system-reset");
  }

  /** Says that it ends, once, and ends all jobs. */
  async shutDown(reason: "host-qmp-quit" | "host-signal"): Promise<void> {
    if (this.#shutDown) return;
    this.#shutDown = true;
    this.#end();
    this.#events.shutDown(reason);
    await this.migration.close();
    await this.jobs.cancelAll();
  }

  /** Gives everything back: devices, drives, nodes. After `shutDown`. Rejects with the first error once all is closed. */
  async close(): Promise<void> {
    await this.migration.close();
    await this.jobs.cancelAll();
    await this.slots.unplugAll();
    const errors: unknown[] = [];
    const note = (error: unknown): number => errors.push(error);
    for (const backend of this.graph.backends) await this.graph.removeBackend(backend).catch(note);
    await this.graph.close().catch(note);
    if (errors.length > 0) throw errors[0];
  }

  #onIoError(device: SlotDevice, { operation, action, error }: IoErrorReport): void {
    const { backend } = device;
    this.#events.ioError({
      device: backend.name,
      "node-name": backend.root?.name ?? "",
      "qom-path": device.id === undefined ? device.path : `/machine/peripheral/${device.id}`,
      operation,
      action,
      ...(backend.errors.statusEnabled ? { nospace: error.errno === "ENOSPC" } : {}),
      reason: strerror(error.errno),
    });
    if (action === "stop") this.runState.stop("io-error");
  }
}

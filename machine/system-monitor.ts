// A machine and its monitor: every command there is, on one machine, for clients and for scripts of the same process alike.

import { readFile, stat } from "node:fs/promises";
import { type Clock, systemClock } from "../src/base/clock.ts";
import { BlockError } from "../src/base/errors.ts";
import type { MigrationChannels } from "../src/migration/migration-address.ts";
import { bitmapCommands } from "../src/qmp/commands/bitmap.ts";
import { blockIoThrottleCommands } from "../src/qmp/commands/block-io-throttle.ts";
import { blockdevCommands } from "../src/qmp/commands/blockdev.ts";
import { generalCommands } from "../src/qmp/commands/general.ts";
import { jobCommands } from "../src/qmp/commands/job.ts";
import { migrationCommands } from "../src/qmp/commands/migration.ts";
import { objectCommands } from "../src/qmp/commands/object.ts";
import { queryBlockCommands } from "../src/qmp/commands/query-block.ts";
import { queryBlockGraphCommands } from "../src/qmp/commands/query-block-graph.ts";
import { actualSize, gatherImageFacts } from "../src/qmp/commands/query-block-image.ts";
import { imageName } from "../src/qmp/commands/query-block-names.ts";
import { queryBlockstatsCommands } from "../src/qmp/commands/query-blockstats.ts";
import { transactionCommands } from "../src/qmp/commands/transaction.ts";
import { systemWallClock } from "../src/qmp/events.ts";
import { HumanMonitor } from "../src/qmp/hmp/human-monitor.ts";
import { QmpServer } from "../src/qmp/qmp-server.ts";
import type { Board } from "./boards.ts";
import { machineCommands } from "./machine-commands.ts";
import { SystemMachine } from "./system-machine.ts";

/** Who ended a machine. */
export type EndReason = "host-qmp-quit" | "host-signal";

export interface SystemMonitorOptions {
  readonly ramBytes: number;
  /** Does not run until it is told to. */
  readonly stopped: boolean;
  /** -name and -uuid; none by default. */
  readonly name?: string | undefined;
  readonly uuid?: string | undefined;
  /** Of this package, for query-version. */
  readonly version: string;
  /** Where what `qemu-io` prints goes. */
  readonly output: (text: string) => void;
  readonly board?: Board;
  /** Devices have the legacy registers; otherwise the modern ones. */
  readonly legacy?: boolean;
  readonly clock?: Clock;
  /** What throttled requests wait by; `clock` by default. */
  readonly throttleClock?: Clock;
  /** Waits for a migration. */
  readonly incoming?: boolean;
  /** What migrations go through: those of the system by default. */
  readonly channels?: MigrationChannels;
  /** Takes lines for the standard error: that of the program, by default. */
  readonly report?: (line: string) => void;
}

/** Begins empty, and runs until somebody calls `close`: whoever made it, at the latest when `quit` has resolved. */
export class SystemMonitor {
  readonly server: QmpServer;
  readonly machine: SystemMachine;
  /** Resolves when the command `quit` has been given, and jobs have ended. */
  readonly quit: Promise<void>;
  /** Resolves when the migration that it waited for has failed. */
  readonly lost: Promise<void>;
  readonly #interrupted = new AbortController();

  constructor(options: SystemMonitorOptions) {
    const { version, output, name, uuid, clock = systemClock } = options;
    this.server = new QmpServer({ clock, wallClock: systemWallClock, version });
    const { events } = this.server;
    const { report = (line: string) => void process.stderr.write(`${line}\n`) } = options;
    let onLost!: () => void;
    this.lost = new Promise((resolve) => {
      onLost = resolve;
    });
    const inTurn = (task: () => Promise<void>): Promise<void> => this.server.betweenCommands(task);
    this.machine = new SystemMachine({ ...options, events, clock, report, inTurn, onLost });
    let quitGiven!: () => void;
    this.quit = new Promise((resolve) => {
      quitGiven = resolve;
    });
    const quit = async (): Promise<void> => {
      await this.machine.shutDown("host-qmp-quit");
      quitGiven();
    };
    const { graph, jobs, slots, throttleGroups, ioThreads } = this.machine;
    this.server.commands.add(
      ...generalCommands(this.server, { name, uuid, quit }),
      ...machineCommands(this.machine, this.#humanMonitor({ output, name, uuid, quit })),
      ...bitmapCommands(graph),
      ...transactionCommands({ graph, jobs, clock }),
      ...jobCommands(jobs),
      ...blockdevCommands({ graph, jobs }),
      ...objectCommands({ groups: throttleGroups, ioThreads }),
      ...blockIoThrottleCommands({ graph, throttleGroups, deviceBackend: (idOrPath) => slots.find(idOrPath)?.backend }),
      ...queryBlockCommands({ graph, allocatedBytes }),
      ...queryBlockstatsCommands(graph),
      ...queryBlockGraphCommands({ graph, jobs }),
      ...migrationCommands(this.machine.migration),
    );
  }

  /**
   * Ends everything in order: what the human monitor does, jobs, conversations with clients, then what `beforeMachine` gives back,
   * devices, drives and nodes. Rejects with the first error once all is closed.
   */
  async close(reason: EndReason, beforeMachine: () => Promise<void> = async () => {}): Promise<void> {
    this.#interrupted.abort();
    await this.machine.shutDown(reason);
    await this.server.shutdown();
    await beforeMachine();
    await this.machine.close();
  }

  #humanMonitor(
    given: Pick<SystemMonitorOptions, "output" | "name" | "uuid"> & { readonly quit: () => Promise<void> },
  ): HumanMonitor {
    const { machine } = this;
    const { graph, jobs, slots, clock, throttleGroups } = machine;
    return new HumanMonitor({
      graph,
      jobs,
      throttleGroups,
      migration: machine.migration,
      clock,
      version: this.server.version,
      interrupted: this.#interrupted.signal,
      ...given,
      errorOutput: (text) => process.stderr.write(text),
      runState: () => machine.runState.state,
      deviceBackend: (idOrPath) => slots.find(idOrPath)?.backend,
      imageName: (node) => imageName(graph.nodes, node),
      allocatedBytes: async (node) => actualSize(await gatherImageFacts(graph.nodes, allocatedBytes), node),
      stop: () => machine.stop(),
      cont: () => machine.cont(),
      systemReset: () => machine.reset(),
      async readFile(path, maxBytes) {
        try {
          return (await readFile(path)).subarray(0, maxBytes);
        } catch (error) {
          throw BlockError.from(error, path);
        }
      },
    });
  }
}

/** What a file takes on its disk; undefined where it cannot be looked at. */
async function allocatedBytes(path: string): Promise<number | undefined> {
  const status = await stat(path).catch(() => undefined);
  return status === undefined ? undefined : status.blocks * 512;
}

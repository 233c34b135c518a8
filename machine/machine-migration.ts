// Migration as this machine does it: its run state, its images, its monitor's events. docs/reference/migration-stream.md §3.1, §5.

import type { IncomingHost } from "../src/migration/incoming-migration.ts";
import { Migration } from "../src/migration/migration.ts";
import type { MigrationChannels } from "../src/migration/migration-address.ts";
import { MIGRATION, MIGRATION_PASS } from "../src/qmp/commands/migration.ts";
import type { EventQueue } from "../src/qmp/events.ts";
import type { SystemMachine } from "./system-machine.ts";

export interface MachineMigrationOptions {
  readonly machine: SystemMachine;
  readonly events: EventQueue;
  readonly uuid: string | undefined;
  /** To the standard error. */
  readonly report: (line: string) => void;
  readonly channels: MigrationChannels;
  /** What was to come has been lost: the program ends. */
  readonly onLost: () => void;
}

/**
 * As streams name the machine. Of one with devices and RAM only the bitmaps migrate, and so only to another of these: a name that no
 * other program has.
 */
function streamName({ board }: Pick<SystemMachine, "board">): string {
  return board.bare === true ? "none" : "virtio-blk-virt";
}

/** The migrations of a machine. */
export function machineMigration(options: MachineMigrationOptions): Migration {
  const { machine, events, uuid, report, channels, onLost } = options;
  events.declare(MIGRATION, MIGRATION_PASS);
  const { graph, clock, runState } = machine;
  const host: IncomingHost = {
    machine: streamName(machine),
    uuid,
    graph,
    clock,
    runState,
    channels,
    stop: (state) => machine.stopFor(state),
    inactivate: () => machine.betweenCommands(() => graph.inactivateAll()),
    takeBack: (before) => machine.betweenCommands(() => machine.takeBack(before)),
    report,
    onStatus: (status) => {
      if (migration.settings.has("events")) events.emit(MIGRATION, { status });
    },
    onPass: (pass) => {
      if (migration.settings.has("events")) events.emit(MIGRATION_PASS, { pass });
    },
    arrive: (state) =>
      machine.betweenCommands(() => machine.arrive(state, migration.settings.has("late-block-activate"))),
    onLost,
  };
  const migration = new Migration(host);
  return migration;
}

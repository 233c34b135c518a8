// Commands on migrations: docs/reference/migration-stream.md §5, persistence-migration.md §5.4.

import { QmpError } from "../../base/errors.ts";
import type { Migration } from "../../migration/migration.ts";
import type { MigrationAddress } from "../../migration/migration-address.ts";
import type { MigrationStatus } from "../../migration/migration-host.ts";
import { MIGRATION_CAPABILITIES } from "../../migration/migration-settings.ts";
import type { OutgoingMigration } from "../../migration/outgoing-migration.ts";
import { type Command, defineCommand } from "../command.ts";
import { defineEvent, type EventDefinition } from "../events.ts";
import { migrationParameters } from "../schema/migration-parameters.ts";
import { array, bool, type EnumType, enumeration, int, number, object, optional, str } from "../schema/types.ts";

/** As QAPI lists them, but for those that are of other machines. */
export const MIGRATION_STATUSES: readonly MigrationStatus[] = [
  "none",
  "setup",
  "cancelling",
  "cancelled",
  "active",
  "postcopy-active",
  "postcopy-paused",
  "completed",
  "failed",
  "pre-switchover",
  "device",
];
const migrationStatus: EnumType<MigrationStatus> = enumeration(...MIGRATION_STATUSES);

/** Told while the capability `events` is on. */
export const MIGRATION: EventDefinition<{ readonly status: MigrationStatus }> = defineEvent(
  "MIGRATION",
  object({ status: migrationStatus }),
);
/** As `MIGRATION`: QEMU counts its looks at what is left by it. */
export const MIGRATION_PASS: EventDefinition<{ readonly pass: number | bigint }> = defineEvent(
  "MIGRATION_PASS",
  object({ pass: int }),
);

const ramStats = object({
  total: int,
  remaining: int,
  transferred: int,
  "precopy-bytes": int,
  "downtime-bytes": int,
  "postcopy-bytes": int,
  duplicate: int,
  skipped: int,
  normal: int,
  "normal-bytes": int,
  "dirty-pages-rate": int,
  "dirty-sync-count": int,
  "dirty-sync-missed-zero-copy": int,
  "multifd-bytes": int,
  "postcopy-requests": int,
  "page-size": int,
  "pages-per-second": int,
  mbps: number,
});

const socketAddress = object({
  type: enumeration("unix", "inet"),
  path: optional(str),
  host: optional(str),
  port: optional(str),
  ipv4: optional(bool),
});

const migrationInfo = object({
  status: optional(migrationStatus),
  "expected-downtime": optional(int),
  downtime: optional(int),
  "setup-time": optional(int),
  "total-time": optional(int),
  "error-desc": optional(str),
  ram: optional(ramStats),
  "socket-address": optional(array(socketAddress)),
});

const capabilityStatus = object({ capability: enumeration(...MIGRATION_CAPABILITIES), state: bool });

export function migrationCommands(migration: Migration): Command[] {
  const { settings } = migration;
  return [
    defineCommand({
      name: "migrate",
      arguments: object({
        uri: str,
        blk: optional(bool),
        inc: optional(bool),
        detach: optional(bool),
        resume: optional(bool),
      }),
      run: (given) => startMigration(migration, given),
    }),
    defineCommand({
      name: "migrate-incoming",
      arguments: object({ uri: str }),
      run: ({ uri }) => migration.startIncoming(uri),
    }),
    defineCommand({ name: "migrate_cancel", run: () => migration.cancel() }),
    defineCommand({
      name: "migrate-continue",
      arguments: object({ state: migrationStatus }),
      run: ({ state }) => migration.continue(state),
    }),
    defineCommand({ name: "migrate-start-postcopy", run: () => migration.startPostcopy() }),
    defineCommand({ name: "migrate-pause", run: () => migration.pause() }),
    defineCommand({
      name: "migrate-recover",
      arguments: object({ uri: str }),
      run: () => migration.recover(),
    }),
    defineCommand({
      name: "migrate-set-capabilities",
      arguments: object({ capabilities: array(capabilityStatus) }),
      run: ({ capabilities }) => migration.setCapabilities(capabilities),
    }),
    defineCommand({
      name: "query-migrate-capabilities",
      returns: array(capabilityStatus),
      run: () => MIGRATION_CAPABILITIES.map((capability) => ({ capability, state: settings.has(capability) })),
    }),
    defineCommand({
      name: "migrate-set-parameters",
      arguments: migrationParameters,
      run: (parameters) => settings.setParameters({ ...parameters }),
    }),
    defineCommand({
      name: "query-migrate-parameters",
      returns: migrationParameters,
      run: () => settings.parameters,
    }),
    defineCommand({ name: "query-migrate", returns: migrationInfo, run: (): object => describeMigration(migration) }),
  ];
}

/** What `migrate` takes. */
export interface MigrateArguments {
  readonly uri: string;
  readonly blk?: boolean;
  readonly inc?: boolean;
  readonly resume?: boolean;
}

/** migrate. Throws a `QmpError`. */
export function startMigration(migration: Migration, given: MigrateArguments): void {
  const { uri, blk = false, inc = false, resume = false } = given;
  if (resume) throw new QmpError("Cannot resume if there is no paused migration");
  if (blk || inc) throw new QmpError("Migration of disks is not supported: use a backup or a mirror");
  migration.start(uri);
}

/** What query-migrate returns. */
export interface MigrationReply {
  readonly status?: MigrationStatus;
  readonly "error-desc"?: string;
  readonly "expected-downtime"?: number;
  readonly downtime?: number;
  readonly "setup-time"?: number;
  readonly "total-time"?: number;
  readonly ram?: Readonly<Record<string, number>>;
  readonly "socket-address"?: readonly SocketAddressReply[];
}

type SocketAddressReply =
  | { readonly type: "unix"; readonly path: string }
  | { readonly type: "inet"; readonly host: string; readonly port: string; readonly ipv4: boolean };

/** query-migrate */
export function describeMigration(migration: Migration): MigrationReply {
  const { status, description, outgoing, address } = migration.info;
  return {
    ...(status === undefined ? {} : { status }),
    ...(description === undefined ? {} : { "error-desc": description }),
    ...(address === undefined ? {} : { "socket-address": describeAddress(address) }),
    ...(outgoing === undefined ? {} : describeProgress(outgoing, migration.settings.downtimeLimitMs)),
  };
}

function describeProgress(outgoing: OutgoingMigration, downtimeLimitMs: number): MigrationReply {
  const times = { "setup-time": 0, "total-time": outgoing.totalMs, ram: describeRam(outgoing) };
  switch (outgoing.status) {
    case "completed":
      return { downtime: outgoing.downtimeMs, ...times };
    case "active":
    case "cancelling":
    case "pre-switchover":
    case "device":
    case "postcopy-active":
    case "postcopy-paused":
      return { "expected-downtime": downtimeLimitMs, ...times };
    default:
      return {};
  }
}

/** Of a machine without RAM that migrates. */
function describeRam({ passes, totalMs, transferredBytes }: OutgoingMigration): Record<string, number> {
  return {
    ...Object.fromEntries(RAM_COUNTS.map((name) => [name, 0])),
    "dirty-sync-count": passes,
    "page-size": 1024,
    mbps: totalMs === 0 ? 0 : (transferredBytes * 8) / 1000 / totalMs,
  };
}

const RAM_COUNTS =
  "total remaining transferred precopy-bytes downtime-bytes postcopy-bytes duplicate skipped normal normal-bytes dirty-pages-rate dirty-sync-missed-zero-copy multifd-bytes postcopy-requests pages-per-second".split(
    " ",
  );

function describeAddress(address: MigrationAddress): SocketAddressReply[] {
  if (address.type === "unix") return [{ type: "unix", path: address.path }];
  if (address.type !== "inet") return [];
  return [{ type: "inet", host: address.host, port: address.port, ipv4: !address.host.includes(":") }];
}

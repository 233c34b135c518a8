// QMP's commands and events as TypeScript knows them: what goes in, what comes out. A test holds them against the monitor's schema.

import type { RunStateName } from "../src/base/run-state.ts";
import type { ErrorAction, IoStatus } from "../src/block/error-policy.ts";
import type { BlockdevCreateOptions, BlockdevOptions } from "../src/block/graph-options.ts";
import type { JobStatus } from "../src/job/job-status.ts";
import type { MigrationStatus } from "../src/migration/migration-host.ts";
import type { BlockdevBackup } from "../src/qmp/commands/backup.ts";
import type { BlockDirtyBitmap, BlockDirtyBitmapAdd, BlockDirtyBitmapMerge } from "../src/qmp/commands/bitmap.ts";
import type { BlockIoThrottle } from "../src/qmp/commands/block-io-throttle.ts";
import type { DriveBackup } from "../src/qmp/commands/drive-backup.ts";
import type { ObjectOptions } from "../src/qmp/commands/object.ts";
import type { BlockDeviceInfo } from "../src/qmp/commands/query-block-node.ts";
import type { Int64 } from "../src/qmp/schema/types.ts";

/** An empty object: commands without arguments, or without a result. */
export type Nothing = Readonly<Record<string, never>>;

/** One action of a transaction. */
export type TransactionAction =
  | { readonly type: "abort"; readonly data: Nothing }
  | { readonly type: "block-dirty-bitmap-add"; readonly data: BlockDirtyBitmapAdd }
  | {
      readonly type: `block-dirty-bitmap-${"remove" | "clear" | "enable" | "disable"}`;
      readonly data: BlockDirtyBitmap;
    }
  | { readonly type: "block-dirty-bitmap-merge"; readonly data: BlockDirtyBitmapMerge }
  | { readonly type: "blockdev-backup"; readonly data: BlockdevBackup }
  | { readonly type: "drive-backup"; readonly data: DriveBackup };

/** QMP's BlockInfo: a drive, or a device on a node. */
export interface BlockInfo {
  /** The drive's id; "" for a device on a node. */
  readonly device: string;
  /** The device's id or path. */
  readonly qdev?: string;
  readonly type: string;
  readonly removable: boolean;
  readonly locked: boolean;
  readonly inserted?: BlockDeviceInfo;
  readonly "io-status"?: IoStatus;
}

/** QMP's JobInfo. */
export interface JobInfo {
  readonly id: string;
  readonly type: string;
  readonly status: JobStatus;
  readonly "current-progress": Int64;
  readonly "total-progress": Int64;
  readonly error?: string;
}

/** QMP's BlockJobInfo: bytes, and bytes per second. */
export interface BlockJobInfo {
  readonly type: string;
  readonly device: string;
  readonly len: Int64;
  readonly offset: Int64;
  readonly busy: boolean;
  readonly paused: boolean;
  readonly speed: Int64;
  readonly "io-status": IoStatus;
  readonly ready: boolean;
  readonly status: JobStatus;
  readonly "auto-finalize": boolean;
  readonly "auto-dismiss": boolean;
  readonly error?: string;
}

/** QMP's IOThreadInfo. */
export interface IoThreadInfo {
  readonly id: string;
  readonly "thread-id": Int64;
  readonly "poll-max-ns": Int64;
  readonly "poll-grow": Int64;
  readonly "poll-shrink": Int64;
  readonly "aio-max-batch": Int64;
}

interface Call<Arguments, Returns = Nothing> {
  readonly arguments: Arguments;
  readonly returns: Returns;
}

interface ById {
  readonly id: string;
}

interface ByDevice {
  readonly device: string;
}

/** Commands whose types the compiler knows. There are more: `query-qmp-schema` describes them all. */
export interface QmpCommands {
  "block-dirty-bitmap-add": Call<BlockDirtyBitmapAdd>;
  "block-dirty-bitmap-clear": Call<BlockDirtyBitmap>;
  "block-dirty-bitmap-disable": Call<BlockDirtyBitmap>;
  "block-dirty-bitmap-enable": Call<BlockDirtyBitmap>;
  "block-dirty-bitmap-merge": Call<BlockDirtyBitmapMerge>;
  "block-dirty-bitmap-remove": Call<BlockDirtyBitmap>;
  "block-job-cancel": Call<ByDevice & { readonly force?: boolean }>;
  "block-job-complete": Call<ByDevice>;
  "block-job-dismiss": Call<ById>;
  "block-job-finalize": Call<ById>;
  "block-job-pause": Call<ByDevice>;
  "block-job-resume": Call<ByDevice>;
  "block-job-set-speed": Call<ByDevice & { readonly speed: Int64 }>;
  "block-set-write-threshold": Call<{ readonly "node-name": string; readonly "write-threshold": Int64 }>;
  block_resize: Call<{ readonly device?: string; readonly "node-name"?: string; readonly size: Int64 }>;
  "blockdev-add": Call<BlockdevOptions>;
  "blockdev-backup": Call<BlockdevBackup>;
  "blockdev-create": Call<{ readonly "job-id": string; readonly options: BlockdevCreateOptions }>;
  "blockdev-del": Call<{ readonly "node-name": string }>;
  "blockdev-reopen": Call<{ readonly options: readonly BlockdevOptions[] }>;
  block_set_io_throttle: Call<BlockIoThrottle>;
  cont: Call<Nothing>;
  "drive-backup": Call<DriveBackup>;
  "human-monitor-command": Call<{ readonly "command-line": string; readonly "cpu-index"?: Int64 }, string>;
  "job-cancel": Call<ById>;
  "job-complete": Call<ById>;
  "job-dismiss": Call<ById>;
  "job-finalize": Call<ById>;
  "job-pause": Call<ById>;
  "job-resume": Call<ById>;
  migrate: Call<{
    readonly uri: string;
    readonly blk?: boolean;
    readonly inc?: boolean;
    readonly detach?: boolean;
    readonly resume?: boolean;
  }>;
  "migrate-incoming": Call<{ readonly uri: string }>;
  "migrate-start-postcopy": Call<Nothing>;
  migrate_cancel: Call<Nothing>;
  "object-add": Call<ObjectOptions>;
  "object-del": Call<ById>;
  "query-block": Call<Nothing, readonly BlockInfo[]>;
  "query-block-jobs": Call<Nothing, readonly BlockJobInfo[]>;
  "query-commands": Call<Nothing, readonly { readonly name: string }[]>;
  "query-iothreads": Call<Nothing, readonly IoThreadInfo[]>;
  "query-jobs": Call<Nothing, readonly JobInfo[]>;
  "query-name": Call<Nothing, { readonly name?: string }>;
  "query-named-block-nodes": Call<{ readonly flat?: boolean }, readonly BlockDeviceInfo[]>;
  "query-status": Call<Nothing, { readonly running: boolean; readonly status: RunStateName }>;
  "query-uuid": Call<Nothing, { readonly UUID: string }>;
  "query-version": Call<
    Nothing,
    {
      readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number };
      readonly package: string;
    }
  >;
  quit: Call<Nothing>;
  stop: Call<Nothing>;
  system_reset: Call<Nothing>;
  transaction: Call<{
    readonly actions: readonly TransactionAction[];
    readonly properties?: { readonly "completion-mode"?: "individual" | "grouped" };
  }>;
  "x-debug-block-dirty-bitmap-sha256": Call<BlockDirtyBitmap, { readonly sha256: string }>;
}

export type QmpCommandName = keyof QmpCommands;
export type QmpReturn<Name extends QmpCommandName> = QmpCommands[Name]["returns"];

/** The arguments of a command as those of a function: to be left out where none is required. */
export type ArgumentsIfAny<Name extends QmpCommandName> = Nothing extends QmpCommands[Name]["arguments"]
  ? [args?: QmpCommands[Name]["arguments"]]
  : [args: QmpCommands[Name]["arguments"]];

interface EndOfJob {
  readonly type: string;
  readonly device: string;
  readonly len: Int64;
  readonly offset: Int64;
  readonly speed: Int64;
}

interface GuestOrHost {
  readonly guest: boolean;
  readonly reason: string;
}

/** The data of each event; `undefined` where there are none. */
export interface QmpEvents {
  BLOCK_IO_ERROR: {
    readonly "qom-path": string;
    readonly device: string;
    readonly "node-name"?: string;
    readonly operation: "read" | "write";
    readonly action: ErrorAction;
    readonly nospace?: boolean;
    readonly reason: string;
  };
  BLOCK_IMAGE_CORRUPTED: {
    readonly device: string;
    readonly "node-name"?: string;
    readonly msg: string;
    readonly offset?: Int64;
    readonly size?: Int64;
    readonly fatal: boolean;
  };
  BLOCK_JOB_CANCELLED: EndOfJob;
  BLOCK_JOB_COMPLETED: EndOfJob & { readonly error?: string };
  BLOCK_JOB_ERROR: {
    readonly device: string;
    readonly operation: "read" | "write";
    readonly action: ErrorAction;
  };
  BLOCK_JOB_PENDING: { readonly type: string; readonly id: string };
  /** While the capability `events` is on. */
  MIGRATION: { readonly status: MigrationStatus };
  MIGRATION_PASS: { readonly pass: Int64 };
  BLOCK_WRITE_THRESHOLD: {
    readonly "node-name": string;
    readonly "amount-exceeded": Int64;
    readonly "write-threshold": Int64;
  };
  JOB_STATUS_CHANGE: { readonly id: string; readonly status: JobStatus };
  RESET: GuestOrHost;
  RESUME: undefined;
  SHUTDOWN: GuestOrHost;
  STOP: undefined;
}

export type QmpEventName = keyof QmpEvents;

/** An event as a client gets it. */
export interface QmpEventOf<Name extends QmpEventName> {
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
  readonly event: Name;
  readonly data: QmpEvents[Name];
}

/** Any event: `event` tells which, and the compiler then knows `data`. */
export type MachineEvent = { [Name in QmpEventName]: QmpEventOf<Name> }[QmpEventName];

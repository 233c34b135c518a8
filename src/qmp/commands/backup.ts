// Starting backups: docs/reference/backup.md §2.

import type { Clock } from "../../base/clock.ts";
import { BlockError } from "../../base/errors.ts";
import { tracePoint } from "../../base/trace.ts";
import { warn } from "../../base/warnings.ts";
import type { OnCbwError } from "../../block/block-copy-notifier.ts";
import type { ErrorPolicy } from "../../block/error-policy.ts";
import type { BlockGraph } from "../../block/graph.ts";
import type { BlockNode } from "../../block/node.ts";
import { BackupAction } from "../../job/backup-action.ts";
import type { BackupOptions, BackupSync, BitmapMode } from "../../job/backup-options.ts";
import type { JobList } from "../../job/job-list.ts";
import {
  bool,
  enumeration,
  extend,
  type Int64,
  int,
  type ObjectType,
  object,
  optional,
  size,
  str,
} from "../schema/types.ts";

const closeFailed = tracePoint("backup_close_failed");

const onError = enumeration("report", "ignore", "enospc", "stop", "auto");

/** What both commands take: QMP's BackupCommon. */
export interface BackupCommon {
  readonly "job-id"?: string;
  readonly device: string;
  readonly sync: BackupSync;
  readonly speed?: Int64;
  readonly bitmap?: string;
  readonly "bitmap-mode"?: BitmapMode;
  readonly compress?: boolean;
  readonly "on-source-error"?: ErrorPolicy;
  readonly "on-target-error"?: ErrorPolicy;
  readonly "on-cbw-error"?: OnCbwError;
  readonly "auto-finalize"?: boolean;
  readonly "auto-dismiss"?: boolean;
  readonly "filter-node-name"?: string;
  readonly "discard-source"?: boolean;
  readonly "x-perf"?: {
    readonly "use-copy-range"?: boolean;
    readonly "max-workers"?: Int64;
    readonly "max-chunk"?: Int64;
    readonly "min-cluster-size"?: Int64;
  };
}

/** What blockdev-backup takes. */
export interface BlockdevBackup extends BackupCommon {
  readonly target: string;
}

/** Members of BackupCommon in the order in which they are looked at, before those of either command. */
export const backupCommon: ObjectType<BackupCommon> = object({
  "job-id": optional(str),
  device: str,
  sync: enumeration("top", "full", "none", "incremental", "bitmap"),
  speed: optional(int),
  bitmap: optional(str),
  "bitmap-mode": optional(enumeration("on-success", "never", "always")),
  compress: optional(bool),
  "on-source-error": optional(onError),
  "on-target-error": optional(onError),
  "on-cbw-error": optional(enumeration("break-guest-write", "break-snapshot")),
  "auto-finalize": optional(bool),
  "auto-dismiss": optional(bool),
  "filter-node-name": optional(str),
  "discard-source": optional(bool),
  "x-perf": optional(
    object({
      "use-copy-range": optional(bool),
      "max-workers": optional(int),
      "max-chunk": optional(int),
      "min-cluster-size": optional(size),
    }),
  ),
});

export const blockdevBackup: ObjectType<BlockdevBackup> = extend(backupCommon, { target: str });

/** What a backup needs of the machine. */
export interface BackupServices {
  readonly graph: BlockGraph;
  readonly jobs: JobList;
  readonly clock: Clock;
}

/** blockdev-backup as an action of a transaction, which it always is, if only of its own. */
export function blockdevBackupAction(services: BackupServices, args: BlockdevBackup): BackupAction {
  const { graph, jobs, clock } = services;
  const options = (): BackupOptions => {
    const source = graph.lookup(args.device);
    const target = graph.lookup(args.target).node;
    const release = (): Promise<void> | undefined => releaseNodes([source.node, target], (node) => graph.release(node));
    return { ...jobOptions(args), source: source.node, sourceDrive: source.drive?.asParent, target, release };
  };
  return new BackupAction("blockdev-backup", jobs, options, clock);
}

/**
 * Lets go of nodes, one after another, that a job may have been the last to use. Undefined where none had to be closed. Of a job
 * that has ended, nobody asks any more how its nodes were closed.
 */
export function releaseNodes(
  nodes: readonly BlockNode[],
  release: (node: BlockNode) => Promise<void> | undefined,
): Promise<void> | undefined {
  let closing: Promise<void> | undefined;
  for (const node of nodes) {
    const next = (): Promise<void> | undefined => release(node)?.catch((error: unknown) => notClosed(node, error));
    closing = closing === undefined ? next() : closing.then(next);
  }
  return closing;
}

function notClosed(node: BlockNode, error: unknown): void {
  if (!(error instanceof BlockError)) throw error;
  warn(`Lost what was not on stable storage while closing node '${node.name}': ${error.message}`);
  if (closeFailed.enabled) closeFailed.emit({ node: node.name, error: error.message });
}

/** What the arguments say of the job itself. */
export function jobOptions(args: BackupCommon): Omit<BackupOptions, "source" | "target"> {
  const perf = args["x-perf"] ?? {};
  return {
    id: args["job-id"],
    sync: args.sync,
    bitmap: args.bitmap,
    bitmapMode: args["bitmap-mode"],
    compress: args.compress,
    discardSource: args["discard-source"],
    speed: args.speed === undefined ? undefined : Number(args.speed),
    onSourceError: args["on-source-error"],
    onTargetError: args["on-target-error"],
    onCbwError: args["on-cbw-error"],
    autoFinalize: args["auto-finalize"],
    autoDismiss: args["auto-dismiss"],
    filterNodeName: args["filter-node-name"],
    maxWorkers: perf["max-workers"] === undefined ? undefined : Number(perf["max-workers"]),
    maxChunkBytes: perf["max-chunk"] === undefined ? undefined : Number(perf["max-chunk"]),
    minClusterSizeBytes: perf["min-cluster-size"] === undefined ? undefined : Number(perf["min-cluster-size"]),
  };
}

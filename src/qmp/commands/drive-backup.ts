// drive-backup: a backup whose target is an image file that it makes, opens and closes itself. docs/reference/backup.md §2.2.

import { backingBelowFilters } from "../../block/filtered-child.ts";
import type { BlockGraph } from "../../block/graph.ts";
import { createImageFile, openImageFile } from "../../block/image-file.ts";
import type { BlockNode } from "../../block/node.ts";
import { BackupAction } from "../../job/backup-action.ts";
import type { BackupOptions, BackupSync } from "../../job/backup-options.ts";
import { enumeration, extend, type ObjectType, optional, str } from "../schema/types.ts";
import { type BackupCommon, type BackupServices, backupCommon, jobOptions, releaseNodes } from "./backup.ts";
import { imageName } from "./query-block-names.ts";

/** What drive-backup takes. */
export interface DriveBackup extends BackupCommon {
  /** A file name. */
  readonly target: string;
  /** The source's by default; of an existing target, that which it has. */
  readonly format?: string;
  readonly mode?: "absolute-paths" | "existing";
}

export const driveBackup: ObjectType<DriveBackup> = extend(backupCommon, {
  target: str,
  format: optional(str),
  mode: optional(enumeration("absolute-paths", "existing")),
});

/**
 * drive-backup as an action of a transaction. A target that it has made stays also if it fails later. The target's node is nobody's
 * but the job's, and is closed when that ends, or has not come to be, before anybody hears of the end.
 */
export function driveBackupAction(services: BackupServices, args: DriveBackup): BackupAction {
  const { graph, jobs, clock } = services;
  return new BackupAction("drive-backup", jobs, () => prepareTarget(graph, args), clock);
}

/** Steps 1 to 6 of the prelude. What it opens it has closed again where it throws. The source is held while files are dealt with. */
async function prepareTarget(graph: BlockGraph, args: DriveBackup): Promise<BackupOptions> {
  const found = graph.lookup(args.device);
  graph.checkOperation(found, "backup-source");
  const source = found.node;
  const letGo = graph.hold(source);
  const release = (node: BlockNode): Promise<void> | undefined => (node === source ? letGo() : graph.release(node));
  try {
    const { sync, target } = await openTarget(graph, source, args);
    return {
      ...jobOptions({ ...args, sync }),
      source,
      sourceDrive: found.drive?.asParent,
      target,
      release: () => releaseNodes([target, source], release),
    };
  } catch (error) {
    await releaseNodes([source], release);
    throw error;
  }
}

/** What it makes stays also if it throws. */
async function openTarget(
  graph: BlockGraph,
  source: BlockNode,
  args: DriveBackup,
): Promise<{ readonly sync: BackupSync; readonly target: BlockNode }> {
  const sync = args.sync === "top" && backingBelowFilters(source) === undefined ? "full" : args.sync;
  const { target: filename, mode = "absolute-paths" } = args;
  const format = args.format ?? (mode === "existing" ? undefined : source.driver.driverName);
  if (mode === "absolute-paths") {
    const backing = newBacking(graph, source, sync);
    await createImageFile(graph, format!, { filename, lengthBytes: source.lengthBytes, backing });
  }
  const target = await openImageFile(graph, {
    filename,
    format,
    backing: sync === "none" ? source : undefined,
    discard: "unmap",
    "detect-zeroes": "unmap",
    cache: { direct: source.settings.cacheDirect, "no-flush": source.settings.cacheNoFlush },
  });
  return { sync, target };
}

/** What a new target stands on: with sync=top on what the source does, with sync=none on the source. */
function newBacking(
  graph: BlockGraph,
  source: BlockNode,
  sync: BackupSync,
): { readonly filename: string; readonly format: string } | undefined {
  const node = sync === "top" ? backingBelowFilters(source) : sync === "none" ? source : undefined;
  return node && { filename: imageName(graph.nodes, node), format: node.driver.driverName };
}

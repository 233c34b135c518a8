// The checks of a backup's arguments, in their order: docs/reference/backup.md §2.2, corrections.md B2.

import { QmpError } from "../base/errors.ts";
import { BITMAP_ALLOW_RO, BITMAP_DEFAULT, checkDirtyBitmap } from "../bitmap/bitmap-check.ts";
import type { DirtyBitmap } from "../bitmap/dirty-bitmap.ts";
import { blockCopyClusterSize } from "../block/block-copy.ts";
import type { BlockNode } from "../block/node.ts";
import type { BackupOptions, BackupSync, BitmapMode } from "./backup-options.ts";

const MAX_WORKERS = 2 ** 31 - 1;
const MAX_INT64 = 2n ** 63n - 1n;

/** What the arguments come to: `incremental` is no mode of its own any more. */
export interface CheckedBackup {
  readonly sync: Exclude<BackupSync, "incremental">;
  readonly bitmap: DirtyBitmap | undefined;
  /** Given with a bitmap. */
  readonly bitmapMode: BitmapMode | undefined;
}

/** Rows 1 to 15. Throws a `QmpError` with QEMU's text. */
export function checkBackup(options: BackupOptions): CheckedBackup {
  const checked = checkSync(options);
  const { source, target, compress = false, maxWorkers, maxChunkBytes = 0 } = options;
  if (source === target) throw new QmpError("Source and target cannot be the same");
  if (compress && target.driver.writeCompressed === undefined)
    throw new QmpError(`Compression is not supported for this drive ${driveIdOf(target)}`);
  checkBlockers(options);
  if (maxWorkers !== undefined && !(Number.isInteger(maxWorkers) && maxWorkers >= 1 && maxWorkers <= MAX_WORKERS))
    throw new QmpError(`max-workers must be between 1 and ${MAX_WORKERS}`);
  if (!(maxChunkBytes >= 0)) throw new QmpError("max-chunk must be zero (which means no limit) or positive");
  const { bitmap, bitmapMode } = checked;
  if (bitmap !== undefined && bitmapMode !== "never") checkDirtyBitmap(bitmap, BITMAP_DEFAULT);
  return checked;
}

/** Rows 18 and 19, as far as they come before the filter. */
export function checkBackupLength({ source, target, minClusterSizeBytes = 0 }: BackupOptions): void {
  if (source.lengthBytes !== target.lengthBytes) throw new QmpError("Source and target image have different sizes");
  if (minClusterSizeBytes >= 2 ** 63)
    throw new QmpError(`min-cluster-size too large: ${BigInt(minClusterSizeBytes)} > ${MAX_INT64}`);
}

/** The rest of row 19: the cluster size of the copy. A `QmpError` where there is none. */
export function backupClusterSize({ target, minClusterSizeBytes = 0 }: BackupOptions): number {
  if (minClusterSizeBytes !== 0 && !isPowerOfTwo(minClusterSizeBytes))
    throw new QmpError(
      "Could not create node: Cannot create block-copy-state: min-cluster-size needs to be a power of 2",
    );
  return blockCopyClusterSize(target, minClusterSizeBytes);
}

/** Row 23. */
export function checkMaxChunk({ maxChunkBytes = 0 }: BackupOptions, clusterSizeBytes: number): void {
  if (maxChunkBytes !== 0 && maxChunkBytes < clusterSizeBytes)
    throw new QmpError(`Required max-chunk (${maxChunkBytes}) is less than backup cluster size (${clusterSizeBytes})`);
}

/** Rows 1 to 8. */
function checkSync(options: BackupOptions): CheckedBackup {
  const { source, sync = "full", bitmap: name, bitmapMode } = options;
  if (sync === "bitmap" || sync === "incremental") {
    if (name === undefined) throw new QmpError(`must provide a valid bitmap name for '${sync}' sync mode`);
    if (sync === "incremental" && (bitmapMode ?? "on-success") !== "on-success")
      throw new QmpError("Bitmap sync mode must be 'on-success' when using sync mode 'incremental'");
  }
  if (name === undefined) {
    if (bitmapMode !== undefined) throw new QmpError("Cannot specify bitmap sync mode without a bitmap");
    return { sync: sync === "incremental" ? "bitmap" : sync, bitmap: undefined, bitmapMode };
  }
  const bitmap = source.bitmaps.find(name);
  if (bitmap === undefined) throw new QmpError(`Bitmap '${name}' could not be found`);
  const mode = sync === "incremental" ? "on-success" : bitmapMode;
  if (mode === undefined) throw new QmpError("Bitmap sync mode must be given when providing a bitmap");
  checkDirtyBitmap(bitmap, BITMAP_ALLOW_RO);
  if (sync === "none") throw new QmpError("sync mode 'none' does not produce meaningful bitmap outputs");
  if (mode === "never" && (sync === "full" || sync === "top"))
    throw new QmpError(`Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '${sync}'`);
  return { sync: sync === "incremental" ? "bitmap" : sync, bitmap, bitmapMode: mode };
}

/** Row 12. A source is blocked only for those who mean it by the drive on top of it: corrections.md §1. */
function checkBlockers({ source, sourceDrive, target }: BackupOptions): void {
  const cover = sourceDrive === undefined ? undefined : source.parentEdge(sourceDrive).coveredBy;
  const ofDrive = cover?.parent.opBlocker?.reason;
  if (ofDrive !== undefined) throw new QmpError(`Node '${sourceDrive?.driveId}' is busy: ${ofDrive}`);
  const ofSource = source.opBlockers.reason("backup-source");
  if (ofSource !== undefined) throw new QmpError(`Node '${driveIdOf(source) || source.name}' is busy: ${ofSource}`);
  const ofTarget = target.opBlockers.reason("backup-target");
  if (ofTarget !== undefined) throw new QmpError(`Node '${driveIdOf(target) || target.name}' is busy: ${ofTarget}`);
}

/** The id of the drive on top of a node; "" where there is none. */
export function driveIdOf(node: BlockNode): string {
  for (const { driveId } of node.parents) if (driveId !== undefined) return driveId;
  return "";
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}

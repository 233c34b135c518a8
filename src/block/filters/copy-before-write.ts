// copy-before-write: a filter that copies what is about to change to a target. docs/reference/backup.md §4.4, §5.

import { type Clock, systemClock } from "../../base/clock.ts";
import { BlockError, QmpError } from "../../base/errors.ts";
import type { IoVector } from "../../base/io-vector.ts";
import { BITMAP_ALLOW_RO, checkDirtyBitmap } from "../../bitmap/bitmap-check.ts";
import type { DirtyBitmap } from "../../bitmap/dirty-bitmap.ts";
import { BlockCopy, blockCopyClusterSize } from "../block-copy.ts";
import type { OnCbwError } from "../block-copy-notifier.ts";
import { blockStatusThrough } from "../block-status.ts";
import type { BlockDriver, BlockStatus, ChildRole, DriverChild, WriteZeroesOptions } from "../driver.ts";
import type { BlockNode } from "../node.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_RESIZE, PERM_WRITE, type Permissions } from "../permissions.ts";
import type { SnapshotSource } from "../snapshot-source.ts";
import { CopySnapshot } from "./copy-snapshot.ts";

/** As long as a timer can be set. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export interface CopyBeforeWriteOptions {
  readonly file: BlockNode;
  readonly target: BlockNode;
  /** What is to be kept; everything by default. */
  readonly bitmap?: DirtyBitmap | undefined;
  readonly onCbwError?: OnCbwError;
  /** A copy that takes longer counts as failed; 0 for no limit. */
  readonly cbwTimeoutSeconds?: number;
  /** 0 or a power of two. */
  readonly minClusterSizeBytes?: number;
  readonly clock?: Clock;
}

/**
 * The filter. Whatever changes a cluster of `file` that belongs to the snapshot waits until its old content is on `target`, and
 * until nobody reads it from `file` as part of the snapshot. Reads and flushes pass.
 *
 * A copy that fails, or takes too long, fails the request with its errno and leaves the cluster to be copied; or, by
 * `break-snapshot`, lets it pass and gives the snapshot up. One that takes too long goes on all the same.
 */
export class CopyBeforeWriteDriver implements BlockDriver {
  readonly driverName: string = "copy-before-write";
  readonly readOnly: boolean = false;
  readonly children: readonly DriverChild[];
  readonly #file: BlockNode;
  readonly #copy: BlockCopy;
  readonly #snapshot: CopySnapshot;
  readonly #onCbwError: OnCbwError;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  /** Copies that took too long, and go on. */
  readonly #late = new Set<Promise<void>>();
  #snapshotError: BlockError | undefined;

  /** Throws a `QmpError` with QEMU's text. */
  constructor(options: CopyBeforeWriteOptions) {
    const { file, target, clock = systemClock } = options;
    this.children = [
      { role: "file", node: file },
      { role: "target", node: target },
    ];
    this.#file = file;
    this.#onCbwError = options.onCbwError ?? "break-guest-write";
    this.#timeoutMs = Math.min((options.cbwTimeoutSeconds ?? 0) * 1000, MAX_TIMEOUT_MS);
    this.#clock = clock;
    const clusterSizeBytes = clusterSize(target, options.minClusterSizeBytes ?? 0);
    this.#copy = new BlockCopy({ source: file, target, clusterSizeBytes, clock });
    markWhatToKeep(this.#copy, options.bitmap);
    this.#snapshot = new CopySnapshot(this.#copy);
  }

  get lengthBytes(): number {
    return this.#file.lengthBytes;
  }

  get clusterSizeBytes(): number | undefined {
    return this.#file.driver.clusterSizeBytes;
  }

  get snapshot(): SnapshotSource {
    return this.#snapshot;
  }

  /** Of `break-snapshot`: why the snapshot was given up. */
  get snapshotError(): BlockError | undefined {
    return this.#snapshotError;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#file.read(offsetBytes, vector);
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const waiting = this.#beforeChange(offsetBytes, vector.byteLength);
    if (waiting === undefined) return this.#file.write(offsetBytes, vector);
    return waiting.then(() => {
      if (vector.abandoned) throw new BlockError("ECANCELED");
      return this.#file.write(offsetBytes, vector);
    });
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    const waiting = this.#beforeChange(offsetBytes, lengthBytes);
    if (waiting === undefined) return this.#file.writeZeroes(offsetBytes, lengthBytes, options);
    return waiting.then(() => this.#file.writeZeroes(offsetBytes, lengthBytes, options));
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    const waiting = this.#beforeChange(offsetBytes, lengthBytes);
    if (waiting === undefined) return this.#file.discard(offsetBytes, lengthBytes);
    return waiting.then(() => this.#file.discard(offsetBytes, lengthBytes));
  }

  flush(): void | Promise<void> {
    return this.#file.flush();
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    return blockStatusThrough(this.#file, offsetBytes, lengthBytes);
  }

  resize(lengthBytes: number): Promise<void> {
    return this.#file.resize(lengthBytes);
  }

  async close(): Promise<void> {}

  untilIdle(): Promise<void> | undefined {
    if (this.#late.size === 0) return undefined;
    return Promise.all(this.#late).then(() => {});
  }

  /** As long as nobody uses the filter, others may write below it. */
  childPermissions(role: ChildRole, asked: Permissions, parents: number): Permissions {
    if (role === "target") return { needs: PERM_WRITE, shares: PERM_ALL & ~PERM_RESIZE };
    if (parents === 0) return asked;
    return { needs: asked.needs | PERM_CONSISTENT_READ, shares: asked.shares & ~(PERM_WRITE | PERM_RESIZE) };
  }

  /** Done when the range may change. */
  #beforeChange(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    const copying = this.#copyBefore(offsetBytes, lengthBytes);
    if (copying !== undefined) return copying.then(() => this.#untilReadable(offsetBytes, lengthBytes));
    if (this.#snapshot.untilReadable(offsetBytes, lengthBytes) !== undefined)
      return this.#untilReadable(offsetBytes, lengthBytes);
  }

  async #untilReadable(offsetBytes: number, lengthBytes: number): Promise<void> {
    for (;;) {
      const reader = this.#snapshot.untilReadable(offsetBytes, lengthBytes);
      if (reader === undefined) return;
      await reader;
    }
  }

  #copyBefore(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    if (this.#snapshotError !== undefined) return;
    let copying: undefined | Promise<undefined>;
    try {
      copying = this.#copy.copyForGuest(offsetBytes, lengthBytes);
    } catch (error) {
      return this.#failed(error);
    }
    if (copying !== undefined) return this.#inTime(copying).catch((error: unknown) => this.#failed(error));
  }

  #failed(error: unknown): void {
    if (!(error instanceof BlockError) || this.#onCbwError === "break-guest-write") throw error;
    this.#snapshotError ??= error;
    this.#snapshot.break();
  }

  /** A copy, or ETIMEDOUT. */
  #inTime(copying: Promise<undefined>): Promise<undefined> {
    if (this.#timeoutMs === 0) return copying;
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.setTimer(this.#timeoutMs, () => {
        this.#goesOn(copying);
        reject(new BlockError("ETIMEDOUT"));
      });
      copying.then(resolve, reject).finally(cancel);
    });
  }

  /** Nobody waits for the copy any more; how it ends says the copy bitmap. */
  #goesOn(copying: Promise<undefined>): void {
    const late = copying
      .then(
        () => {},
        (error: unknown) => {
          if (!(error instanceof BlockError)) throw error;
        },
      )
      .finally(() => this.#late.delete(late));
    this.#late.add(late);
  }
}

function clusterSize(target: BlockNode, minClusterSizeBytes: number): number {
  const isPowerOfTwo = Number.isInteger(Math.log2(minClusterSizeBytes));
  if (minClusterSizeBytes !== 0 && !isPowerOfTwo)
    throw new QmpError("Cannot create block-copy-state: min-cluster-size needs to be a power of 2");
  return blockCopyClusterSize(target, minClusterSizeBytes);
}

function markWhatToKeep(copy: BlockCopy, bitmap: DirtyBitmap | undefined): void {
  if (bitmap === undefined) return copy.dirty.set(0, copy.lengthBytes);
  try {
    checkDirtyBitmap(bitmap, BITMAP_ALLOW_RO);
    if (bitmap.sizeBytes !== copy.lengthBytes) {
      const sizes = `destination size is ${copy.lengthBytes}, source size is ${bitmap.sizeBytes}`;
      throw new QmpError(`Bitmaps are of different sizes (${sizes}) and can't be merged`);
    }
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    const what = `Failed to merge bitmap '${bitmap.name}' to internal copy-bitmap`;
    throw new QmpError(`Cannot create block-copy-state: ${what}: ${error.message}`);
  }
  copy.dirty.merge(bitmap.bits);
}

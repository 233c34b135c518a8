// The snapshot that a copy-before-write filter keeps: docs/reference/backup.md §5.

import { assert } from "../../base/assert.ts";
import { BlockError } from "../../base/errors.ts";
import { IoVector } from "../../base/io-vector.ts";
import { HierarchicalBitmap } from "../../bitmap/hierarchical-bitmap.ts";
import type { BlockCopy } from "../block-copy.ts";
import { blockStatusAbove } from "../block-status.ts";
import type { BlockStatus } from "../driver.ts";
import type { BlockNode } from "../node.ts";
import type { SnapshotSource } from "../snapshot-source.ts";
import { HeldRanges } from "./held-ranges.ts";

/**
 * What was there when the filter was made, of all that its copy bitmap had then. A cluster that was copied is read from the target,
 * any other from the source, and guests' writes to it wait for that (`untilReadable`). A cluster whose copy is under way is still
 * the old one in the source.
 */
export class CopySnapshot implements SnapshotSource {
  readonly #copy: BlockCopy;
  /** What belongs to the snapshot. */
  readonly #access: HierarchicalBitmap;
  readonly #held = new HeldRanges();
  #broken = false;

  /** `copy.dirty` holds what belongs to the snapshot. */
  constructor(copy: BlockCopy) {
    this.#copy = copy;
    this.#access = new HierarchicalBitmap(copy.lengthBytes, copy.clusterSizeBytes);
    this.#access.merge(copy.dirty);
  }

  get lengthBytes(): number {
    return this.#copy.lengthBytes;
  }

  /** Something was changed that was not copied: nothing can be read any more. */
  break(): void {
    this.#broken = true;
  }

  /** Undefined when nobody reads the range from the source just now; else a promise to ask again after. */
  untilReadable(offsetBytes: number, lengthBytes: number): Promise<void> | undefined {
    return this.#held.untilFree(offsetBytes, lengthBytes);
  }

  async read(offsetBytes: number, vector: IoVector): Promise<void> {
    const end = offsetBytes + vector.byteLength;
    const piece = new IoVector(vector.bytes);
    for (let at = offsetBytes; at < end; ) {
      const run = this.#run(at, end);
      piece.slice(vector, at - offsetBytes, run.end - at);
      const from = run.node;
      await this.#reading(run, () => from.read(run.start, piece));
      at = run.end;
    }
  }

  async blockStatus(offsetBytes: number, lengthBytes: number): Promise<BlockStatus> {
    const run = this.#run(offsetBytes, offsetBytes + lengthBytes);
    return this.#reading(run, () => blockStatusAbove(run.node, undefined, run.start, run.end - run.start));
  }

  async discard(offsetBytes: number, lengthBytes: number): Promise<void> {
    const { clusterSizeBytes: cluster, lengthBytes: length } = this.#copy;
    const first = Math.ceil(offsetBytes / cluster) * cluster;
    const end = offsetBytes + lengthBytes;
    const last = end === length ? end : Math.floor(end / cluster) * cluster;
    if (first >= last) return;
    this.#access.reset(first, last - first);
    this.#copy.dirty.reset(first, last - first);
    await this.#copy.target.discard(first, last - first);
  }

  /** What of a range is in one place, from its start on. */
  #run(start: number, end: number): SnapshotRun {
    const { dirty, tasks, target, source } = this.#copy;
    if (this.#broken || !this.#access.get(start)) throw new BlockError("EACCES");
    const denied = this.#access.nextZero(start, end - start);
    const limit = denied < 0 ? end : denied;
    const old = dirty.get(start) || tasks.overlapping(start, start + 1) !== undefined;
    let to = this.#clusterEnd(start, limit);
    while (to < limit && (dirty.get(to) || tasks.overlapping(to, to + 1) !== undefined) === old)
      to = this.#clusterEnd(to, limit);
    assert(to > start, "snapshot: an empty run");
    return { start, end: to, node: old ? source : target, old };
  }

  #clusterEnd(at: number, limit: number): number {
    const { clusterSizeBytes: cluster } = this.#copy;
    return Math.min((Math.floor(at / cluster) + 1) * cluster, limit);
  }

  async #reading<T>(run: SnapshotRun, action: () => T | Promise<T>): Promise<T> {
    if (!run.old) return action();
    return this.#held.during(run.start, run.end - run.start, action);
  }
}

interface SnapshotRun {
  readonly start: number;
  readonly end: number;
  readonly node: BlockNode;
  /** It is still to be copied. */
  readonly old: boolean;
}

// The engine that copies a node as it was at one moment while guests change it: docs/reference/backup.md §4.1 to §4.4, §4.9.

import { assert } from "../base/assert.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { RateLimit } from "../base/rate-limit.ts";
import { WaitList } from "../base/wait-list.ts";
import { DirtyArea, HierarchicalBitmap } from "../bitmap/hierarchical-bitmap.ts";
import type { BeforeWriteNotifier } from "./before-write-notifier.ts";
import { GuestCopy } from "./block-copy-guest.ts";
import type { BlockCopyOptions, ClustersCopied } from "./block-copy-options.ts";
import { CopyPace } from "./block-copy-pace.ts";
import { CopySteps } from "./block-copy-steps.ts";
import { CopyTask, CopyTasks } from "./block-copy-task.ts";
import { backingOf, blockStatusAbove } from "./block-status.ts";
import type { BlockStatus } from "./driver.ts";
import type { BlockNode } from "./node.ts";

/** The least that is copied at once, unless the target has larger clusters: docs/reference/backup.md §4.2. */
const MIN_CLUSTER_BYTES = 64 * 1024;
/** The most that is one task: what is limited, reported and given back as a whole. */
const MAX_TASK_BYTES = 1024 * 1024;

/** The cluster of a copy to `target`: §4.2. A target without clusters of its own has none to respect. */
export function blockCopyClusterSize(target: BlockNode, minClusterSizeBytes = 0): number {
  return Math.max(MIN_CLUSTER_BYTES, minClusterSizeBytes, target.driver.clusterSizeBytes ?? 0);
}

/**
 * Copies the clusters that the copy bitmap `dirty` still holds, each once, on behalf of two kinds of callers: a background
 * loop (`BackgroundCopy`) and guests' writes, which must not change a cluster before it is on the target (`copyForGuest`).
 *
 * A task takes its clusters out of the bitmap when it begins and holds them while they are in flight. If it fails, they go
 * back, and whoever comes next tries again. Who needs a cluster that is in flight waits for its task and then looks again.
 * So every cluster has at each moment one of three places: in the bitmap, in a task, or done.
 *
 * On drivers that complete at once a guest's copy completes at once too, without a promise. Reads of the source wait for no
 * serialising request there: a guest's write that waits for this copy may be one.
 *
 * The size is fixed at the beginning: what a longer source holds later was not there then.
 */
export class BlockCopy {
  readonly source: BlockNode;
  readonly target: BlockNode;
  readonly clusterSizeBytes: number;
  readonly lengthBytes: number;
  /** What is still to be copied and in nobody's hands. Begins clean: the caller marks what belongs to the copy. */
  readonly dirty: HierarchicalBitmap;
  readonly tasks: CopyTasks = new CopyTasks();
  readonly clusters: ClustersCopied = { background: 0, guest: 0 };
  readonly pace: CopyPace = new CopyPace();
  readonly clock: Clock;
  /** What stands between guests and the source on behalf of this copy, while it does. */
  notifier: BeforeWriteNotifier | undefined;
  /** Guests' copies count, but do not wait for it. */
  readonly limit: RateLimit;
  /**
   * What the source's own layer does not hold is not copied; it does not belong to the copy. Looked at when a task's range is:
   * while it is not yet known everywhere (`dropUnallocated`), or for good.
   */
  skipUnallocated = false;
  readonly #maxTaskBytes: number;
  readonly #steps: CopySteps;
  readonly #area = new DirtyArea();
  #finishedBytes = 0;
  #guests = 0;
  #stopped = false;
  readonly #noGuests = new WaitList();

  constructor(options: BlockCopyOptions) {
    const { source, target, clusterSizeBytes, maxChunkBytes = MAX_TASK_BYTES, clock = systemClock } = options;
    this.source = source;
    this.target = target;
    this.clusterSizeBytes = clusterSizeBytes;
    this.lengthBytes = source.lengthBytes;
    this.dirty = new HierarchicalBitmap(this.lengthBytes, clusterSizeBytes);
    this.clock = clock;
    this.limit = new RateLimit(clock);
    this.#maxTaskBytes = this.#up(Math.max(Math.min(maxChunkBytes, MAX_TASK_BYTES), 1));
    this.#steps = new CopySteps(this, options);
  }

  /** Copied so far, in whole clusters. */
  get finishedBytes(): number {
    return this.#finishedBytes;
  }

  /** To be copied or in flight, in whole clusters. */
  get remainingBytes(): number {
    return this.dirty.countBytes + this.tasks.bytes;
  }

  /** `stop` was called. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /**
   * Sees to it that a guest may change a range: when it is done, every cluster that the range touches is on the target, or
   * need not be there. A `BlockError`, thrown or rejected, says that one could not be copied; it is then still to be copied.
   */
  copyForGuest(offsetBytes: number, lengthBytes: number): undefined | Promise<undefined> {
    this.pace.noteGuest();
    const start = this.#down(offsetBytes);
    const end = this.#up(offsetBytes + lengthBytes);
    if (!this.concerns(start, end)) return undefined;
    const guest = new GuestCopy(this, start, end);
    for (;;) {
      const pending = guest.step();
      if (guest.done) return undefined;
      if (pending !== undefined) return this.#copyForGuestLater(guest, pending);
    }
  }

  /** True while something in a range of whole clusters is to be copied or in flight. */
  concerns(start: number, end: number): boolean {
    return this.tasks.overlapping(start, end) !== undefined || this.dirty.nextDirty(start, end - start) >= 0;
  }

  /** Takes the first run of clusters in `[start, end)` that are to be copied, a chunk at most; undefined if there is none. */
  begin(start: number, end: number, forGuest: boolean): CopyTask | undefined {
    const maxBytes = forGuest ? this.#up(MAX_TASK_BYTES) : this.#maxTaskBytes;
    if (!this.dirty.nextDirtyArea(start, end, maxBytes, this.#area)) return undefined;
    const task = new CopyTask(this.#area.offset, this.#up(this.#area.length), forGuest);
    this.dirty.reset(task.offsetBytes, task.lengthBytes);
    this.tasks.add(task);
    return task;
  }

  /**
   * Looks at what stands at `offsetBytes`, the start of a cluster, in the source's own layer, and takes out of the copy the
   * clusters from there on of which that layer holds nothing. Returns where to look next. A `BlockError`, thrown or rejected, if
   * the layer does not tell.
   */
  async dropUnallocated(offsetBytes: number): Promise<number> {
    const clusterEnd = Math.min(offsetBytes + this.clusterSizeBytes, this.lengthBytes);
    for (let at = offsetBytes; ; ) {
      const status = await blockStatusAbove(this.source, backingOf(this.source), at, this.lengthBytes - at);
      const end = at + status.lengthBytes;
      if (status.allocated) return Math.max(this.#up(end), clusterEnd);
      at = end;
      if (end < clusterEnd) continue;
      const dropEnd = end === this.lengthBytes ? end : this.#down(end);
      const task = this.tasks.overlapping(offsetBytes, dropEnd);
      if (task !== undefined) {
        // What a task gives back would be in the copy again.
        await task.untilChanged();
        return offsetBytes;
      }
      this.dirty.reset(offsetBytes, dropEnd - offsetBytes);
      return dropEnd;
    }
  }

  /** Where the disk or the task ends. */
  ioEnd(task: CopyTask): number {
    return Math.min(task.endBytes, this.lengthBytes);
  }

  /** The first step of a task that has begun: finds out what its range holds and keeps as much of it as is the same. */
  prepare(task: CopyTask): void | Promise<void> {
    assert(task.phase === "status", "copy task: prepared twice");
    const base = this.skipUnallocated ? backingOf(this.source) : undefined;
    let status: BlockStatus | Promise<BlockStatus>;
    try {
      status = blockStatusAbove(this.source, base, task.offsetBytes, this.ioEnd(task) - task.offsetBytes);
    } catch (error) {
      return this.#withoutStatus(task, error);
    }
    if (!(status instanceof Promise)) return this.#withStatus(task, status);
    return status.then(
      (answer) => this.#withStatus(task, answer),
      (error: unknown) => this.#withoutStatus(task, error),
    );
  }

  /** Carries a task out and ends it. Whether it succeeded is told by `task.failure`; an I/O error is not thrown. */
  run(task: CopyTask): void | Promise<void> {
    while (!this.#isOver(task)) {
      const pending = this.#tryStep(task);
      if (pending !== undefined) return this.#runLater(task, pending);
    }
    return this.#end(task);
  }

  /** Ends a task that has not been run: its clusters are to be copied as before. */
  giveBack(task: CopyTask): void {
    this.dirty.set(task.offsetBytes, task.lengthBytes);
    this.tasks.remove(task);
    task.wake();
  }

  /** The copy is of no use any more: guests wait for nothing but what is in flight, and errors are not theirs. */
  stop(): void {
    this.#stopped = true;
  }

  /** Resolves when no task is in flight and no guest is waiting. */
  async untilIdle(): Promise<void> {
    for (;;) {
      const task = this.tasks.overlapping(0, this.#up(this.lengthBytes));
      if (task !== undefined) await task.untilChanged();
      else if (this.#guests > 0) await this.#noGuests.wait();
      else return;
    }
  }

  async #copyForGuestLater(guest: GuestCopy, first: Promise<void>): Promise<undefined> {
    this.#guests++;
    try {
      for (let pending: void | Promise<void> = first; ; pending = guest.step()) {
        if (guest.done) return undefined;
        if (pending !== undefined) await pending;
      }
    } finally {
      this.#guests--;
      if (this.#guests === 0) this.#noGuests.wake();
    }
  }

  async #runLater(task: CopyTask, first: Promise<void>): Promise<void> {
    let pending: void | Promise<void> = first;
    for (;;) {
      try {
        if (pending !== undefined) await pending;
      } catch (error) {
        task.fail(error);
      }
      if (this.#isOver(task)) return this.#end(task);
      pending = this.#tryStep(task);
    }
  }

  /** Guests change what they like once the copy has stopped: what was not yet touched is no longer what it was. */
  #isOver(task: CopyTask): boolean {
    return task.ended || (this.#stopped && task.untouched);
  }

  #tryStep(task: CopyTask): void | Promise<void> {
    try {
      return this.#steps.step(task);
    } catch (error) {
      return task.fail(error);
    }
  }

  #withStatus(task: CopyTask, status: BlockStatus): void {
    const whole = status.lengthBytes >= this.ioEnd(task) - task.offsetBytes;
    const length = whole ? task.lengthBytes : this.#down(status.lengthBytes);
    if (this.skipUnallocated && !status.allocated && length > 0) task.phase = "skipped";
    else task.phase = status.zero && length > 0 ? "zeroes" : "read";
    this.#shrink(task, Math.max(length, this.clusterSizeBytes));
    task.tracePrepared();
  }

  /** Nobody knows what is there: reading will tell. Anything but an I/O error is thrown again. */
  #withoutStatus(task: CopyTask, error: unknown): void {
    task.fail(error);
    task.failure = undefined;
    task.phase = "read";
    this.#shrink(task, this.clusterSizeBytes);
    task.tracePrepared();
  }

  #shrink(task: CopyTask, lengthBytes: number): void {
    if (lengthBytes === task.lengthBytes) return;
    this.dirty.set(task.offsetBytes + lengthBytes, task.lengthBytes - lengthBytes);
    task.lengthBytes = lengthBytes;
    task.wake();
  }

  #end(task: CopyTask): void {
    this.#steps.release(task);
    if (task.failure !== undefined || !task.ended) return this.giveBack(task);
    if (task.phase === "done") {
      this.#finishedBytes += task.lengthBytes;
      this.clusters[task.forGuest ? "guest" : "background"] += task.lengthBytes / this.clusterSizeBytes;
    }
    this.tasks.remove(task);
    task.wake();
  }

  #down(bytes: number): number {
    return Math.floor(bytes / this.clusterSizeBytes) * this.clusterSizeBytes;
  }

  #up(bytes: number): number {
    return Math.ceil(bytes / this.clusterSizeBytes) * this.clusterSizeBytes;
  }
}

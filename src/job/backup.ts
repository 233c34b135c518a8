// The backup job: copies a node to another one as it was when the job began. docs/reference/backup.md §2 to §4.

import { type Clock, systemClock } from "../base/clock.ts";
import { QmpError } from "../base/errors.ts";
import { InterruptibleSleep } from "../base/interruptible-sleep.ts";
import { BlockCopy } from "../block/block-copy.ts";
import { BackgroundCopy } from "../block/block-copy-loop.ts";
import { BlockCopyNotifier } from "../block/block-copy-notifier.ts";
import type { ClustersCopied } from "../block/block-copy-options.ts";
import type { CopyFailure } from "../block/block-copy-task.ts";
import type { NodeParent } from "../block/drain.ts";
import { Interception } from "../block/interception.ts";
import { BackupBitmap } from "./backup-bitmap.ts";
import { backupClusterSize, checkBackup, checkBackupLength, checkMaxChunk, driveIdOf } from "./backup-check.ts";
import type { BackupOptions, BackupSync } from "./backup-options.ts";
import type { Job } from "./job.ts";
import type { JobDriver, JobProgress } from "./job-driver.ts";
import type { JobList } from "./job-list.ts";
import type { JobTransaction } from "./job-transaction.ts";

/**
 * A backup. From its making on, guests' writes to what it copies wait until the old data under them are on the target; the
 * background loop copies the rest. With sync=none there is no loop: the job serves guests until it is cancelled.
 *
 * Its moment T0 is that of its making, which is why the source must be drained then. Success means that the target holds
 * what the source held at T0, as far as the mode covers it. After an error or a cancel what the target holds is undefined.
 *
 * What it holds it has taken in this order, and gives back in the other one on every way out: the bitmap, the filter's name,
 * permissions on source and target (`Interception`), the job, the job as a parent of both nodes, the notifier.
 */
export class Backup implements JobDriver {
  readonly jobType: string = "backup";
  readonly job: Job;
  readonly #sync: Exclude<BackupSync, "incremental">;
  readonly #options: BackupOptions;
  readonly #copy: BlockCopy;
  readonly #notifier: BlockCopyNotifier;
  readonly #sourceParent: NodeParent;
  readonly #sleep: InterruptibleSleep;
  readonly #bitmap: BackupBitmap | undefined;
  readonly #giveBackFilter: () => void;
  #installed = true;
  #scannedTo = 0;
  #pass: BackgroundCopy | undefined;

  /**
   * In a drained section of the source, in which the job is also started or cancelled. It joins `transaction`, or one of its
   * own. Throws a `QmpError`, and has then changed nothing.
   */
  constructor(jobs: JobList, options: BackupOptions, clock: Clock = systemClock, transaction?: JobTransaction) {
    const { source, target, maxChunkBytes = 0, onCbwError } = options;
    const undo: (() => void)[] = [];
    this.#options = options;
    this.#sleep = new InterruptibleSleep(clock);
    const { sync, bitmap, bitmapMode } = checkBackup(options);
    this.#sync = sync;
    let interception: Interception;
    try {
      if (bitmap !== undefined) {
        const held = new BackupBitmap(source.bitmaps, bitmap, bitmapMode ?? "on-success");
        undo.push(() => held.giveBack());
        this.#bitmap = held;
      }
      checkBackupLength(options);
      const made = new Interception({
        filterName: this.#takeFilterName(jobs, undo),
        source,
        target,
        discardSource: options.discardSource,
        reason: `block device is in use by block job: ${this.jobType}`,
      });
      undo.push(() => made.remove());
      interception = made;
      interception.attachTarget();
      const clusterSizeBytes = backupClusterSize(options);
      interception.coverSource();
      checkMaxChunk(options, clusterSizeBytes);
      this.#copy = new BlockCopy({
        source,
        target,
        clusterSizeBytes,
        clock,
        discardSource: options.discardSource === true,
        compress: options.compress === true,
        ...(maxChunkBytes === 0 ? {} : { maxChunkBytes }),
      });
      this.job = this.#createJob(jobs, interception, transaction);
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
    this.#giveBackFilter = () => {
      for (const step of undo.slice(bitmap === undefined ? 0 : 1).reverse()) step();
    };
    if (sync === "bitmap") this.#copy.dirty.merge(bitmap!.bits);
    else this.#copy.dirty.set(0, source.lengthBytes);
    this.#copy.skipUnallocated = sync === "top";
    this.#sourceParent = this.job.asNodeParent();
    source.attachParent(this.#sourceParent);
    this.#notifier = new BlockCopyNotifier(this.#copy, interception, this.#sourceParent, onCbwError);
    this.#notifier.install();
  }

  /** docs/reference/backup.md §4.6. */
  get progress(): JobProgress {
    const current = this.#copy.finishedBytes;
    return { current, total: current + this.#copy.remainingBytes };
  }

  /** It sleeps, because of its limit of speed or until it is cancelled. */
  get idle(): boolean {
    return this.#sleep.sleeping || this.#pass?.sleeping === true;
  }

  /** Clusters of `clusterSizeBytes` that the background loop and guests' writes have copied. */
  get clustersCopied(): Readonly<ClustersCopied> {
    return this.#copy.clusters;
  }

  get clusterSizeBytes(): number {
    return this.#copy.clusterSizeBytes;
  }

  async run(job: Job): Promise<void> {
    try {
      await this.#work(job);
      if (!job.cancelled) return;
    } catch (error) {
      await this.#giveUp();
      throw error;
    }
    await this.#giveUp();
  }

  interrupt(): void {
    this.#pass?.cancel();
    this.#sleep.wake();
  }

  setSpeed(bytesPerSecond: number): void {
    this.#copy.limit.bytesPerSecond = bytesPerSecond;
    this.#pass?.kick();
  }

  commit(): void {
    this.#bitmap?.succeed();
  }

  abort(): void {
    // Of a job that never started nothing shall remain.
    if (this.job.started) this.#bitmap?.fail(this.#copy.dirty);
    else this.#bitmap?.giveBack();
  }

  clean(): void | Promise<void> {
    const { source } = this.#copy;
    this.#uninstall();
    this.#copy.stop();
    this.#notifier.release();
    source.detachParent(this.#sourceParent);
    this.#giveBackFilter();
    return this.#options.release?.();
  }

  /** Row 24 of §2.2. The job's own permissions and its speed are looked at when there is a job already. */
  #createJob(jobs: JobList, interception: Interception, transaction: JobTransaction | undefined): Job {
    const { id, source, speed = 0, autoFinalize = true, autoDismiss = true } = this.#options;
    const job = jobs.create({ id: id ?? driveIdOf(source), driver: this, autoFinalize, autoDismiss, transaction });
    try {
      interception.activate();
      job.setSpeed(speed);
    } catch (error) {
      job.abandon();
      throw error;
    }
    return job;
  }

  #takeFilterName(jobs: JobList, undo: (() => void)[]): string {
    try {
      const name = jobs.filterNames.take(this.#options.filterNodeName);
      undo.push(() => jobs.filterNames.release(name));
      return name;
    } catch (error) {
      throw error instanceof QmpError ? new QmpError(`Could not create node: ${error.message}`) : error;
    }
  }

  async #work(job: Job): Promise<void> {
    if (this.#sync === "none") return this.#serve(job);
    if (this.#sync === "top") await this.#scan(job);
    return this.#copyAll(job);
  }

  /** sync=none: guests' writes do all there is to do. */
  async #serve(job: Job): Promise<void> {
    while (!job.cancelled) {
      const paused = job.pausePoint();
      await (paused ?? this.#sleep.sleep());
    }
  }

  /** sync=top: finds out what belongs to the copy. An error fails the job, whatever its policies. */
  async #scan(job: Job): Promise<void> {
    const copy = this.#copy;
    while (this.#scannedTo < copy.lengthBytes) {
      const paused = job.pausePoint();
      if (paused !== undefined) await paused;
      if (job.cancelled) return;
      await copy.clock.yield();
      this.#scannedTo = await copy.dropUnallocated(this.#scannedTo);
    }
    copy.skipUnallocated = false;
  }

  /** One pass after another until one is neither interrupted by a pause nor by an error or a cancel: §4.7. */
  async #copyAll(job: Job): Promise<void> {
    for (;;) {
      const paused = job.pausePoint();
      if (paused !== undefined) await paused;
      if (job.cancelled) return;
      const pass = new BackgroundCopy(this.#copy, this.#options.maxWorkers);
      this.#pass = pass;
      // Whoever started or resumed the job goes on before it does, and so does everybody before an ignored error comes again.
      await this.#copy.clock.yield();
      const outcome = await pass.run();
      this.#pass = undefined;
      if (outcome === "finished") return;
      if (outcome === "failed") this.#handleFailure(job, pass.failure!);
    }
  }

  #handleFailure(job: Job, { operation, error }: CopyFailure): void {
    const { onSourceError = "report", onTargetError = "report" } = this.#options;
    const action = job.handleError(operation, error, operation === "read" ? onSourceError : onTargetError);
    if (action === "report") throw error;
  }

  /** The target is of no use any more: lets guests go on, and waits for what they have in flight. */
  async #giveUp(): Promise<void> {
    this.#uninstall();
    this.#copy.stop();
    await this.#copy.untilIdle();
  }

  #uninstall(): void {
    if (!this.#installed) return;
    this.#installed = false;
    this.#notifier.remove();
  }
}

// The backup job: copies a node to another one as it was when the job began. docs/reference/backup.md §2 to §4.

import { type Clock, systemClock } from "../base/clock.ts";
import { BlockCopy, type ClustersCopied } from "../block/block-copy.ts";
import { BackgroundCopy } from "../block/block-copy-loop.ts";
import { BlockCopyNotifier } from "../block/block-copy-notifier.ts";
import type { NodeParent } from "../block/drain.ts";
import { type BackupOptions, checkBackup } from "./backup-options.ts";
import type { Job } from "./job.ts";
import type { JobDriver, JobProgress } from "./job-driver.ts";
import type { JobList } from "./job-list.ts";

/**
 * A backup with sync=full. From its making on, guests' writes to the source wait until the old data under them are on the
 * target; the background loop copies the rest.
 *
 * Its moment T0 is that of its making, which is why the source must be drained then. Success means that the target holds
 * what the source held at T0. After an error or a cancel what the target holds is undefined.
 */
export class Backup implements JobDriver {
  readonly jobType: string = "backup";
  readonly job: Job;
  readonly #copy: BlockCopy;
  readonly #notifier: BlockCopyNotifier;
  readonly #sourceParent: NodeParent;
  readonly #maxWorkers: number | undefined;
  #installed = true;
  #pass: BackgroundCopy | undefined;

  /**
   * In a drained section of the source, in which the job is also started or cancelled. Throws a `QmpError`, and has then done
   * nothing.
   */
  constructor(jobs: JobList, options: BackupOptions, clock: Clock = systemClock) {
    const { id, source, target, maxChunkBytes = 0 } = options;
    const clusterSizeBytes = checkBackup(options);
    jobs.checkId(id);
    this.#maxWorkers = options.maxWorkers;
    const limit = maxChunkBytes === 0 ? {} : { maxChunkBytes };
    this.#copy = new BlockCopy({ source, target, clusterSizeBytes, clock, ...limit });
    this.#copy.dirty.set(0, source.lengthBytes);
    this.job = jobs.create({
      id,
      driver: this,
      autoFinalize: options.autoFinalize ?? true,
      autoDismiss: options.autoDismiss ?? true,
    });
    this.#sourceParent = this.job.asNodeParent();
    source.attachParent(this.#sourceParent);
    this.#notifier = new BlockCopyNotifier(this.#copy, this.#sourceParent.parentName);
    this.#notifier.install();
  }

  /** docs/reference/backup.md §4.6. */
  get progress(): JobProgress {
    const current = this.#copy.finishedBytes;
    return { current, total: current + this.#copy.remainingBytes };
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
      await this.#copyAll(job);
      if (!job.cancelled) return;
    } catch (error) {
      await this.#giveUp();
      throw error;
    }
    await this.#giveUp();
  }

  interrupt(): void {
    this.#pass?.cancel();
  }

  clean(): void {
    const { source } = this.#copy;
    this.#uninstall();
    this.#copy.stop();
    this.#notifier.release();
    source.detachParent(this.#sourceParent);
  }

  /** One pass after another until one is neither interrupted by a pause nor by a cancel: §4.7. */
  async #copyAll(job: Job): Promise<void> {
    for (;;) {
      const paused = job.pausePoint();
      if (paused !== undefined) await paused;
      if (job.cancelled) return;
      const pass = new BackgroundCopy(this.#copy, this.#maxWorkers);
      this.#pass = pass;
      // Whoever started or resumed the job goes on before it does.
      await this.#copy.clock.yield();
      const outcome = await pass.run();
      if (outcome === "finished") return;
      if (outcome === "cancelled") continue;
      job.reportError(pass.failure!.operation);
      throw pass.failure!.error;
    }
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

/** Starts a full backup of the source as it is now. Throws a `QmpError`; nothing has then happened. */
export async function startBackup(jobs: JobList, options: BackupOptions, clock: Clock = systemClock): Promise<Backup> {
  using _drained = await options.source.drain();
  const backup = new Backup(jobs, options, clock);
  backup.job.start();
  return backup;
}

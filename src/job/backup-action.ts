// Backups as actions of a transaction, and a backup alone: docs/reference/bitmaps.md §4, corrections.md B4 and B16.

import { type Clock, systemClock } from "../base/clock.ts";
import type { BlockNode } from "../block/node.ts";
import { Backup } from "./backup.ts";
import type { BackupOptions } from "./backup-options.ts";
import type { Job } from "./job.ts";
import type { JobList } from "./job-list.ts";
import { runTransaction, type TransactionAction, type TransactionContext } from "./transaction.ts";

/**
 * Makes the job when it is prepared and starts it when all others are prepared too. It goes on when guests do, and when those
 * of the actions before it have.
 */
export class BackupAction implements TransactionAction {
  readonly type: "blockdev-backup" | "drive-backup";
  readonly takesCompletionMode: boolean = true;
  readonly #jobs: JobList;
  readonly #options: () => BackupOptions | Promise<BackupOptions>;
  readonly #clock: Clock;
  #backup: Backup | undefined;

  /** `options` looks up source and target when it is its turn; what it throws fails the action. */
  constructor(
    type: "blockdev-backup" | "drive-backup",
    jobs: JobList,
    options: () => BackupOptions | Promise<BackupOptions>,
    clock: Clock = systemClock,
  ) {
    this.type = type;
    this.#jobs = jobs;
    this.#options = options;
    this.#clock = clock;
  }

  /** Once prepared. */
  get backup(): Backup | undefined {
    return this.#backup;
  }

  async prepare({ jobs, pausedAgain }: TransactionContext): Promise<void> {
    // Who looks nodes up without having to wait for anything finds them as they are also when the job is made.
    const looking = this.#options();
    const options = looking instanceof Promise ? await looking : looking;
    this.#pauseAgain(options.source, pausedAgain);
    try {
      this.#backup = new Backup(this.#jobs, options, this.#clock, jobs);
    } catch (error) {
      await options.release?.();
      throw error;
    }
    this.#backup.job.hold();
  }

  /**
   * A drained section of its own for the source: corrections.md B16. The transaction's goes on here, so that nothing happens in
   * between, and the jobs on the source, or above it, only tell of it.
   */
  #pauseAgain(source: BlockNode, told: Set<Job>): void {
    const ids = jobsAbove(source);
    const oldestFirst = [...this.#jobs].filter((job) => ids.has(job.id) && !told.has(job)).reverse();
    for (const job of oldestFirst) job.tellPause("running");
    for (const job of oldestFirst.reverse()) {
      job.tellPause("paused");
      told.add(job);
    }
  }

  commit(): void {
    this.#backup!.job.start();
  }

  abort(): void | Promise<void> {
    const { job } = this.#backup!;
    // In a group that of a later action has taken this one with it.
    if (job.status === "created") job.cancel();
    return job.transaction.closing;
  }

  clean(): void {
    this.#backup?.job.release();
  }
}

/**
 * Starts a backup of the source as it is now, with the source drained, or all nodes of a graph. Throws a `QmpError`; nothing
 * has then happened.
 */
export async function startBackup(
  jobs: JobList,
  options: BackupOptions,
  clock: Clock = systemClock,
  nodes: Iterable<BlockNode> = [options.source],
): Promise<Backup> {
  const action = new BackupAction("blockdev-backup", jobs, () => options, clock);
  await runTransaction({ actions: [action], nodes });
  return action.backup!;
}

/** The ids of jobs that use a node, or one that stands on it. */
function jobsAbove(node: BlockNode, ids: Set<string> = new Set()): Set<string> {
  for (const parent of node.parents) {
    if (parent.jobId !== undefined) ids.add(parent.jobId);
    if (parent.node !== undefined) jobsAbove(parent.node, ids);
  }
  return ids;
}

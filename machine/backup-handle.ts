// A backup as a script holds it: its job, its target, and the promise of its end.

import { QmpError } from "../src/base/errors.ts";
import type { Backup } from "../src/job/backup.ts";
import { startBackup } from "../src/job/backup-action.ts";
import type { JobOutcome } from "../src/job/job-event.ts";
import type { JobStatus } from "../src/job/job-status.ts";
import type { BackupTarget } from "./backup-target.ts";
import type { Drive } from "./drive.ts";
import type { SystemMachine } from "./system-machine.ts";

export interface StartBackupOptions {
  /** The image to make: raw, as long as the drive. */
  readonly target: string;
  /** The image is there already and exactly as long as the drive; otherwise it is made anew. */
  readonly existing?: boolean;
  /** The first drive by default. */
  readonly drive?: string;
  /** The job's id; the drive's by default. */
  readonly id?: string;
  /** The least number of bytes copied at once, a power of two; 65536 at least. */
  readonly minClusterSizeBytes?: number;
}

/** A backup at one moment. */
export interface BackupInfo {
  readonly id: string;
  readonly drive: string;
  readonly target: string;
  /** The job's; `null` when it has ended and is gone. */
  readonly status: JobStatus;
  /** It is over and the target closed. */
  readonly hasEnded: boolean;
  /** In bytes, in whole clusters. */
  readonly progress: { readonly doneBytes: number; readonly totalBytes: number };
  readonly clusterSizeBytes: number;
  readonly copiedByLoopClusters: number;
  /** Clusters that a guest's write found not yet copied. */
  readonly copiedForGuestClusters: number;
  /** Why it failed or was cancelled; undefined while it runs and when it has succeeded. */
  readonly error: string | undefined;
}

/** A backup that has been started. Nothing need be done with it. */
export class BackupHandle {
  readonly id: string;
  readonly driveId: string;
  /** Resolves when the target is complete and on stable storage; rejects with a `QmpError` when the job failed or was cancelled. */
  readonly completed: Promise<void>;
  /** Resolves when all is over, however it went. */
  readonly ended: Promise<void>;
  readonly #backup: Backup;
  readonly #target: BackupTarget;
  #error: string | undefined;
  #hasEnded = false;

  private constructor(backup: Backup, drive: Drive, target: BackupTarget) {
    this.id = backup.job.id;
    this.driveId = drive.id;
    this.#backup = backup;
    this.#target = target;
    this.completed = this.#end();
    this.ended = this.completed.catch(() => undefined); // who does not ask how it ended is told by `info`
  }

  /** Starts the job, as blockdev-backup does. A `QmpError` says why it cannot be; the target is then still the caller's to close. */
  static async start(
    { graph, jobs, clock }: SystemMachine,
    drive: Drive,
    target: BackupTarget,
    options: StartBackupOptions & { readonly id: string },
  ): Promise<BackupHandle> {
    const { id, minClusterSizeBytes = 0 } = options;
    const source = { source: drive.node, sourceDrive: drive.backend.asParent };
    const nodes = [...graph.nodes].map(({ node }) => node);
    const backup = await startBackup(jobs, { id, ...source, target: target.node, minClusterSizeBytes }, clock, nodes);
    return new BackupHandle(backup, drive, target);
  }

  /** The job is over and the target closed. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get info(): BackupInfo {
    const { job, progress, clustersCopied, clusterSizeBytes } = this.#backup;
    return {
      id: this.id,
      drive: this.driveId,
      target: this.#target.path,
      status: job.status,
      hasEnded: this.#hasEnded,
      progress: { doneBytes: progress.current, totalBytes: progress.total },
      clusterSizeBytes,
      copiedByLoopClusters: clustersCopied.background,
      copiedForGuestClusters: clustersCopied.guest,
      error: this.#error,
    };
  }

  /** Ends the job without a result and waits for that. Nothing happens when it has ended. */
  async cancel(): Promise<void> {
    const { job } = this.#backup;
    if (!this.#hasEnded && job.status !== "concluded" && job.status !== "null") job.cancel();
    await this.ended;
  }

  async #end(): Promise<void> {
    const outcome = await this.#backup.job.untilConcluded();
    const failures: string[] = outcome.kind === "completed" ? [] : [outcomeText(outcome)];
    const note = (error: unknown): number => failures.push(error instanceof Error ? error.message : String(error));
    if (outcome.kind === "completed") await this.#target.flush().catch(note);
    await this.#target.close().catch(note);
    this.#error = failures[0];
    this.#hasEnded = true;
    if (this.#error !== undefined) throw new QmpError(`backup '${this.id}' to '${this.#target.path}': ${this.#error}`);
  }
}

function outcomeText(outcome: JobOutcome): string {
  switch (outcome.kind) {
    case "completed":
      return "completed";
    case "failed":
      return outcome.error.message;
    case "cancelled":
      return "Operation canceled";
  }
}

// What a kind of job, such as a backup, provides: docs/reference/backup.md §1.6, §4.7, §4.8.

import { type BlockError, strerror } from "../base/errors.ts";
import type { Job } from "./job.ts";

/** How far a job has come, in bytes. Both numbers may change at any time. */
export interface JobProgress {
  /** Done. */
  readonly current: number;
  /** Done and still to be done. */
  readonly total: number;
}

/**
 * The work of one job. `Job` decides when each of these is called; `commit`, `abort` and `clean` are called once at most.
 *
 * Of `commit` and `abort` one is called, then `clean`; without `run` before them if the job never started.
 */
export interface JobDriver {
  /** As in QMP: `backup`. */
  readonly jobType: string;
  readonly progress: JobProgress;
  /** False for a job that the `block-job-` commands and events are not about, such as that of blockdev-create. */
  readonly isBlockJob?: boolean;
  /** Why the work failed, where there is more to say than the error's errno does. */
  readonly failureText?: string | undefined;
  /** It works, but only waits just now: for a limit of its speed, or to be cancelled. */
  readonly idle?: boolean;
  /**
   * Does the work. Offers pauses by `Job.pausePoint`, and ends soon when `Job.cancelled`. When it ends, by itself or by
   * a `BlockError`, nothing of it is under way; what it holds it keeps until `clean`.
   */
  run(job: Job): Promise<void>;
  /** The job is to pause or was cancelled: come to the next pause point, or to the end, soon. */
  interrupt(): void;
  /** Another limit of bytes per second, 0 for none; also called with the one that holds already. */
  setSpeed?(bytesPerSecond: number): void;
  /** The job has succeeded. */
  commit?(): void;
  /** The job has failed or was cancelled. */
  abort?(): void;
  /** Gives back whatever it holds: nodes, notifiers. It is told that the job has ended when that is done. */
  clean(): void | Promise<void>;
}

/** Why a job's work failed, for users. */
export function failureText(driver: JobDriver, failure: BlockError): string {
  return driver.failureText ?? strerror(failure.errno);
}

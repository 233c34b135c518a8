// What a query tells of a job: docs/reference/backup.md §1.9, corrections.md B3.

import type { IoStatus } from "../block/error-policy.ts";
import type { JobProgress } from "./job-driver.ts";
import type { JobStatus } from "./job-status.ts";

/** A job at one moment: the members of QMP's JobInfo and BlockJobInfo (§1.9). */
export interface JobInfo {
  readonly id: string;
  readonly type: string;
  readonly status: JobStatus;
  readonly progress: JobProgress;
  /** It does something just now; not while it is paused or waits for its limit of speed. */
  readonly busy: boolean;
  /** It was asked to pause, though it may not have come to it yet. */
  readonly paused: boolean;
  /** Bytes per second; 0 for no limit. */
  readonly speed: number;
  readonly ioStatus: IoStatus;
  readonly ready: boolean;
  readonly autoFinalize: boolean;
  readonly autoDismiss: boolean;
  /** Why it failed or was cancelled. */
  readonly error: string | undefined;
}

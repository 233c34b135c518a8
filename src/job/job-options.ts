// What a job is told when it is made: docs/reference/backup.md §1.4.

import type { Job } from "./job.ts";
import type { JobDriver } from "./job-driver.ts";
import type { JobEvent } from "./job-event.ts";
import type { JobTransaction } from "./job-transaction.ts";

/** Called within the change that it hears of. It must not call the job's verbs. */
export type JobListener = (job: Job, event: JobEvent) => void;

export interface JobOptions {
  readonly id: string;
  readonly driver: JobDriver;
  /** Hears of all that happens after `created`. */
  readonly listener: JobListener;
  /** Ends by itself when its work is done, rather than at `finalize`. */
  readonly autoFinalize?: boolean;
  /** Is gone when it has ended, rather than at `dismiss`. */
  readonly autoDismiss?: boolean;
  /** Which it joins; one of its own by default. */
  readonly transaction?: JobTransaction | undefined;
}

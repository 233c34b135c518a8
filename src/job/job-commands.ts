// Jobs' commands by id, with their refusals: docs/reference/backup.md §1.3, corrections.md B2.

import { QmpError } from "../base/errors.ts";
import type { Job } from "./job.ts";
import type { JobList } from "./job-list.ts";

/** For the `job-` commands: the job of that id, or a `QmpError`. */
export function findJob(jobs: JobList, id: string): Job {
  const job = jobs.get(id);
  if (job === undefined) throw new QmpError("Job not found");
  return job;
}

/** For the `block-job-` commands: the block job of that id, or a `QmpError`. */
export function findBlockJob(jobs: JobList, id: string): Job {
  const job = jobs.get(id);
  if (job?.isBlockJob !== true) throw new QmpError(`Block job '${id}' not found`, "DeviceNotActive");
  return job;
}

/**
 * `block-job-cancel`: unlike `job-cancel` it leaves a job alone that the user, or an error, has paused, unless by force. Beyond
 * that force makes no difference: no job here has anything to complete when it is cancelled.
 */
export function cancelBlockJob(job: Job, force: boolean): void {
  if (job.userPaused && !force) throw new QmpError(`The block job for device '${job.id}' is currently paused`);
  job.cancel();
}

// Trace points of jobs' states, named and ordered as QEMU's.

import type { BlockError } from "../base/errors.ts";
import { tracePoint } from "../base/trace.ts";
import type { JobStatus, JobVerb } from "./job-status.ts";

const stateTransition = tracePoint("job_state_transition");
const applyVerb = tracePoint("job_apply_verb");
const jobCompleted = tracePoint("job_completed");

/** A job goes from one state to another; `undefined` is that before it was made. */
export function traceTransition(
  job: string,
  failure: BlockError | undefined,
  from: JobStatus | "undefined",
  to: JobStatus,
): void {
  if (stateTransition.enabled) stateTransition.emit({ job, ret: returned(failure), legal: "allowed", from, to });
}

/** A command's verb meets a job, which accepts it or not. */
export function traceVerb(job: string, state: JobStatus, verb: JobVerb, accepted: boolean): void {
  if (applyVerb.enabled) applyVerb.emit({ job, state, verb, legal: accepted ? "allowed" : "prohibited" });
}

/** The work of a job is done. */
export function traceCompleted(job: string, failure: BlockError | undefined): void {
  if (jobCompleted.enabled) jobCompleted.emit({ job, ret: returned(failure) });
}

/** What a function of QEMU's would return: 0, or an errno that is negative, here by its name. */
function returned(failure: BlockError | undefined): number | string {
  return failure === undefined ? 0 : `-${failure.errno}`;
}

// The states of a job, which may follow which, and which commands each accepts: docs/reference/backup.md §1.1, §1.2.

import { assert } from "../base/assert.ts";
import { QmpError } from "../base/errors.ts";
import { traceVerb } from "./job-trace.ts";

/** As in QMP. */
export type JobStatus =
  | "created"
  | "running"
  | "paused"
  | "ready"
  | "standby"
  | "waiting"
  | "pending"
  | "aborting"
  | "concluded"
  | "null";

/** What a user can ask of a job, as refusals spell it. */
export type JobVerb = "cancel" | "pause" | "resume" | "set-speed" | "complete" | "finalize" | "dismiss" | "change";

const NEXT: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  created: ["running", "aborting", "null"],
  running: ["paused", "ready", "waiting", "aborting"],
  paused: ["running"],
  ready: ["standby", "waiting", "aborting"],
  standby: ["ready"],
  waiting: ["pending", "aborting"],
  pending: ["aborting", "concluded"],
  aborting: ["aborting", "concluded"],
  concluded: ["null"],
  null: [],
};

const WORKING: readonly JobStatus[] = ["created", "running", "paused", "ready", "standby"];

const ACCEPTED_IN: Readonly<Record<JobVerb, readonly JobStatus[]>> = {
  cancel: [...WORKING, "waiting", "pending"],
  pause: WORKING,
  resume: WORKING,
  "set-speed": WORKING,
  complete: ["ready", "standby"],
  finalize: ["pending"],
  dismiss: ["concluded"],
  change: WORKING,
};

/** Asserts that a job may go from one state to the other. */
export function assertTransition(from: JobStatus, to: JobStatus): void {
  assert(NEXT[from].includes(to), `job: goes from ${from} to ${to}`);
}

/** Throws a `QmpError` unless a job in this state accepts the command. */
export function checkVerb(id: string, status: JobStatus, verb: JobVerb): void {
  const accepted = ACCEPTED_IN[verb].includes(status);
  traceVerb(id, status, verb, accepted);
  if (!accepted) throw new QmpError(`Job '${id}' in state '${status}' cannot accept command verb '${verb}'`);
}

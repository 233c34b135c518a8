// The tables of docs/reference/backup.md §1.1 and §1.2, each cell.
import { describe, expect, it } from "vitest";
import { assertTransition, checkVerb, type JobStatus, type JobVerb } from "../../src/job/job-status.ts";

const STATES: readonly JobStatus[] = [
  "created",
  "running",
  "paused",
  "ready",
  "standby",
  "waiting",
  "pending",
  "aborting",
  "concluded",
  "null",
];

const LEGAL = new Set([
  "created running",
  "created aborting",
  "created null",
  "running paused",
  "running ready",
  "running waiting",
  "running aborting",
  "paused running",
  "ready standby",
  "ready waiting",
  "ready aborting",
  "standby ready",
  "waiting pending",
  "waiting aborting",
  "pending aborting",
  "pending concluded",
  "aborting aborting",
  "aborting concluded",
  "concluded null",
]);

const pairs = STATES.flatMap((from) => STATES.map((to) => ({ from, to, legal: LEGAL.has(`${from} ${to}`) })));

describe("a job's state", () => {
  it.each(pairs)("$from to $to: $legal", ({ from, to, legal }) => {
    if (legal) expect(() => assertTransition(from, to)).not.toThrow();
    else expect(() => assertTransition(from, to)).toThrow(`job: goes from ${from} to ${to}`);
  });
});

const VERBS: Readonly<Record<JobVerb, string>> = {
  cancel: "created running paused ready standby waiting pending",
  pause: "created running paused ready standby",
  resume: "created running paused ready standby",
  "set-speed": "created running paused ready standby",
  complete: "ready standby",
  change: "created running paused ready standby",
  finalize: "pending",
  dismiss: "concluded",
};

const cells = STATES.flatMap((status) =>
  Object.entries(VERBS).map(([verb, accepted]) => ({
    verb: verb as JobVerb,
    status,
    accepted: accepted.split(" ").includes(status),
  })),
);

describe("a job's verb", () => {
  it.each(cells)("$verb in $status: $accepted", ({ verb, status, accepted }) => {
    if (accepted) expect(() => checkVerb("j0", status, verb)).not.toThrow();
    else
      expect(() => checkVerb("j0", status, verb)).toThrow(
        `Job 'j0' in state '${status}' cannot accept command verb '${verb}'`,
      );
  });
});

// Commands on jobs, and the events of jobs: docs/reference/backup.md §1.3, §1.5, §1.9; corrections.md B2, B3.

import { unreachable } from "../../base/assert.ts";
import { type TracePoint, tracePoint } from "../../base/trace.ts";
import type { Job } from "../../job/job.ts";
import { cancelBlockJob, findBlockJob, findJob } from "../../job/job-commands.ts";
import type { JobEvent } from "../../job/job-event.ts";
import type { JobList } from "../../job/job-list.ts";
import { type Command, defineCommand } from "../command.ts";
import { defineEvent, type EventQueue } from "../events.ts";
import { type ArgumentsOf, array, bool, enumeration, extend, int, object, optional, str } from "../schema/types.ts";

const byId = object({ id: str });
const byDevice = object({ device: str });

const jobStatus = enumeration(
  "undefined",
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
);
const jobType = enumeration(
  "commit",
  "stream",
  "mirror",
  "backup",
  "create",
  "amend",
  "snapshot-load",
  "snapshot-save",
  "snapshot-delete",
);

const jobInfo = object({
  id: str,
  type: jobType,
  status: jobStatus,
  "current-progress": int,
  "total-progress": int,
  error: optional(str),
});

const blockJobInfo = object({
  type: jobType,
  device: str,
  len: int,
  offset: int,
  busy: bool,
  paused: bool,
  speed: int,
  "io-status": enumeration("ok", "failed", "nospace"),
  ready: bool,
  status: jobStatus,
  "auto-finalize": bool,
  "auto-dismiss": bool,
  error: optional(str),
});

const endOfJob = object({ type: jobType, device: str, len: int, offset: int, speed: int });

const JOB_STATUS_CHANGE = defineEvent("JOB_STATUS_CHANGE", object({ id: str, status: jobStatus }));
const BLOCK_JOB_PENDING = defineEvent("BLOCK_JOB_PENDING", object({ type: jobType, id: str }));
const BLOCK_JOB_COMPLETED = defineEvent("BLOCK_JOB_COMPLETED", extend(endOfJob, { error: optional(str) }));
const BLOCK_JOB_CANCELLED = defineEvent("BLOCK_JOB_CANCELLED", endOfJob);
const BLOCK_JOB_ERROR = defineEvent(
  "BLOCK_JOB_ERROR",
  object({
    device: str,
    operation: enumeration("read", "write"),
    action: enumeration("ignore", "report", "stop"),
  }),
);

export function jobCommands(jobs: JobList): Command[] {
  const jobVerb = (name: string, verb: (job: Job) => void): Command =>
    defineCommand({ name, arguments: byId, run: ({ id }) => carryOut(traced(name, findJob(jobs, id)), verb) });
  const blockJobVerb = (name: string, verb: (job: Job) => void): Command =>
    defineCommand({
      name,
      arguments: byDevice,
      run: ({ device }) => carryOut(traced(name, findBlockJob(jobs, device)), verb),
    });
  const blockJobVerbById = (name: string, verb: (job: Job) => void): Command =>
    defineCommand({ name, arguments: byId, run: ({ id }) => carryOut(traced(name, findBlockJob(jobs, id)), verb) });
  return [
    jobVerb("job-pause", (job) => job.pause()),
    jobVerb("job-resume", (job) => job.resume()),
    jobVerb("job-cancel", (job) => job.cancel()),
    jobVerb("job-complete", (job) => job.complete()),
    jobVerb("job-finalize", (job) => job.finalize()),
    jobVerb("job-dismiss", (job) => job.dismiss()),
    blockJobVerb("block-job-pause", (job) => job.pause()),
    blockJobVerb("block-job-resume", (job) => job.resume()),
    blockJobVerb("block-job-complete", (job) => job.complete()),
    blockJobVerbById("block-job-finalize", (job) => job.finalize()),
    blockJobVerbById("block-job-dismiss", (job) => job.dismiss()),
    defineCommand({
      name: "block-job-cancel",
      arguments: object({ device: str, force: optional(bool) }),
      run: ({ device, force = false }) =>
        carryOut(traced("block-job-cancel", findBlockJob(jobs, device)), (job) => cancelBlockJob(job, force)),
    }),
    defineCommand({
      name: "block-job-set-speed",
      arguments: object({ device: str, speed: int }),
      run: ({ device, speed }) => findBlockJob(jobs, device).setSpeed(Number(speed)),
    }),
    defineCommand({
      name: "block-job-change",
      arguments: object({ id: str, type: jobType }),
      run: ({ id }) => findBlockJob(jobs, id).change(),
    }),
    defineCommand({
      name: "query-jobs",
      returns: array(jobInfo),
      run: () => [...jobs].map(describeJob),
    }),
    defineCommand({
      name: "query-block-jobs",
      returns: array(blockJobInfo),
      run: () => [...jobs].filter((job) => job.isBlockJob).map(describeBlockJob),
    }),
  ];
}

/** If that ends jobs, the command is done when they have given back what they held. */
function carryOut(job: Job, verb: (job: Job) => void): Promise<void> | undefined {
  verb(job);
  return job.transaction.closing;
}

const VERBS: ReadonlyMap<string, TracePoint> = new Map([
  ...["pause", "resume", "cancel", "complete", "finalize", "dismiss"].flatMap((verb): [string, TracePoint][] => [
    [`job-${verb}`, tracePoint(`qmp_job_${verb}`)],
    [`block-job-${verb}`, tracePoint(`qmp_block_job_${verb}`)],
  ]),
]);

/** The job that was found for a command. */
function traced(command: string, job: Job): Job {
  const called = VERBS.get(command);
  if (called?.enabled === true) called.emit({ job: job.id });
  return job;
}

function describeJob(job: Job): ArgumentsOf<typeof jobInfo> {
  const { id, status, progress, error } = job.query();
  return {
    id,
    type: typeOf(job),
    status,
    "current-progress": progress.current,
    "total-progress": progress.total,
    ...(error === undefined ? {} : { error }),
  };
}

function describeBlockJob(job: Job): ArgumentsOf<typeof blockJobInfo> {
  const info = job.query();
  return {
    type: typeOf(job),
    device: info.id,
    len: info.progress.total,
    offset: info.progress.current,
    busy: info.busy,
    paused: info.paused,
    speed: info.speed,
    "io-status": info.ioStatus,
    ready: info.ready,
    status: info.status,
    "auto-finalize": info.autoFinalize,
    "auto-dismiss": info.autoDismiss,
    ...(info.error === undefined ? {} : { error: info.error }),
  };
}

/** Tells the monitor's clients of what happens to jobs. The function returned ends it. */
export function reportJobs(jobs: JobList, events: EventQueue): () => void {
  events.declare(JOB_STATUS_CHANGE, BLOCK_JOB_PENDING, BLOCK_JOB_COMPLETED, BLOCK_JOB_CANCELLED, BLOCK_JOB_ERROR);
  return jobs.listen((job, event) => report(events, job, event));
}

function report(events: EventQueue, job: Job, event: JobEvent): void {
  const { id } = job;
  const type = typeOf(job);
  switch (event.kind) {
    case "status-change":
      return events.emit(JOB_STATUS_CHANGE, { status: event.status, id });
    case "pending":
      return events.emit(BLOCK_JOB_PENDING, { type, id });
    case "error":
      return events.emit(BLOCK_JOB_ERROR, { device: id, operation: event.operation, action: event.action });
    case "completed":
      return events.emit(BLOCK_JOB_COMPLETED, {
        ...endOf(job),
        ...(event.error === undefined ? {} : { error: event.error }),
      });
    case "cancelled":
      return events.emit(BLOCK_JOB_CANCELLED, endOf(job));
    default:
      return unreachable(event);
  }
}

function endOf(job: Job): ArgumentsOf<typeof endOfJob> {
  const { id, speed, progress } = job;
  return { device: id, len: progress.total, offset: progress.current, speed, type: typeOf(job) };
}

/** The types of jobs that there are are QMP's. */
function typeOf({ type }: Job): ArgumentsOf<typeof jobType> {
  return type as ArgumentsOf<typeof jobType>;
}

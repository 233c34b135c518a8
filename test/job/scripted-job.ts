// A kind of job that does what a test says, and writes down what is asked of it and what it reports.

import type { Job } from "../../src/job/job.ts";
import type { JobDriver, JobProgress } from "../../src/job/job-driver.ts";
import type { JobEvent } from "../../src/job/job-event.ts";
import { JobList } from "../../src/job/job-list.ts";
import type { JobTransaction } from "../../src/job/job-transaction.ts";

/** Its work consists of steps: each ends when the test calls `step`, or at once when it is interrupted. */
export class ScriptedJob implements JobDriver {
  readonly jobType: string = "scripted";
  readonly progress: JobProgress = { current: 3, total: 7 };
  readonly log: string[];
  readonly speeds: number[] = [];
  isBlockJob = true;
  failureText: string | undefined;
  /** Goes on with its step when it is interrupted. */
  deaf = false;
  #endStep: (() => void) | undefined;
  #result: Error | "done" | undefined;

  constructor(log: string[]) {
    this.log = log;
  }

  async run(job: Job): Promise<void> {
    for (;;) {
      const paused = job.pausePoint();
      if (paused !== undefined) await paused;
      if (job.cancelled) return;
      await new Promise<void>((resolve) => {
        this.#endStep = resolve;
      });
      this.#endStep = undefined;
      if (this.#result === "done") return;
      if (this.#result !== undefined) throw this.#result;
    }
  }

  /** Ends the step under way, and with it the work if there is a result. */
  step(result?: Error | "done"): void {
    this.#result = result;
    this.#endStep?.();
  }

  interrupt(): void {
    this.log.push("interrupt");
    if (!this.deaf) this.#endStep?.();
  }

  setSpeed(bytesPerSecond: number): void {
    this.speeds.push(bytesPerSecond);
  }

  commit(): void {
    this.log.push("commit");
  }

  abort(): void {
    this.log.push("abort");
  }

  clean(): void {
    this.log.push("clean");
  }
}

/** A job of that kind in a list of its own. `log` has what the driver was asked and what the list reported, in order. */
export function scriptedJob(
  options: { id?: string; autoFinalize?: boolean; autoDismiss?: boolean; transaction?: JobTransaction } = {},
): {
  jobs: JobList;
  job: Job;
  driver: ScriptedJob;
  log: string[];
} {
  const { id = "j0", ...rest } = options;
  const log: string[] = [];
  const jobs = new JobList();
  jobs.listen((of, event) => log.push(of.id === "j0" ? eventText(event) : `${of.id} ${eventText(event)}`));
  const driver = new ScriptedJob(log);
  const job = jobs.create({ id, driver, ...rest });
  return { jobs, job, driver, log };
}

/** As the tests write events down: a change of status by the status alone, in upper case all others. */
export function eventText(event: JobEvent): string {
  switch (event.kind) {
    case "status-change":
      return event.status;
    case "pending":
    case "cancelled":
      return event.kind.toUpperCase();
    case "error":
      return `ERROR ${event.operation} ${event.action}`;
    case "completed":
      return event.error === undefined ? "COMPLETED" : `COMPLETED ${event.error}`;
  }
}

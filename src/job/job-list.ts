// All jobs of a machine: docs/reference/backup.md §1.4.

import { QmpError } from "../base/errors.ts";
import { Job } from "./job.ts";
import type { JobEvent } from "./job-event.ts";
import type { JobListener, JobOptions } from "./job-options.ts";
import { traceTransition } from "./job-trace.ts";

const ID = /^[A-Za-z][A-Za-z0-9\-._]*$/;

/** Where the filters that jobs stand for get their names: from a graph's, with which they must not clash. */
export interface FilterNames {
  /** Takes a name, or an automatic one, and returns it. Throws a `QmpError` where users may not have it. */
  take(name: string | undefined): string;
  release(name: string): void;
}

/** Of jobs without a graph whose names they could clash with. */
function filterNamesOfTheirOwn(): FilterNames {
  let automatic = 0;
  return { take: (name) => name ?? `#block${automatic++}`, release() {} };
}

/** Jobs by id, newest first. One that has ended stays until it is dismissed. */
export class JobList {
  readonly filterNames: FilterNames;
  #jobs: readonly Job[] = [];
  readonly #listeners = new Set<JobListener>();

  constructor(filterNames: FilterNames = filterNamesOfTheirOwn()) {
    this.filterNames = filterNames;
  }

  [Symbol.iterator](): Iterator<Job> {
    return this.#jobs[Symbol.iterator]();
  }

  get(id: string): Job | undefined {
    return this.#jobs.find((job) => job.id === id);
  }

  /** Calls `listener` for everything that happens to any job. The function returned ends it. */
  listen(listener: JobListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Throws a `QmpError` unless a new job may have this id. */
  checkId(id: string): void {
    if (!ID.test(id)) throw new QmpError(`Invalid job ID '${id}'`);
    if (this.get(id) !== undefined) throw new QmpError(`Job ID '${id}' already in use`);
  }

  /** Makes a job, which waits to be started. A `QmpError` if its id will not do. */
  create(options: Omit<JobOptions, "listener">): Job {
    this.checkId(options.id);
    const job = new Job({ ...options, listener: (of, event) => this.#heard(of, event) });
    this.#jobs = [job, ...this.#jobs];
    traceTransition(job.id, undefined, "undefined", "created");
    this.#heard(job, { kind: "status-change", status: "created" });
    return job;
  }

  /** Cancels all jobs, newest first, each when the one before has ended, and lets those go that have ended already (B14). */
  async cancelAll(): Promise<void> {
    for (let job = this.#jobs[0]; job !== undefined; job = this.#jobs[0]) {
      if (job.status !== "concluded") {
        if (!job.ending) job.cancel();
        await job.untilConcluded();
      }
      // One that is not to dismiss itself; or somebody has done so by now.
      if (job.status === "concluded") job.dismiss();
    }
  }

  #heard(job: Job, event: JobEvent): void {
    if (event.kind === "status-change" && event.status === "null")
      this.#jobs = this.#jobs.filter((other) => other !== job);
    for (const listener of this.#listeners) listener(job, event);
  }
}

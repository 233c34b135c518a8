// Jobs that succeed together or not at all: docs/reference/backup.md §1.6, corrections.md B4.

import type { Job } from "./job.ts";

/**
 * The jobs of one transaction; one that nobody groups has a transaction of its own.
 *
 *   all work ──all have succeeded──▶ pending ──finalize──▶ concluded, one after another
 *       └───────one failed or was cancelled────┴──────────▶ aborting, one after another
 *
 * What happens to all of them happens to the last created first. When one fails or is cancelled, all others are cancelled
 * with it: none of them does further work from then on, but each goes to its end when those created after it have.
 */
export class JobTransaction {
  /** In the order of their creation, without those that have concluded. */
  readonly #members: Job[] = [];
  #aborting = false;
  #finalizing = false;
  #closing: Promise<void> | undefined;

  /** Called by a job that is made. */
  add(job: Job): void {
    this.#members.push(job);
  }

  /** Called by a job that leaves before it was started. */
  remove(job: Job): void {
    this.#members.splice(this.#members.indexOf(job), 1);
  }

  /** One has failed, or was cancelled: its members' end is near. */
  get aborting(): boolean {
    return this.#aborting;
  }

  /** Its members end well, one after another. */
  get finalizing(): boolean {
    return this.#finalizing;
  }

  /** Members give back what they held, and end: resolves when they have. Undefined when none is about to. */
  get closing(): Promise<void> | undefined {
    return this.#closing;
  }

  /** Called by a job that has done its work. */
  memberHasWorked(): void {
    const newestFirst = [...this.#members].reverse();
    if (newestFirst.some((job) => job.status !== "waiting")) return;
    for (const job of newestFirst) job.becomePending();
    if (newestFirst.every((job) => job.autoFinalize)) this.finalize();
  }

  /** All members are pending. */
  finalize(): void {
    this.#finalizing = true;
    this.#follow(this.#concludeWell());
  }

  /** Called by a job that has failed or was cancelled, and has nothing under way. */
  abort(culprit: Job): void {
    if (this.#aborting) return;
    this.#aborting = true;
    for (const job of this.#members) if (job !== culprit) job.cancelWithOthers();
    this.#follow(this.#concludeBadly());
  }

  #concludeWell(): void | Promise<void> {
    for (let job = this.#members.pop(); job !== undefined; job = this.#members.pop()) {
      const concluding = job.concludeWell();
      if (concluding !== undefined) return concluding.then(() => this.#concludeWell());
    }
  }

  #concludeBadly(): void | Promise<void> {
    for (let job = this.#members.at(-1); job !== undefined; job = this.#members.at(-1)) {
      const working = job.endWork();
      if (working !== undefined) {
        void working.then(() => this.#follow(this.#concludeBadly()));
        return;
      }
      this.#members.pop();
      const concluding = job.concludeBadly();
      if (concluding !== undefined) return concluding.then(() => this.#concludeBadly());
    }
  }

  #follow(concluding: void | Promise<void>): void {
    if (concluding === undefined) return;
    this.#closing = concluding.then(() => {
      this.#closing = undefined;
    });
  }
}

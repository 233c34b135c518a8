// When a job's work is held up, by whom, and whether it has come to rest: docs/reference/backup.md §1.7, §1.10.

import { assert } from "../base/assert.ts";
import type { BlockError } from "../base/errors.ts";
import { WaitList } from "../base/wait-list.ts";
import type { IoStatus } from "../block/error-policy.ts";

/** The job whose work it is. */
export interface PausingJob {
  /** The work is to come to its next pause point, or to its end, soon. */
  interrupt(): void;
  /** The work pauses, or goes on. */
  setStatus(status: "running" | "paused"): void;
}

/**
 * Work goes on while nobody holds it: `#holds` counts who does (it is born with one, which `begin` takes away; each drained section
 * of one of the job's nodes adds one; so does the user's pause, or an error by which it stops, until `resume`). Held, it goes on to
 * its next pause point. Cancelled work is not held any more: it goes on to its end.
 */
export class JobPauses {
  readonly #job: PausingJob;
  #holds = 1;
  #userPaused = false;
  #ioStatus: IoStatus = "ok";
  #cancelled = false;
  /** Between `begin` and `end`, and not in a pause. */
  #busy = false;
  #leavePause: (() => void) | undefined;
  readonly #quiet = new WaitList();

  constructor(job: PausingJob) {
    this.#job = job;
  }

  /** Something is under way. */
  get busy(): boolean {
    return this.#busy;
  }

  get held(): boolean {
    return this.#holds > 0;
  }

  /** By a user, or by an error: until `resume`. */
  get userPaused(): boolean {
    return this.#userPaused;
  }

  /** The error by which it stopped, until `resume`. */
  get ioStatus(): IoStatus {
    return this.#ioStatus;
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** The work begins. */
  begin(): void {
    this.#holds--;
    this.#busy = true;
  }

  /** The work is over. */
  end(): void {
    this.#setBusy(false);
  }

  /** Undefined when the work is to go on at once. */
  point(): Promise<void> | undefined {
    if (this.#holds === 0 || this.#cancelled) return undefined;
    return this.#pause();
  }

  /** The work goes no further than to its next pause point until as many calls of `release`. */
  hold(): void {
    this.#holds++;
    if (this.#holds === 1 && this.#busy) this.#job.interrupt();
  }

  release(): void {
    assert(this.#holds > 0, "job: released more often than held");
    this.#holds--;
    if (this.#holds === 0 && this.#leavePause !== undefined) this.#leave();
  }

  /** The user's pause. There is none yet. */
  pause(): void {
    this.#userPaused = true;
    this.hold();
  }

  /** As the user's pause, at an error of the work's own: it comes to its next pause point by itself. */
  stopByError(error: BlockError): void {
    if (!this.#userPaused) {
      this.#userPaused = true;
      this.#holds++;
    }
    if (this.#ioStatus === "ok") this.#ioStatus = error.errno === "ENOSPC" ? "nospace" : "failed";
  }

  /** Ends the user's pause, or that by an error. */
  resume(): void {
    this.#ioStatus = "ok";
    this.#userPaused = false;
    this.release();
  }

  /** No pause from now on. Who is in one leaves it at `hurry`. */
  cancel(): void {
    this.#cancelled = true;
    this.#ioStatus = "ok";
    if (!this.#userPaused) return;
    this.#userPaused = false;
    this.#holds--;
  }

  /** After `cancel`: the work is to come to its end soon. */
  hurry(): void {
    if (this.#leavePause !== undefined) this.#leave();
    else if (this.#busy) this.#job.interrupt();
  }

  /** Where drained sections alone have paused it: tells of leaving that pause, or of coming back to it. */
  tell(status: "running" | "paused"): void {
    if (this.#leavePause !== undefined && !this.#userPaused) this.#job.setStatus(status);
  }

  /** Undefined when nothing is under way. */
  untilQuiet(): Promise<void> | undefined {
    return this.#busy ? this.#quiet.wait() : undefined;
  }

  async #pause(): Promise<void> {
    while (this.#holds > 0 && !this.#cancelled) {
      this.#job.setStatus("paused");
      const left = new Promise<void>((resolve) => {
        this.#leavePause = resolve;
      });
      this.#setBusy(false);
      await left;
    }
  }

  #leave(): void {
    const leave = this.#leavePause!;
    this.#leavePause = undefined;
    this.#setBusy(true);
    this.#job.setStatus("running");
    leave();
  }

  #setBusy(busy: boolean): void {
    this.#busy = busy;
    if (!busy) this.#quiet.wake();
  }
}

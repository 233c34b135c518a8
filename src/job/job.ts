// The life of a job: docs/reference/backup.md §1.

import { assert } from "../base/assert.ts";
import { BlockError, QmpError } from "../base/errors.ts";
import { WaitList } from "../base/wait-list.ts";
import type { NodeParent } from "../block/drain.ts";
import { type ErrorAction, type ErrorPolicy, errorAction } from "../block/error-policy.ts";
import { failureText, type JobDriver, type JobProgress } from "./job-driver.ts";
import { endEvent, type JobEvent, type JobOutcome } from "./job-event.ts";
import type { JobInfo } from "./job-info.ts";
import type { JobOptions } from "./job-options.ts";
import { JobPauses } from "./job-pauses.ts";
import { assertTransition, checkVerb, type JobStatus, type JobVerb } from "./job-status.ts";
import { traceCompleted, traceTransition } from "./job-trace.ts";
import { JobTransaction } from "./job-transaction.ts";

/**
 *     created ──start──▶ running ⇄ paused
 *      │  │                  │
 *      │  │                  ├──work done──▶ waiting ─▶ pending ──finalize──▶ concluded ──dismiss──▶ null
 *      │  │                  │                  │          │                     ▲                  ▲
 *      │  └──────cancel──────┴──error, cancel───┴──────────┴────▶ aborting ──────┘                  │
 *      └──abandon───────────────────────────────────────────────────────────────────────────────────┘
 *
 * A job runs while nobody holds it (`JobPauses`). A cancelled one goes on to its end, without further work.
 *
 * `waiting` is where a member of a transaction waits for the others; alone it goes on at once. From there on the transaction
 * says what happens.
 */
export class Job {
  readonly id: string;
  readonly autoFinalize: boolean;
  readonly autoDismiss: boolean;
  readonly transaction: JobTransaction;
  readonly #driver: JobDriver;
  readonly #listener: JobOptions["listener"];
  #status: JobStatus = "created";
  #speed = 0;
  #started = false;
  #failure: BlockError | undefined;
  #outcome: JobOutcome | undefined;
  readonly #pauses: JobPauses;
  readonly #workDone = new WaitList();
  readonly #conclusion = new WaitList<JobOutcome>();

  constructor(options: JobOptions) {
    const { id, driver, listener, autoFinalize = true, autoDismiss = true, transaction } = options;
    this.id = id;
    this.autoFinalize = autoFinalize;
    this.autoDismiss = autoDismiss;
    this.#driver = driver;
    this.#listener = listener;
    this.#pauses = new JobPauses({
      interrupt: () => driver.interrupt(),
      setStatus: (status) => this.#setStatus(status),
    });
    this.transaction = transaction ?? new JobTransaction();
    this.transaction.add(this);
  }

  get type(): string {
    return this.#driver.jobType;
  }

  /** False for one that the `block-job-` commands and events are not about. */
  get isBlockJob(): boolean {
    return this.#driver.isBlockJob !== false;
  }

  get status(): JobStatus {
    return this.#status;
  }

  get progress(): JobProgress {
    return this.#driver.progress;
  }

  /** Bytes per second; 0 for no limit. */
  get speed(): number {
    return this.#speed;
  }

  /** `start` was called. */
  get started(): boolean {
    return this.#started;
  }

  /** Its end has begun, and cannot be changed any more. */
  get ending(): boolean {
    return this.transaction.finalizing || this.#status === "aborting";
  }

  /** The work is to end soon; what it has done is of no use. */
  get cancelled(): boolean {
    return this.#pauses.cancelled;
  }

  /** By a user, or by an error: until `resume`. */
  get userPaused(): boolean {
    return this.#pauses.userPaused;
  }

  query(): JobInfo {
    const { id, type, status, progress, speed, autoFinalize, autoDismiss } = this;
    const error = this.#failure === undefined ? undefined : failureText(this.#driver, this.#failure);
    const { held: paused, ioStatus } = this.#pauses;
    const busy = this.#pauses.busy && this.#driver.idle !== true;
    const ready = status === "ready" || status === "standby";
    return { id, type, status, progress, busy, paused, speed, ioStatus, ready, autoFinalize, autoDismiss, error };
  }

  /** Begins the work. In a drained section of one of its nodes it comes no further than its first pause point. */
  start(): void {
    assert(!this.#started, "job: started twice");
    this.#started = true;
    this.#setStatus("running");
    this.#pauses.begin();
    void this.#execute();
  }

  /** Takes a job back that could not be made after all: nobody started it, and its driver has nothing to give back. */
  abandon(): void {
    assert(!this.#started, "job: abandoned after its start");
    this.transaction.remove(this);
    this.#setStatus("null");
  }

  /** The user's pause. A `QmpError` if he has paused it already, or it works no more. */
  pause(): void {
    this.#check("pause");
    if (this.userPaused) throw new QmpError("Job is already paused");
    this.#pauses.pause();
  }

  /** Ends the user's pause, or that by an error. A `QmpError` where there is none. */
  resume(): void {
    if (!this.userPaused) throw new QmpError("Can't resume a job that was not paused");
    this.#check("resume");
    this.#pauses.resume();
  }

  /** Another limit of bytes per second, 0 for none. A `QmpError` if it is negative, or the job works no more. */
  setSpeed(bytesPerSecond: number): void {
    this.#check("set-speed");
    if (!(bytesPerSecond >= 0)) throw new QmpError("Parameter 'speed' expects a non-negative value");
    this.#speed = bytesPerSecond;
    this.#driver.setSpeed?.(bytesPerSecond);
  }

  /** Asks a job that never ends by itself to end now. No job here is of that kind: a `QmpError`. */
  complete(): void {
    this.#check("complete");
    throw new QmpError(`The active block job '${this.id}' cannot be completed`);
  }

  /** Changes what can be changed of a job that works. Of no job here can anything: a `QmpError`. */
  change(): never {
    this.#check("change");
    throw new QmpError("Job type does not support change");
  }

  /**
   * Ends the job without a result: at once when it does nothing just now, else as soon as what it has in flight is done. A
   * `QmpError` if it has already ended. Cancelling it again changes nothing.
   */
  cancel(): void {
    this.#check("cancel");
    this.cancelWithOthers();
    if (this.endWork() === undefined) this.transaction.abort(this);
  }

  /** Ends a transaction of jobs whose work is done and that wait for this. A `QmpError` in any other state. */
  finalize(): void {
    this.#check("finalize");
    this.transaction.finalize();
  }

  /** Lets an ended job go. A `QmpError` in any other state. */
  dismiss(): void {
    this.#check("dismiss");
    this.#setStatus("null");
  }

  /** Resolves with how the job ended, once it has. */
  untilConcluded(): Promise<JobOutcome> {
    if (this.#outcome !== undefined) return Promise.resolve(this.#outcome);
    return this.#conclusion.wait();
  }

  /** For the driver: where the job may stop. Undefined when it is to go on at once. */
  pausePoint(): Promise<void> | undefined {
    return this.#pauses.point();
  }

  /** For the driver: an I/O request failed. Reports it and says what to do; to `stop` means to go on to the next pause point. */
  handleError(operation: "read" | "write", error: BlockError, policy: ErrorPolicy): ErrorAction {
    const action = errorAction(policy, error.errno);
    this.#emit({ kind: "error", operation, action });
    if (action === "stop") this.#pauses.stopByError(error);
    return action;
  }

  /** The job as a user of a node: a drained section of the node holds the job, and waits for it to pause. */
  asNodeParent(): NodeParent {
    return {
      parentName: `${this.type} job '${this.id}'`,
      jobId: this.id,
      beginDrain: () => this.hold(),
      untilQuiet: () => this.#pauses.untilQuiet(),
      endDrain: () => this.release(),
    };
  }

  /** It goes no further than to its next pause point until as many calls of `release`. */
  hold(): void {
    this.#pauses.hold();
  }

  release(): void {
    this.#pauses.release();
  }

  /** Where drained sections alone have paused it: tells of leaving that pause, or of coming back to it. */
  tellPause(status: "running" | "paused"): void {
    this.#pauses.tell(status);
  }

  /** For the transaction: no more work from now on. The job is told so by `endWork`. */
  cancelWithOthers(): void {
    this.#pauses.cancel();
  }

  /** For the transaction: a cancelled job is to come to its end. Undefined when nothing of it is under way any more. */
  endWork(): Promise<void> | undefined {
    this.#pauses.hurry();
    return this.#pauses.busy ? this.#workDone.wait() : undefined;
  }

  /** For the transaction: all members have done their work. */
  becomePending(): void {
    this.#setStatus("pending");
    if (!this.autoFinalize && this.isBlockJob) this.#emit({ kind: "pending" });
  }

  /** For the transaction: pending → concluded. A promise resolves when it is. */
  concludeWell(): void | Promise<void> {
    this.#driver.commit?.();
    return this.#conclude({ kind: "completed" });
  }

  /** For the transaction: → concluded, from wherever the job has nothing under way. A promise resolves when it is. */
  concludeBadly(): void | Promise<void> {
    this.#failure ??= new BlockError("ECANCELED");
    this.#setStatus("aborting");
    this.#driver.abort?.();
    return this.#conclude(this.cancelled ? { kind: "cancelled" } : { kind: "failed", error: this.#failure });
  }

  async #execute(): Promise<void> {
    try {
      await this.#driver.run(this);
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      this.#failure = error;
    }
    if (this.cancelled) this.#failure ??= new BlockError("ECANCELED");
    traceCompleted(this.id, this.#failure);
    this.#pauses.end();
    this.#workDone.wake();
    // In an aborting transaction it waits for its turn.
    if (this.transaction.aborting) return;
    this.#setStatus(this.#failure === undefined ? "waiting" : "aborting");
    if (this.#failure === undefined) this.transaction.memberHasWorked();
    else this.transaction.abort(this);
  }

  /** §4.8: first the nodes are free again, then it is told. */
  #conclude(outcome: JobOutcome): void | Promise<void> {
    const cleaning = this.#driver.clean();
    if (cleaning === undefined) return this.#concluded(outcome);
    return cleaning.then(() => this.#concluded(outcome));
  }

  #concluded(outcome: JobOutcome): void {
    this.#outcome = outcome;
    if (this.#started && this.isBlockJob) this.#emit(endEvent(outcome, this.#driver));
    this.#setStatus("concluded");
    this.#conclusion.wake(outcome);
    if (this.autoDismiss || !this.#started) this.#setStatus("null");
  }

  /** Once it ends well nothing can be done about it any more, as if it had ended. */
  #check(verb: JobVerb): void {
    const ends = this.transaction.finalizing && this.#status === "pending" && verb !== "dismiss";
    checkVerb(this.id, ends ? "concluded" : this.#status, verb);
  }

  #setStatus(status: JobStatus): void {
    assertTransition(this.#status, status);
    traceTransition(this.id, this.#failure, this.#status, status);
    if (status === this.#status) return;
    this.#status = status;
    this.#emit({ kind: "status-change", status });
  }

  #emit(event: JobEvent): void {
    this.#listener(this, event);
  }
}

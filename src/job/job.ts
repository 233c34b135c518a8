// The life of a job: docs/reference/backup.md §1.

import { assert } from "../base/assert.ts";
import { BlockError, strerror } from "../base/errors.ts";
import type { NodeParent } from "../block/drain.ts";
import type { JobDriver, JobProgress } from "./job-driver.ts";
import { assertTransition, checkVerb, type JobStatus } from "./job-status.ts";

/** How a job ended. */
export type JobOutcome =
  | { readonly kind: "completed" }
  | { readonly kind: "failed"; readonly error: BlockError }
  | { readonly kind: "cancelled" };

/** What happens to a job, in the order in which QEMU reports it (§1.5). Length and offset are the job's `progress` then. */
export type JobEvent =
  | { readonly kind: "status-change"; readonly status: JobStatus }
  /** It waits for `finalize`. */
  | { readonly kind: "pending" }
  /** An I/O request failed, and the job will fail with it. */
  | { readonly kind: "error"; readonly operation: "read" | "write"; readonly action: "report" }
  /** It ended, well or by an error. */
  | { readonly kind: "completed"; readonly error: string | undefined }
  | { readonly kind: "cancelled" };

/** Called within the change that it hears of. It must not call the job's verbs. */
export type JobListener = (job: Job, event: JobEvent) => void;

/** A job at one moment: members of QMP's JobInfo and BlockJobInfo (§1.9) that exist for every job. */
export interface JobInfo {
  readonly id: string;
  readonly type: string;
  readonly status: JobStatus;
  readonly progress: JobProgress;
  /** It does something just now. */
  readonly busy: boolean;
  /** It was asked to pause, though it may not have come to it yet. */
  readonly paused: boolean;
  readonly autoFinalize: boolean;
  readonly autoDismiss: boolean;
  /** Why it failed or was cancelled. */
  readonly error: string | undefined;
}

export interface JobOptions {
  readonly id: string;
  readonly driver: JobDriver;
  /** Hears of all that happens after `created`. */
  readonly listener: JobListener;
  /** Ends by itself when its work is done, rather than at `finalize`. */
  readonly autoFinalize?: boolean;
  /** Is gone when it has ended, rather than at `dismiss`. */
  readonly autoDismiss?: boolean;
}

/**
 *     created ──start──▶ running ⇄ paused
 *        │                  │
 *        │                  ├──work done──▶ waiting ─▶ pending ──finalize──▶ concluded ──dismiss──▶ null
 *        │                  │                  │          │                     ▲
 *        └──────cancel──────┴──error, cancel───┴──────────┴────▶ aborting ──────┘
 *
 * A job runs while nobody holds it: `#holds` counts who does (it is born with one, which `start` takes away; each drained
 * section of one of its nodes adds one). Held, it goes on to its next pause point. A cancelled job is not held any more: it
 * goes on to its end, without further work.
 *
 * `waiting` is where a member of a transaction waits for the others; alone it goes on at once.
 */
export class Job {
  readonly id: string;
  readonly autoFinalize: boolean;
  readonly autoDismiss: boolean;
  readonly #driver: JobDriver;
  readonly #listener: JobListener;
  #status: JobStatus = "created";
  #holds = 1;
  #started = false;
  #busy = false;
  #cancelled = false;
  #failure: BlockError | undefined;
  #outcome: JobOutcome | undefined;
  #leavePause: (() => void) | undefined;
  #quietWaiters: (() => void)[] = [];
  #outcomeWaiters: ((outcome: JobOutcome) => void)[] = [];

  constructor(options: JobOptions) {
    const { id, driver, listener, autoFinalize = true, autoDismiss = true } = options;
    this.id = id;
    this.autoFinalize = autoFinalize;
    this.autoDismiss = autoDismiss;
    this.#driver = driver;
    this.#listener = listener;
  }

  get type(): string {
    return this.#driver.jobType;
  }

  get status(): JobStatus {
    return this.#status;
  }

  get progress(): JobProgress {
    return this.#driver.progress;
  }

  /** The work is to end soon; what it has done is of no use. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  query(): JobInfo {
    const { id, type, status, progress, autoFinalize, autoDismiss } = this;
    const error = this.#failure === undefined ? undefined : strerror(this.#failure.errno);
    return { id, type, status, progress, busy: this.#busy, paused: this.#holds > 0, autoFinalize, autoDismiss, error };
  }

  /** Begins the work. In a drained section of one of its nodes it comes no further than its first pause point. */
  start(): void {
    assert(!this.#started, "job: started twice");
    this.#started = true;
    this.#setStatus("running");
    this.#holds--;
    this.#busy = true;
    void this.#execute();
  }

  /**
   * Ends the job without a result: at once when it does nothing just now, else as soon as what it has in flight is done. A
   * `QmpError` if it has already ended. Cancelling it again changes nothing.
   */
  cancel(): void {
    checkVerb(this.id, this.#status, "cancel");
    this.#cancelled = true;
    if (!this.#busy && this.#leavePause === undefined) return this.#abort(new BlockError("ECANCELED"));
    if (this.#leavePause !== undefined) this.#resume();
    else this.#driver.interrupt();
  }

  /** Ends a job whose work is done and that waits for this. A `QmpError` in any other state. */
  finalize(): void {
    checkVerb(this.id, this.#status, "finalize");
    this.#driver.commit?.();
    this.#conclude({ kind: "completed" });
  }

  /** Lets an ended job go. A `QmpError` in any other state. */
  dismiss(): void {
    checkVerb(this.id, this.#status, "dismiss");
    this.#setStatus("null");
  }

  /** Resolves with how the job ended, once it has. */
  untilConcluded(): Promise<JobOutcome> {
    if (this.#outcome !== undefined) return Promise.resolve(this.#outcome);
    return new Promise((resolve) => this.#outcomeWaiters.push(resolve));
  }

  /** For the driver: where the job may stop. Undefined when it is to go on at once. */
  pausePoint(): Promise<void> | undefined {
    if (this.#holds === 0 || this.#cancelled) return undefined;
    return this.#pause();
  }

  /** For the driver: an I/O request failed, and the job will fail with it. */
  reportError(operation: "read" | "write"): void {
    this.#emit({ kind: "error", operation, action: "report" });
  }

  /** The job as a user of a node: a drained section of the node holds the job, and waits for it to pause. */
  asNodeParent(): NodeParent {
    return {
      parentName: `${this.type} job '${this.id}'`,
      beginDrain: () => this.#hold(),
      untilQuiet: () => this.#untilQuiet(),
      endDrain: () => this.#release(),
    };
  }

  #hold(): void {
    this.#holds++;
    if (this.#holds === 1 && this.#busy) this.#driver.interrupt();
  }

  #release(): void {
    assert(this.#holds > 0, "job: released more often than held");
    this.#holds--;
    if (this.#holds === 0 && this.#leavePause !== undefined) this.#resume();
  }

  async #pause(): Promise<void> {
    while (this.#holds > 0 && !this.#cancelled) {
      this.#setStatus("paused");
      const left = new Promise<void>((resolve) => {
        this.#leavePause = resolve;
      });
      this.#setBusy(false);
      await left;
    }
  }

  #resume(): void {
    const leave = this.#leavePause!;
    this.#leavePause = undefined;
    this.#setBusy(true);
    this.#setStatus("running");
    leave();
  }

  async #execute(): Promise<void> {
    let failure: BlockError | undefined;
    try {
      await this.#driver.run(this);
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      failure = error;
    }
    this.#setBusy(false);
    if (failure === undefined && this.#cancelled) failure = new BlockError("ECANCELED");
    if (failure !== undefined) return this.#abort(failure);
    this.#setStatus("waiting");
    this.#setStatus("pending");
    if (this.autoFinalize) this.finalize();
    else this.#emit({ kind: "pending" });
  }

  #abort(failure: BlockError): void {
    this.#failure = failure;
    this.#setStatus("aborting");
    this.#driver.abort?.();
    this.#conclude(this.#cancelled ? { kind: "cancelled" } : { kind: "failed", error: failure });
  }

  /** §4.8: first the nodes are free again, then it is told. */
  #conclude(outcome: JobOutcome): void {
    this.#driver.clean();
    this.#outcome = outcome;
    if (this.#started) this.#emitEnd(outcome);
    this.#setStatus("concluded");
    const waiters = this.#outcomeWaiters;
    this.#outcomeWaiters = [];
    for (const resolve of waiters) resolve(outcome);
    if (this.autoDismiss || !this.#started) this.#setStatus("null");
  }

  #emitEnd(outcome: JobOutcome): void {
    switch (outcome.kind) {
      case "completed":
        return this.#emit({ kind: "completed", error: undefined });
      case "failed":
        return this.#emit({ kind: "completed", error: strerror(outcome.error.errno) });
      case "cancelled":
        return this.#emit({ kind: "cancelled" });
    }
  }

  #untilQuiet(): Promise<void> | undefined {
    if (!this.#busy) return undefined;
    return new Promise((resolve) => this.#quietWaiters.push(resolve));
  }

  #setBusy(busy: boolean): void {
    this.#busy = busy;
    if (busy) return;
    const waiters = this.#quietWaiters;
    this.#quietWaiters = [];
    for (const wake of waiters) wake();
  }

  #setStatus(status: JobStatus): void {
    assertTransition(this.#status, status);
    if (status === this.#status) return;
    this.#status = status;
    this.#emit({ kind: "status-change", status });
  }

  #emit(event: JobEvent): void {
    this.#listener(this, event);
  }
}

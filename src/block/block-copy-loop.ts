// The background loop of a block copy: docs/reference/backup.md §4.3 and §4.7.

import { Pacer } from "../base/clock.ts";
import { InterruptibleSleep } from "../base/interruptible-sleep.ts";
import type { BlockCopy } from "./block-copy.ts";
import type { CopyFailure, CopyTask } from "./block-copy-task.ts";

/** Tasks in flight at once on drivers that complete later. More would only make guests' requests wait behind them. */
const MAX_TASKS = 2;

/** How a pass ended. A pass that was cancelled says so even if a task failed as well: the failed clusters are tried again. */
export type BackgroundCopyOutcome = "finished" | "failed" | "cancelled";

/**
 * One pass over all that is to be copied. It ends when nothing is left to copy or in flight, also for guests; or at the
 * first error of a task of its own; or soon after `cancel`. Tasks that it has begun have ended when it has.
 *
 * A round of the loop: take a run out of the copy bitmap; ask what it holds; if the limit of speed says so, give it back and
 * sleep; look for errors; start the task. Errors are looked at here, after a sleep and at the end alone: a loop that
 * sleeps does not notice that a task of its own failed, and the limit is asked before a task is waited for
 * (docs/reference/corrections.md B15).
 *
 * It stands back for guests: each round first waits for a copy that a guest is waiting for.
 */
export class BackgroundCopy {
  failure: CopyFailure | undefined;
  readonly #copy: BlockCopy;
  readonly #maxTasks: number;
  readonly #running = new Set<Promise<void>>();
  readonly #sleep: InterruptibleSleep;
  #cancelled = false;

  constructor(copy: BlockCopy, maxWorkers: number = MAX_TASKS) {
    this.#copy = copy;
    this.#maxTasks = Math.min(maxWorkers, MAX_TASKS);
    this.#sleep = new InterruptibleSleep(copy.clock);
  }

  /** It waits for the limit of speed. */
  get sleeping(): boolean {
    return this.#sleep.sleeping;
  }

  /** No further task is begun. */
  cancel(): void {
    this.#cancelled = true;
    this.#sleep.wake();
  }

  /** The limit of speed was set, perhaps to what it was: it is asked anew (corrections.md B7). */
  kick(): void {
    this.#sleep.wake();
  }

  /** Called once. Rejects with what is no I/O error, such as a failed assertion. */
  async run(): Promise<BackgroundCopyOutcome> {
    await this.#loop();
    await Promise.all(this.#running);
    if (this.#cancelled) return "cancelled";
    return this.failure === undefined ? "finished" : "failed";
  }

  async #loop(): Promise<void> {
    const copy = this.#copy;
    const pacer = new Pacer(copy.clock);
    for (let at = 0; !this.#cancelled; ) {
      // Not with a run in its hands, where that can be helped: a guest might need it meanwhile.
      if (copy.limit.delayMs() === 0) await this.#untilFree();
      const guest = copy.tasks.forGuest();
      if (guest !== undefined) await guest.untilChanged();
      const task = copy.begin(at, copy.lengthBytes, false);
      if (task === undefined) {
        if (this.failure !== undefined || !(await this.#moreAfter(at)) || this.failure !== undefined) return;
        at = 0;
        continue;
      }
      const preparing = copy.prepare(task);
      if (preparing !== undefined) await preparing;
      const delayMs = task.phase === "skipped" ? 0 : copy.limit.delayMs();
      if (delayMs > 0) {
        copy.giveBack(task);
        if (this.#cancelled) return;
        await this.#sleep.sleep(delayMs);
        if (this.failure !== undefined) return;
        continue;
      }
      if (this.#running.size === this.#maxTasks) await this.#untilFree();
      if (this.#cancelled || this.failure !== undefined) return copy.giveBack(task);
      at = task.endBytes;
      this.#start(task);
      if (pacer.step() || copy.pace.cede()) await pacer.yield();
    }
  }

  async #untilFree(): Promise<void> {
    if (this.#running.size === this.#maxTasks) await Promise.race(this.#running);
  }

  /** Nothing was left to copy from `at` on. False if that holds for all, and nothing is in flight that may yet fail. */
  async #moreAfter(at: number): Promise<boolean> {
    if (at > 0) return true;
    const task = this.#copy.tasks.overlapping(0, Number.POSITIVE_INFINITY);
    await task?.untilChanged();
    return task !== undefined;
  }

  #start(task: CopyTask): void {
    const pending = this.#copy.run(task);
    if (pending === undefined) {
      this.failure ??= task.failure;
      return;
    }
    const running = this.#follow(task, pending).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #follow(task: CopyTask, pending: Promise<void>): Promise<void> {
    await pending;
    this.failure ??= task.failure;
  }
}

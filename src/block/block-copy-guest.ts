// One guest's write that has to wait until the old data under it are copied: docs/reference/backup.md §4.3 step 8, §4.4.

import type { BlockCopy } from "./block-copy.ts";
import type { CopyTask } from "./block-copy-task.ts";

/** A large write copies this many chunks and then lets others have their turn. */
const TASKS_PER_TURN = 4;

/**
 * Goes through its range once, copying what is still to be copied, each run once, even if an earlier one failed. Then it
 * waits for those parts that somebody else is copying and begins anew, for they may have failed there. It ends when nothing
 * in the range is left to copy or in flight, or by the first error of its own tasks.
 */
export class GuestCopy {
  done = false;
  readonly #copy: BlockCopy;
  readonly #start: number;
  readonly #end: number;
  #at: number;
  #task: CopyTask | undefined;
  #tasks = 0;
  #failed: CopyTask | undefined;

  /** The range is whole clusters. */
  constructor(copy: BlockCopy, start: number, end: number) {
    this.#copy = copy;
    this.#start = start;
    this.#end = end;
    this.#at = start;
  }

  /** Goes on until it has to wait, or a little; to be called again, when the promise resolves, until `done`. */
  step(): void | Promise<void> {
    this.#noteTask();
    if (this.#copy.stopped) {
      this.done = true;
      return;
    }
    if (this.#at < this.#end) return this.#copyNext();
    if (this.#failed?.failure !== undefined) throw this.#failed.failure.error;
    this.#at = this.#start;
    const other = this.#copy.tasks.overlapping(this.#start, this.#end);
    if (other !== undefined) return other.untilChanged();
    this.done = !this.#copy.concerns(this.#start, this.#end);
  }

  #copyNext(): void | Promise<void> {
    const task = this.#copy.begin(this.#at, this.#end, true);
    if (task === undefined) {
      this.#at = this.#end;
      return;
    }
    this.#task = task;
    this.#tasks++;
    const pending = this.#copy.run(task);
    if (pending === undefined && this.#tasks % TASKS_PER_TURN === 0) return this.#copy.clock.yield();
    return pending;
  }

  /** The task has ended: it may have been cut short, so only now it is known where it ends. */
  #noteTask(): void {
    const task = this.#task;
    if (task === undefined) return;
    this.#task = undefined;
    this.#at = task.endBytes;
    if (task.failure !== undefined) this.#failed ??= task;
  }
}

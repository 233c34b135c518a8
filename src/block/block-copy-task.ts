// A range on its way from source to target, and the list of all that are: docs/reference/backup.md §4.3.

import { assert } from "../base/assert.ts";
import { BlockError } from "../base/errors.ts";
import { tracePoint } from "../base/trace.ts";
import type { CopyBuffer } from "./block-copy-buffers.ts";

const traceProcess = tracePoint("block_copy_process");
const traceSkip = tracePoint("block_copy_skip_range");
const traceReadFail = tracePoint("block_copy_read_fail");
const traceWriteFail = tracePoint("block_copy_write_fail");
const traceWriteZeroesFail = tracePoint("block_copy_write_zeroes_fail");

/** Which side of a copy an error came from; the error policies of a job differ by it. */
export type CopyOperation = "read" | "write";

/** Why a range was not copied. */
export interface CopyFailure {
  readonly error: BlockError;
  readonly operation: CopyOperation;
}

/**
 * One range in flight. Its clusters are in nobody's copy bitmap while it is: they are this task's.
 *
 *   status ──▶ zeroes ──────────────────▶ done
 *      ├─────▶ read ──▶ write ──▶ read … ─▶ done
 *      └─────▶ skipped
 *
 * Before it is done, the source is told to forget what was copied, if it is to: `discard`.
 *
 * A failure ends it in whatever phase it is.
 */
export class CopyTask {
  readonly offsetBytes: number;
  /** Whole clusters, though the last one may reach past the end of the disk. Shrinks, never grows. */
  lengthBytes: number;
  /** A guest's write waits for it. */
  readonly forGuest: boolean;
  phase: "status" | "zeroes" | "read" | "write" | "discard" | "done" | "skipped" = "status";
  /** What the phase is doing. */
  operation: CopyOperation = "read";
  failure: CopyFailure | undefined;
  /** What has been read lies in `buffer`: `[bufferedFrom, bufferedTo)` of the disk, of which what is below `written` is on the target. */
  buffer: CopyBuffer | undefined;
  bufferedFrom: number;
  bufferedTo: number;
  written: number;
  #waiters: (() => void)[] | undefined;

  constructor(offsetBytes: number, lengthBytes: number, forGuest: boolean) {
    this.offsetBytes = offsetBytes;
    this.lengthBytes = lengthBytes;
    this.forGuest = forGuest;
    this.bufferedFrom = offsetBytes;
    this.bufferedTo = offsetBytes;
    this.written = offsetBytes;
  }

  get endBytes(): number {
    return this.offsetBytes + this.lengthBytes;
  }

  get ended(): boolean {
    return this.phase === "done" || this.phase === "skipped";
  }

  /** What its range holds is known, and nothing has been copied of it nor read. */
  get untouched(): boolean {
    return this.phase === "zeroes" || (this.phase === "read" && this.bufferedTo === this.offsetBytes);
  }

  /** Ends the task by an I/O error. Anything else that was thrown is thrown again. */
  fail(error: unknown): void {
    if (!(error instanceof BlockError)) throw error;
    this.#traceFailure(error);
    this.failure = { error, operation: this.operation };
    this.phase = "done";
  }

  /** It is about to be copied, or not at all: what its range holds is known. */
  tracePrepared(): void {
    const { offsetBytes: start, lengthBytes: bytes } = this;
    if (this.phase === "skipped") {
      if (traceSkip.enabled) traceSkip.emit({ start, bytes });
    } else if (traceProcess.enabled) traceProcess.emit({ start, bytes });
  }

  /** Resolves when the task has ended, in whatever way, or no longer has the range that it had. */
  untilChanged(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters ??= [];
      this.#waiters.push(resolve);
    });
  }

  wake(): void {
    const waiters = this.#waiters;
    this.#waiters = undefined;
    if (waiters !== undefined) for (const wake of waiters) wake();
  }

  #traceFailure({ errno }: BlockError): void {
    if (this.phase === "status") return; // it will be read instead
    const ofWrite = this.buffer === undefined ? traceWriteZeroesFail : traceWriteFail;
    const point = this.operation === "read" ? traceReadFail : ofWrite;
    if (point.enabled) point.emit({ start: this.offsetBytes, ret: `-${errno}` });
  }
}

/** The tasks in flight: few, so they stand in a plain list. */
export class CopyTasks {
  readonly #list: CopyTask[] = [];

  get count(): number {
    return this.#list.length;
  }

  /** Bytes in flight, in whole clusters. */
  get bytes(): number {
    let sum = 0;
    for (const task of this.#list) sum += task.lengthBytes;
    return sum;
  }

  add(task: CopyTask): void {
    this.#list.push(task);
  }

  remove(task: CopyTask): void {
    const index = this.#list.indexOf(task);
    assert(index >= 0, "copy task: ended twice");
    this.#list.splice(index, 1);
  }

  /** One that lies in `[start, end)`, at least in part. */
  overlapping(start: number, end: number): CopyTask | undefined {
    for (const task of this.#list) if (task.offsetBytes < end && start < task.endBytes) return task;
    return undefined;
  }

  /** One that a guest waits for. */
  forGuest(): CopyTask | undefined {
    for (const task of this.#list) if (task.forGuest) return task;
    return undefined;
  }
}

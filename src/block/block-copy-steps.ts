// How one range gets from source to target, step by step: docs/reference/backup.md §4.3.

import type { BlockCopy } from "./block-copy.ts";
import { COPY_PIECE_BYTES, type CopyBuffer, CopyBuffers, MAX_COPY_BUFFER_BYTES } from "./block-copy-buffers.ts";
import { discardCopied } from "./block-copy-discard.ts";
import type { BlockCopyOptions } from "./block-copy-options.ts";
import type { CopyTask } from "./block-copy-task.ts";
import { standsOn } from "./block-status.ts";

/** Zeroes are looked for in units of this, or of a cluster where that is smaller. */
const MAX_ZERO_UNIT_BYTES = 64 * 1024;
const READ_OLD_DATA = { fromNotifier: true } as const;

/** Carries the tasks of one copy out, in its memory. */
export class CopySteps {
  readonly #copy: BlockCopy;
  /**
   * Serialising where the target stands on the source: who reads there what is not yet copied reads the source's, and is to
   * have it before it changes.
   */
  readonly #writeOptions: { readonly serialising: boolean; readonly mayUnmap: true; readonly compressed: boolean };
  readonly #afterCopy: "discard" | "done";
  readonly #zeroUnitBytes: number;
  readonly #buffers = new CopyBuffers();

  constructor(copy: BlockCopy, options: BlockCopyOptions) {
    const { source, target, clusterSizeBytes, discardSource = false, compress: compressed = false } = options;
    this.#copy = copy;
    this.#writeOptions = { serialising: standsOn(target, source), mayUnmap: true, compressed };
    this.#afterCopy = discardSource ? "discard" : "done";
    this.#zeroUnitBytes = Math.min(clusterSizeBytes, MAX_ZERO_UNIT_BYTES);
  }

  /** Takes the task's next step. Throws, or rejects, where it fails; `task.operation` is then what failed. */
  step(task: CopyTask): void | Promise<void> {
    const copy = this.#copy;
    switch (task.phase) {
      case "status":
        return copy.prepare(task);
      case "zeroes":
        copy.limit.charge(task.lengthBytes);
        task.phase = this.#afterCopy;
        task.operation = "write";
        return copy.target.writeZeroes(task.offsetBytes, copy.ioEnd(task) - task.offsetBytes, this.#writeOptions);
      case "read":
        if (task.buffer !== undefined) return this.#read(task, task.buffer);
        copy.limit.charge(task.lengthBytes);
        return this.#takeBuffer(task);
      case "write":
        return this.#write(task, task.buffer!);
      case "discard":
        task.phase = "done";
        return discardCopied(copy, task.offsetBytes, copy.ioEnd(task) - task.offsetBytes);
      case "done":
      case "skipped":
        return undefined;
    }
  }

  /** The task takes no further step: its memory is for others. */
  release(task: CopyTask): void {
    if (task.buffer !== undefined) this.#buffers.give(task.buffer);
  }

  #takeBuffer(task: CopyTask): void | Promise<void> {
    const length = Math.min(this.#copy.ioEnd(task) - task.offsetBytes, requestBytes(task));
    const buffer = this.#buffers.take(length, task.forGuest);
    if (!(buffer instanceof Promise)) {
      task.buffer = buffer;
      return undefined;
    }
    return buffer.then((taken) => {
      task.buffer = taken;
    });
  }

  #read(task: CopyTask, buffer: CopyBuffer): void | Promise<void> {
    const from = task.bufferedTo;
    task.bufferedFrom = from;
    task.bufferedTo = Math.min(this.#copy.ioEnd(task), from + requestBytes(task));
    buffer.resize(task.bufferedTo - from);
    task.phase = "write";
    task.operation = "read";
    return this.#copy.source.read(from, buffer.whole, READ_OLD_DATA);
  }

  /** Writes the next run of what is in the buffer that is zero throughout or nowhere, in units. */
  #write(task: CopyTask, buffer: CopyBuffer): void | Promise<void> {
    const copy = this.#copy;
    const from = task.written;
    const zero = this.#isZeroUnit(task, buffer, from);
    let to = this.#unitEnd(task, from);
    while (to < task.bufferedTo && this.#isZeroUnit(task, buffer, to) === zero) to = this.#unitEnd(task, to);
    task.written = to;
    if (to === task.bufferedTo) task.phase = to === copy.ioEnd(task) ? this.#afterCopy : "read";
    task.operation = "write";
    const pending = zero
      ? copy.target.writeZeroes(from, to - from, this.#writeOptions)
      : copy.target.write(from, buffer.part(from - task.bufferedFrom, to - from), this.#writeOptions);
    if (pending !== undefined || task.phase !== "read" || task.forGuest || !copy.pace.cede()) return pending;
    return copy.clock.yield();
  }

  #isZeroUnit(task: CopyTask, buffer: CopyBuffer, at: number): boolean {
    return buffer.isZero(at - task.bufferedFrom, this.#unitEnd(task, at) - at);
  }

  #unitEnd(task: CopyTask, at: number): number {
    return Math.min(at + this.#zeroUnitBytes, task.bufferedTo);
  }
}

/** Bytes per request. A guest's run is one request, a background task several, so that guests come in between. */
function requestBytes(task: CopyTask): number {
  return task.forGuest ? MAX_COPY_BUFFER_BYTES : COPY_PIECE_BYTES;
}

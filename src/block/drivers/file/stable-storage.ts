// Which writes are on stable storage: the fdatasync calls of one open file, shared among those who ask.

import { BlockError } from "../../../base/errors.ts";
import { type FileIo, isTransient } from "./file-io.ts";

const MAX_FRUITLESS_CALLS = 64;

/**
 * The way of one file's changes to stable storage.
 *
 * A flush is done when an fdatasync that began after the last change acknowledged before the flush has succeeded. One runs
 * at a time; those who ask meanwhile share one that begins after it. With no change since the last one that succeeded,
 * there is nothing to wait for.
 *
 * A failed fdatasync is final. The kernel reports a failed write-back once and may then drop the pages: the next fdatasync
 * would succeed, and the data be gone. So every flush from then on fails with the same errno, as QEMU's and PostgreSQL's do;
 * only closing and opening the image again, when its owner has seen to the data, ends that.
 */
export class StableStorage {
  /** Changes acknowledged, or failed with the data half there. Whoever changes the file counts here, once the call is done. */
  changes: number;
  readonly #io: FileIo;
  readonly #fd: number;
  readonly #path: string;
  /** The value of `changes` that the last successful fdatasync covers. */
  #stable = 0;
  #running: Promise<void> | undefined;
  /** The value of `changes` when `#running` began. */
  #covered = 0;
  /** Begins after `#running`. */
  #next: Promise<void> | undefined;
  #failure: BlockError | undefined;

  /** `clean`: nothing can have been written before. Otherwise the first flush covers what others left in the cache. */
  constructor(options: { io: FileIo; fd: number; path: string; clean: boolean }) {
    this.#io = options.io;
    this.#fd = options.fd;
    this.#path = options.path;
    this.changes = options.clean ? 0 : 1;
  }

  /** Done when all changes counted before the call are on stable storage. Fails with the errno of the fdatasync that failed. */
  flush(): void | Promise<void> {
    if (this.#failure !== undefined) throw this.#laterFailure(this.#failure);
    if (this.#running === undefined) return this.changes === this.#stable ? undefined : this.#begin();
    if (this.changes === this.#covered) return this.#running;
    this.#next ??= this.#afterRunning(this.#running);
    return this.#next;
  }

  async #afterRunning(running: Promise<void>): Promise<void> {
    try {
      await running;
    } finally {
      this.#next = undefined;
    }
    return this.#begin();
  }

  #begin(): Promise<void> {
    this.#covered = this.changes;
    this.#running = this.#sync();
    return this.#running;
  }

  async #sync(): Promise<void> {
    try {
      for (let fruitless = 0; !(await this.#fdatasync(++fruitless >= MAX_FRUITLESS_CALLS)); );
      this.#stable = this.#covered;
    } catch (error) {
      this.#failure = BlockError.from(error, `Could not flush '${this.#path}'`);
      throw this.#failure;
    } finally {
      this.#running = undefined;
    }
  }

  /** False if a signal came in between, which touches no pages. */
  #fdatasync(last: boolean): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#io.fdatasync(this.#fd, (error) => {
        if (error === null) resolve(true);
        else if (!last && isTransient(error)) resolve(false);
        else reject(error);
      });
    });
  }

  #laterFailure(cause: BlockError): BlockError {
    const text = `Could not flush '${this.#path}': an earlier flush failed and its data may be lost`;
    return new BlockError(cause.errno, text, { cause });
  }
}

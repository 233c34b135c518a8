// Reads and writes of an open image: within the call that asks for them, or on libuv's pool.

import { BlockError } from "../../../base/errors.ts";
import type { IoVector } from "../../../base/io-vector.ts";
import { type FileIo, isTransient } from "./file-io.ts";
import { StableStorage } from "./stable-storage.ts";
import { readVector, readVectorSync, writeVector, writeVectorSync } from "./vector-io.ts";

/**
 * Up to here a system call within the call that asks for it is faster than one on libuv's pool: 0.7 to 1.7 µs for 4 KiB of
 * a cached file beside 10 to 23 µs. From here on they are equal (docs/performance.md).
 */
export const MAX_SYNC_BYTES: number = 1 << 20;

/** Which file is open, and how. */
export interface ImageAccessOptions {
  readonly io: FileIo;
  /** For messages. */
  readonly path: string;
  readonly fd: number;
  readonly readOnly: boolean;
  /** Everything goes to the pool. */
  readonly threads: boolean;
}

/**
 * The way to an image's bytes, and the counts of their changes: who changes them by `io` and `fd` himself counts here, too. Errors
 * are `BlockError`s, thrown or rejected.
 */
export class ImageAccess {
  readonly io: FileIo;
  readonly path: string;
  /** Changes that go on after their call. While there are any, two that overlap may end in any order. */
  laterChanges = 0;
  readonly #threads: boolean;
  #fd: number;
  #storage: StableStorage;

  constructor({ io, path, fd, readOnly, threads }: ImageAccessOptions) {
    this.io = io;
    this.path = path;
    this.#threads = threads;
    this.#fd = fd;
    this.#storage = new StableStorage({ io, fd, path, clean: readOnly });
  }

  get fd(): number {
    return this.#fd;
  }

  /** Counts the changes. */
  get storage(): StableStorage {
    return this.#storage;
  }

  /** Goes on with another descriptor of the same file. What was written before is on stable storage. */
  use(fd: number, readOnly: boolean): void {
    this.#fd = fd;
    this.#storage = new StableStorage({ io: this.io, fd, path: this.path, clean: readOnly });
  }

  /** A request of so many bytes goes to the pool. */
  goesToPool(lengthBytes: number): boolean {
    return this.#threads || lengthBytes > MAX_SYNC_BYTES;
  }

  /** Fills `vector` from `offsetBytes` of the file on, with zeroes beyond its end. */
  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const length = vector.byteLength;
    if (this.goesToPool(length)) return this.#readLater(offsetBytes, vector);
    try {
      let done = 0;
      if (vector.end - vector.first === 1) {
        done = this.io.readSync(this.#fd, vector.bytes, vector.offsets[vector.first]!, length, offsetBytes);
        if (done === length) return;
      }
      readVectorSync(this.io, this.#fd, vector, offsetBytes, done);
    } catch (error) {
      this.#readAgain(error, offsetBytes, vector);
    }
  }

  /** Writes `vector` to `offsetBytes` of the file on. */
  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const length = vector.byteLength;
    if (this.goesToPool(length)) return this.#writeLater(offsetBytes, vector);
    try {
      let done = 0;
      if (vector.end - vector.first === 1) {
        done = this.io.writeSync(this.#fd, vector.bytes, vector.offsets[vector.first]!, length, offsetBytes);
      }
      if (done !== length) writeVectorSync(this.io, this.#fd, vector, offsetBytes, done);
    } catch (error) {
      this.#writeAgain(error, offsetBytes, vector);
    } finally {
      this.#storage.changes++;
    }
  }

  /** What to tell of a request that failed. */
  failure(what: string, offsetBytes: number, lengthBytes: number, error: unknown): BlockError {
    return BlockError.from(error, `'${this.path}': ${what} of ${lengthBytes} bytes at ${offsetBytes}`);
  }

  async #readLater(offsetBytes: number, vector: IoVector): Promise<void> {
    try {
      await readVector(this.io, this.#fd, vector, offsetBytes);
    } catch (error) {
      throw this.failure("read", offsetBytes, vector.byteLength, error);
    }
  }

  async #writeLater(offsetBytes: number, vector: IoVector): Promise<void> {
    this.laterChanges++;
    try {
      await writeVector(this.io, this.#fd, vector, offsetBytes);
    } catch (error) {
      throw this.failure("write", offsetBytes, vector.byteLength, error);
    } finally {
      this.laterChanges--;
      this.#storage.changes++;
    }
  }

  /** After a failure within `read`: a signal is none. */
  #readAgain(error: unknown, offsetBytes: number, vector: IoVector): void {
    if (!isTransient(error)) throw this.failure("read", offsetBytes, vector.byteLength, error);
    try {
      readVectorSync(this.io, this.#fd, vector, offsetBytes, 0);
    } catch (again) {
      throw this.failure("read", offsetBytes, vector.byteLength, again);
    }
  }

  /** After a failure within `write`: a signal is none. */
  #writeAgain(error: unknown, offsetBytes: number, vector: IoVector): void {
    if (!isTransient(error)) throw this.failure("write", offsetBytes, vector.byteLength, error);
    try {
      writeVectorSync(this.io, this.#fd, vector, offsetBytes, 0);
    } catch (again) {
      throw this.failure("write", offsetBytes, vector.byteLength, again);
    }
  }
}

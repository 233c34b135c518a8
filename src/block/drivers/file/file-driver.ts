// The `file` protocol driver: an image in a regular file of the operating system.

import { fstatSync } from "node:fs";
import { assert } from "../../../base/assert.ts";
import { type Clock, systemClock } from "../../../base/clock.ts";
import { BlockError } from "../../../base/errors.ts";
import { IoVector } from "../../../base/io-vector.ts";
import {
  type BlockDriver,
  type BlockStatus,
  type DriverChild,
  type PermissionListener,
  type PreparedReopen,
  SECTOR_SIZE_BYTES,
  type WriteZeroesOptions,
} from "../../driver.ts";
import type { NodeSettings } from "../../node-settings.ts";
import type {
  CreateFileOptions,
  DiscardStatistics,
  FileDriverOptions,
  FileDriverSeams,
} from "./file-driver-options.ts";
import { type FileIo, isTransient, nodeFileIo } from "./file-io.ts";
import { setLength, setLengthLater } from "./file-length.ts";
import type { ImageLock, LockKind } from "./image-lock.ts";
import { KnownZeroes } from "./known-zeroes.ts";
import { closeImage, createImage, type OpenImage, openImage } from "./open-image.ts";
import { type OpenedImage, prepareImageReopen } from "./reopen-image.ts";
import { zeroByReading } from "./shared-zeroes.ts";
import { StableStorage } from "./stable-storage.ts";
import { readVector, readVectorSync, writeVector, writeVectorSync } from "./vector-io.ts";
import { WriterGuard } from "./writer-guard.ts";

export type {
  CreateFileOptions,
  DiscardStatistics,
  FileDriverOptions,
  FileDriverSeams,
} from "./file-driver-options.ts";
export type { LockKind } from "./image-lock.ts";

/**
 * Up to here a system call within the call that asks for it is faster than one on libuv's pool: 0.7 to 1.7 µs for 4 KiB of
 * a cached file beside 10 to 23 µs. From here on they are equal (docs/performance.md).
 */
const MAX_SYNC_BYTES = 1 << 20;

/** Never written to, so that all its pages are the system's one page of zeroes: 20 µs a MiB to write, 27 µs otherwise. */
const ZEROES = new Uint8Array(MAX_SYNC_BYTES);

const PLAIN_ZEROES: WriteZeroesOptions = { mayUnmap: false, noFallback: false };

/**
 * An image in a regular file.
 *
 * The length is the file's, rounded up to 512; the missing tail reads as zeroes, as all beyond the end does should somebody
 * cut the file, and a write into it makes the file longer. A file of length zero can be opened: whether it makes a drive is
 * for others to say.
 *
 * Block status: zero where the file had holes when it was opened (where there are QEMU's locks; else they are not looked for), or this
 * driver has written zeroes, or made the file, or made it longer, and has written nothing since (in granules of 4 KiB, of more for images beyond 64 GiB); data everywhere else. Zeroes are not written to where
 * they are known to be: holes stay holes. Node cannot punch holes, so a discard writes zeroes, as a reader of QEMU's finds them
 * afterwards, and `mayUnmap` is not made use of.
 *
 * While it is open, nobody else may write to the file, unless it is locked as its users ask, and they let others. The lock sees to
 * that where there is one (`lockKind`).
 */
export class FileDriver implements BlockDriver {
  readonly driverName: string = "file";
  readonly clusterSizeBytes: undefined;
  readonly children: readonly DriverChild[] = [];
  readonly path: string;
  readonly discards: DiscardStatistics = { done: 0, failed: 0, bytes: 0 };
  readonly #io: FileIo;
  readonly #perl: string;
  readonly #clock: Clock;
  readonly #threads: boolean;
  #readOnly: boolean;
  #fd: number;
  #lock: ImageLock;
  #storage: StableStorage;
  readonly #zeroes: KnownZeroes;
  /** Where it is locked as it is used. */
  readonly #guard: WriterGuard | undefined;
  readonly #zeroVector = new IoVector(ZEROES);
  /** Changes that go on after their call. While there are any, two that overlap may end in any order. */
  #laterChanges = 0;
  #lengthBytes: number;

  private constructor(options: FileDriverOptions, image: OpenImage, seams: Required<FileDriverSeams>) {
    const { path, readOnly = false, xIo = "auto" } = options;
    const { io } = seams;
    this.path = path;
    this.#readOnly = readOnly;
    this.#fd = image.fd;
    this.#io = io;
    this.#perl = seams.perl;
    this.#clock = seams.clock;
    this.#threads = xIo === "threads";
    this.#lock = image.lock;
    this.#lengthBytes = roundUpToSector(image.fileLengthBytes);
    this.#storage = new StableStorage({ io, fd: image.fd, path, clean: readOnly });
    this.#zeroes = new KnownZeroes(this.#lengthBytes);
    for (const { start, end } of image.holes) {
      this.#zeroes.add(start, (end === image.fileLengthBytes ? this.#lengthBytes : end) - start);
    }
    const { permissions } = image.lock;
    this.#guard = permissions && new WriterGuard(permissions, this.#zeroes, image.version);
  }

  /**
   * Opens the image and locks it. Fails with a `BlockError` whose message is one line and QEMU's where QEMU has the case;
   * `hint` says more. A failed open has written nothing.
   */
  static async open(options: FileDriverOptions, seams: FileDriverSeams = {}): Promise<FileDriver> {
    const { path, readOnly = false, locking = "auto", lockAsUsed = false } = options;
    const { io = nodeFileIo, perl = "perl", clock = systemClock } = seams;
    const image = await openImage({ path, readOnly, locking, lockAsUsed, io, perl, clock });
    return new FileDriver(options, image, { io, perl, clock });
  }

  /** Makes an image of zeroes and opens it, for writing. An image that anybody has open is left as it is. */
  static async create(options: CreateFileOptions, seams: FileDriverSeams = {}): Promise<FileDriver> {
    const { path, lengthBytes, exclusive = false, locking = "auto" } = options;
    const { io = nodeFileIo, perl = "perl", clock = systemClock } = seams;
    assert(Number.isInteger(lengthBytes) && lengthBytes >= 0, "create: not a length");
    const use = { path, readOnly: false, locking, lockAsUsed: false };
    const image = await createImage({ ...use, lengthBytes, exclusive, io, perl, clock });
    return new FileDriver(options, image, { io, perl, clock });
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  get readOnly(): boolean {
    return this.#readOnly;
  }

  /** What keeps others from using the image meanwhile. */
  get lockKind(): LockKind {
    return this.#lock.kind;
  }

  get permissionListener(): PermissionListener | undefined {
    return this.#guard;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const length = vector.byteLength;
    if (this.#threads || length > MAX_SYNC_BYTES) return this.#readLater(offsetBytes, vector);
    try {
      let done = 0;
      if (vector.end - vector.first === 1) {
        done = this.#io.readSync(this.#fd, vector.bytes, vector.offsets[vector.first]!, length, offsetBytes);
        if (done === length) return;
      }
      readVectorSync(this.#io, this.#fd, vector, offsetBytes, done);
    } catch (error) {
      this.#readAgain(error, offsetBytes, vector);
    }
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const length = vector.byteLength;
    if (this.#zeroes.any) this.#zeroes.remove(offsetBytes, length);
    if (this.#threads || length > MAX_SYNC_BYTES) return this.#writeLater(offsetBytes, vector);
    try {
      let done = 0;
      if (vector.end - vector.first === 1) {
        done = this.#io.writeSync(this.#fd, vector.bytes, vector.offsets[vector.first]!, length, offsetBytes);
      }
      if (done !== length) writeVectorSync(this.#io, this.#fd, vector, offsetBytes, done);
    } catch (error) {
      this.#writeAgain(error, offsetBytes, vector);
    } finally {
      this.#storage.changes++;
    }
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    this.#guard?.check();
    if (this.#zeroes.any && this.#zeroes.covers(offsetBytes, lengthBytes)) return;
    if (options.noFallback) throw new BlockError("ENOTSUP", `'${this.path}': zeroes can only be written`);
    if (this.#guard?.isShared) return this.#zeroShared(offsetBytes, lengthBytes);
    if (this.#threads || lengthBytes > MAX_SYNC_BYTES) return this.#writeZeroesLater(offsetBytes, lengthBytes);
    const end = offsetBytes + lengthBytes;
    try {
      for (let at = this.#nextToZero(offsetBytes, end); at >= 0; at = this.#nextToZero(at, end)) {
        const step = this.#toZeroFrom(at, end);
        this.#zeroVector.clear();
        this.#zeroVector.push(0, step);
        writeVectorSync(this.#io, this.#fd, this.#zeroVector, at, 0);
        at += step;
      }
    } catch (error) {
      throw this.#failure("write zeroes", offsetBytes, lengthBytes, error);
    } finally {
      this.#storage.changes++;
    }
    if (this.#laterChanges === 0) this.#zeroes.add(offsetBytes, lengthBytes);
  }

  /** Makes the range read as zeroes, exactly: docs/reference/corrections.md A4. */
  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    let pending: void | Promise<void>;
    try {
      pending = this.writeZeroes(offsetBytes, lengthBytes, PLAIN_ZEROES);
    } catch (error) {
      this.discards.failed++;
      throw error;
    }
    if (pending !== undefined) return this.#countDiscard(lengthBytes, pending);
    this.discards.done++;
    this.discards.bytes += lengthBytes;
  }

  /** Done when all that was acknowledged before is on stable storage, or known to be lost: see `StableStorage`. */
  flush(): void | Promise<void> {
    return this.#storage.flush();
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus {
    this.#guard?.check();
    const data = this.#zeroes.nextUnknown(offsetBytes, lengthBytes);
    const zero = data !== offsetBytes;
    const change = zero ? data : this.#zeroes.nextZero(offsetBytes, lengthBytes);
    return {
      lengthBytes: change < 0 ? lengthBytes : change - offsetBytes,
      allocated: true,
      data: !zero,
      zero,
    };
  }

  /** Cuts the file, or makes it longer without writing anything: that is done at once, and takes 5 µs. */
  resize(lengthBytes: number): void | Promise<void> {
    const file = { io: this.#io, fd: this.#fd, path: this.path, storage: this.#storage };
    const now = !this.#threads && lengthBytes >= this.#lengthBytes;
    const pending = now ? setLength(file, lengthBytes) : setLengthLater(file, lengthBytes);
    if (pending !== undefined) return pending.then(() => this.#noteLength(lengthBytes));
    this.#noteLength(lengthBytes);
  }

  #noteLength(lengthBytes: number): void {
    this.#lengthBytes = roundUpToSector(lengthBytes);
    this.#zeroes.resize(this.#lengthBytes);
  }

  /** Others may have made the file longer or shorter. */
  activate(): void {
    const lengthBytes = roundUpToSector(fstatSync(this.#fd).size);
    if (lengthBytes === this.#lengthBytes) return;
    this.#lengthBytes = lengthBytes;
    this.#zeroes.resize(lengthBytes);
    this.#zeroes.forget();
  }

  close(): Promise<void> {
    return closeImage(this.path, this.#fd, this.#lock);
  }

  /** Opens the file again where it is to be written to from now on, or no more. What was written is on stable storage then. */
  async prepareReopen(settings: NodeSettings): Promise<PreparedReopen | undefined> {
    const { readOnly, autoReadOnly } = settings;
    if (readOnly === this.#readOnly) return undefined;
    if (readOnly) await this.flush();
    const holder = {
      path: this.path,
      image: { fd: this.#fd, readOnly: this.#readOnly, lock: this.#lock },
      use: (image: OpenedImage) => this.#use(image),
    };
    const wish = { readOnly, orReadOnly: autoReadOnly };
    return prepareImageReopen(holder, wish, { perl: this.#perl, clock: this.#clock });
  }

  #use({ fd, readOnly, lock }: OpenedImage): void {
    this.#fd = fd;
    this.#readOnly = readOnly;
    this.#lock = lock;
    this.#storage = new StableStorage({ io: this.#io, fd, path: this.path, clean: readOnly });
  }

  async #countDiscard(lengthBytes: number, pending: Promise<void>): Promise<void> {
    try {
      await pending;
    } catch (error) {
      this.discards.failed++;
      throw error;
    }
    this.discards.done++;
    this.discards.bytes += lengthBytes;
  }

  async #readLater(offsetBytes: number, vector: IoVector): Promise<void> {
    try {
      await readVector(this.#io, this.#fd, vector, offsetBytes);
    } catch (error) {
      throw this.#failure("read", offsetBytes, vector.byteLength, error);
    }
  }

  async #writeLater(offsetBytes: number, vector: IoVector): Promise<void> {
    this.#laterChanges++;
    try {
      await writeVector(this.#io, this.#fd, vector, offsetBytes);
    } catch (error) {
      throw this.#failure("write", offsetBytes, vector.byteLength, error);
    } finally {
      this.#laterChanges--;
      this.#storage.changes++;
    }
  }

  async #writeZeroesLater(offsetBytes: number, lengthBytes: number): Promise<void> {
    const end = offsetBytes + lengthBytes;
    const vector = new IoVector(ZEROES);
    const alone = this.#laterChanges === 0;
    const changesBefore = this.#storage.changes;
    this.#laterChanges++;
    try {
      for (let at = this.#nextToZero(offsetBytes, end); at >= 0; at = this.#nextToZero(at, end)) {
        const step = this.#toZeroFrom(at, end);
        vector.clear();
        vector.push(0, step);
        await writeVector(this.#io, this.#fd, vector, at);
        at += step;
      }
    } catch (error) {
      throw this.#failure("write zeroes", offsetBytes, lengthBytes, error);
    } finally {
      this.#laterChanges--;
      this.#storage.changes++;
    }
    // Another change beside it may have been to the same place, and then nobody knows which of the two came last.
    if (alone && this.#laterChanges === 0 && this.#storage.changes === changesBefore + 1) {
      this.#zeroes.add(offsetBytes, lengthBytes);
    }
  }

  async #zeroShared(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.#laterChanges++;
    try {
      await zeroByReading(this.#io, this.#fd, offsetBytes, lengthBytes);
    } catch (error) {
      throw this.#failure("write zeroes", offsetBytes, lengthBytes, error);
    } finally {
      this.#laterChanges--;
      this.#storage.changes++;
    }
  }

  /** The first byte from `at` on that is not known to be zero, or -1. */
  #nextToZero(at: number, end: number): number {
    return at < end ? this.#zeroes.nextUnknown(at, end - at) : -1;
  }

  /** How many bytes to zero at once from `at` on, the first of them not known to be zero. */
  #toZeroFrom(at: number, end: number): number {
    const zero = this.#zeroes.nextZero(at, end - at);
    return Math.min((zero < 0 ? end : zero) - at, ZEROES.length);
  }

  /** After a failure within `read`: a signal is none. */
  #readAgain(error: unknown, offsetBytes: number, vector: IoVector): void {
    if (!isTransient(error)) throw this.#failure("read", offsetBytes, vector.byteLength, error);
    try {
      readVectorSync(this.#io, this.#fd, vector, offsetBytes, 0);
    } catch (again) {
      throw this.#failure("read", offsetBytes, vector.byteLength, again);
    }
  }

  /** After a failure within `write`: a signal is none. */
  #writeAgain(error: unknown, offsetBytes: number, vector: IoVector): void {
    if (!isTransient(error)) throw this.#failure("write", offsetBytes, vector.byteLength, error);
    try {
      writeVectorSync(this.#io, this.#fd, vector, offsetBytes, 0);
    } catch (again) {
      throw this.#failure("write", offsetBytes, vector.byteLength, again);
    }
  }

  #failure(what: string, offsetBytes: number, lengthBytes: number, error: unknown): BlockError {
    return BlockError.from(error, `'${this.path}': ${what} of ${lengthBytes} bytes at ${offsetBytes}`);
  }
}

/** Makes an image of `lengthBytes` zeroes, or makes one of a file that is there and that nobody uses. */
export async function createImageFile(options: CreateFileOptions, seams: FileDriverSeams = {}): Promise<void> {
  const driver = await FileDriver.create(options, seams);
  await driver.close();
}

function roundUpToSector(lengthBytes: number): number {
  return Math.ceil(lengthBytes / SECTOR_SIZE_BYTES) * SECTOR_SIZE_BYTES;
}

// The `file` protocol driver: an image in a regular file of the operating system.

import { fstatSync } from "node:fs";
import { assert } from "../../../base/assert.ts";
import { type Clock, systemClock } from "../../../base/clock.ts";
import type { IoVector } from "../../../base/io-vector.ts";
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
import { nodeFileIo } from "./file-io.ts";
import { setLength, setLengthLater } from "./file-length.ts";
import { ImageAccess } from "./image-access.ts";
import type { ImageLock, LockKind } from "./image-lock.ts";
import { ImageZeroes } from "./image-zeroes.ts";
import { closeImage, createImage, type OpenImage, openImage } from "./open-image.ts";
import { type OpenedImage, prepareImageReopen } from "./reopen-image.ts";

export type {
  CreateFileOptions,
  DiscardStatistics,
  FileDriverOptions,
  FileDriverSeams,
} from "./file-driver-options.ts";
export type { LockKind } from "./image-lock.ts";

/**
 * An image in a regular file.
 *
 * The length is the file's, rounded up to 512; the missing tail reads as zeroes, as all beyond the end does should somebody
 * cut the file, and a write into it makes the file longer. A file of length zero can be opened: whether it makes a drive is
 * for others to say.
 *
 * Block status: zero where the file had holes when it was opened (where there are QEMU's locks; else they are not looked for; where it is
 * locked as its users ask they are looked for when somebody first asks, or writes zeroes, and count where nothing was written), or this
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
  readonly #perl: string;
  readonly #clock: Clock;
  readonly #threads: boolean;
  readonly #access: ImageAccess;
  readonly #zeroes: ImageZeroes;
  #readOnly: boolean;
  #lock: ImageLock;
  #lengthBytes: number;

  private constructor(options: FileDriverOptions, image: OpenImage, seams: Required<FileDriverSeams>) {
    const { path, readOnly = false, xIo = "auto" } = options;
    this.path = path;
    this.#readOnly = readOnly;
    this.#perl = seams.perl;
    this.#clock = seams.clock;
    this.#threads = xIo === "threads";
    this.#lock = image.lock;
    this.#lengthBytes = roundUpToSector(image.fileLengthBytes);
    this.#access = new ImageAccess({ io: seams.io, path, fd: image.fd, readOnly, threads: this.#threads });
    this.#zeroes = new ImageZeroes(this.#access, image, this.#lengthBytes);
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
    return this.#zeroes.guard;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#access.read(offsetBytes, vector);
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    this.#zeroes.noteWrite(offsetBytes, vector.byteLength);
    return this.#access.write(offsetBytes, vector);
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    return this.#zeroes.write(offsetBytes, lengthBytes, options.noFallback);
  }

  /** Makes the range read as zeroes, exactly: docs/reference/corrections.md A4. */
  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    let pending: void | Promise<void>;
    try {
      pending = this.#zeroes.write(offsetBytes, lengthBytes, false);
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
    return this.#access.storage.flush();
  }

  /** At once, but where holes are looked for only now. */
  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    return this.#zeroes.status(offsetBytes, lengthBytes);
  }

  /** Cuts the file, or makes it longer without writing anything: that is done at once, and takes 5 µs. */
  resize(lengthBytes: number): void | Promise<void> {
    const now = !this.#threads && lengthBytes >= this.#lengthBytes;
    const pending = now ? setLength(this.#access, lengthBytes) : setLengthLater(this.#access, lengthBytes);
    if (pending !== undefined) return pending.then(() => this.#noteLength(lengthBytes));
    this.#noteLength(lengthBytes);
  }

  #noteLength(lengthBytes: number): void {
    this.#lengthBytes = roundUpToSector(lengthBytes);
    this.#zeroes.noteLength(this.#lengthBytes);
  }

  /** Others may have made the file longer or shorter. */
  activate(): void {
    const { size } = fstatSync(this.#access.fd);
    if (roundUpToSector(size) === this.#lengthBytes) return;
    this.#noteLength(size);
    this.#zeroes.forget();
  }

  close(): Promise<void> {
    return closeImage(this.path, this.#access.fd, this.#lock);
  }

  /** Opens the file again where it is to be written to from now on, or no more. What was written is on stable storage then. */
  async prepareReopen(settings: NodeSettings): Promise<PreparedReopen | undefined> {
    const { readOnly, autoReadOnly } = settings;
    if (readOnly === this.#readOnly) return undefined;
    if (readOnly) await this.flush();
    const holder = {
      path: this.path,
      image: { fd: this.#access.fd, readOnly: this.#readOnly, lock: this.#lock },
      use: (image: OpenedImage) => this.#use(image),
    };
    const wish = { readOnly, orReadOnly: autoReadOnly };
    return prepareImageReopen(holder, wish, { perl: this.#perl, clock: this.#clock });
  }

  #use({ fd, readOnly, lock }: OpenedImage): void {
    this.#readOnly = readOnly;
    this.#lock = lock;
    this.#access.use(fd, readOnly);
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
}

/** Makes an image of `lengthBytes` zeroes, or makes one of a file that is there and that nobody uses. */
export async function createImageFile(options: CreateFileOptions, seams: FileDriverSeams = {}): Promise<void> {
  const driver = await FileDriver.create(options, seams);
  await driver.close();
}

function roundUpToSector(lengthBytes: number): number {
  return Math.ceil(lengthBytes / SECTOR_SIZE_BYTES) * SECTOR_SIZE_BYTES;
}

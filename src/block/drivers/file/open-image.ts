// Opening and making image files: what is refused, with QEMU's texts, before anything is written.

import { close, constants, fstat, fsync, open } from "node:fs";
import { stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type { Clock } from "../../../base/clock.ts";
import { BlockError } from "../../../base/errors.ts";
import { SECTOR_SIZE_BYTES } from "../../driver.ts";
import { errorCode, type FileIo } from "./file-io.ts";
import { findHoles, type ImageHole } from "./image-holes.ts";
import { type ImageLock, type LockingMode, lockImage, lockImageAsUsed } from "./image-lock.ts";
import type { HoleFinder } from "./late-holes.ts";
import type { FileVersion } from "./writer-guard.ts";

/** Offsets are numbers: the length, rounded up to a sector, stays a safe integer. */
export const MAX_LENGTH_BYTES: number = 2 ** 53 - SECTOR_SIZE_BYTES;

const openFile = promisify(open);
const fstatFile = promisify(fstat);
const fsyncFile = promisify(fsync);
const closeFile = promisify(close);

/** A FIFO or a device that takes the file's place between two calls makes no open wait. Regular files know no such flag. */
const OPEN_FLAGS = constants.O_NONBLOCK;

/** What to open, and with what. */
export interface OpenImageOptions {
  readonly path: string;
  readonly readOnly: boolean;
  readonly locking: LockingMode;
  /** Locked as its users' permissions ask, and not for one user from now on. */
  readonly lockAsUsed: boolean;
  readonly io: FileIo;
  readonly perl: string;
  readonly clock: Clock;
}

/** What to make. `exclusive`: it must not be there yet. */
export interface CreateImageOptions extends OpenImageOptions {
  readonly lengthBytes: number;
  readonly exclusive: boolean;
}

export interface OpenImage {
  readonly fd: number;
  /** Of the file, any number of bytes. */
  readonly fileLengthBytes: number;
  readonly lock: ImageLock;
  /** The file that has these holes. */
  readonly version: FileVersion;
  /** Where the file has no blocks, as far as is known. */
  readonly holes: readonly ImageHole[];
  /** There are some, which are not looked for yet. */
  readonly findHoles?: HoleFinder;
}

/** Opens and locks a regular file and changes nothing. Throws a `BlockError` that says what is wrong with it. */
export async function openImage(options: OpenImageOptions): Promise<OpenImage> {
  const what = `Could not open '${options.path}'`;
  await refuseOtherThanFile(options.path, what);
  let fd: number;
  try {
    fd = await openFile(options.path, (options.readOnly ? constants.O_RDONLY : constants.O_RDWR) | OPEN_FLAGS);
  } catch (error) {
    throw BlockError.from(error, what);
  }
  return closingOnError(fd, what, () => lockOpened(fd, options, what));
}

/**
 * Makes a file of `lengthBytes` zeroes without a block of its own, or makes one of a file that is there, if nobody uses it,
 * and opens and locks it. What failed before the length could be set has changed nothing.
 */
export async function createImage(options: CreateImageOptions): Promise<OpenImage> {
  const what = `Could not create '${options.path}'`;
  const { fd, isNew } = await openOrCreate(options, what);
  return closingOnError(fd, what, async () => {
    // Its contents will be gone: also readers who mind no writer would mind that.
    const { lock, version } = await lockOpened(fd, { ...options, alone: true }, what);
    try {
      await truncate(options.io, fd, 0);
      await truncate(options.io, fd, options.lengthBytes);
      if (isNew) await syncFolder(dirname(options.path));
    } catch (error) {
      await lock.release();
      if (isNew) await unlink(options.path);
      throw error;
    }
    const { lengthBytes } = options;
    return { fd, fileLengthBytes: lengthBytes, lock, version, holes: [{ start: 0, end: lengthBytes }] };
  });
}

/** Sets the file's length; what is added reads as zeroes. */
export function truncate(io: FileIo, fd: number, lengthBytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    io.ftruncate(fd, lengthBytes, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

/** Closes the file and lets the image go. Both are done, also if one of them fails. */
export async function closeImage(path: string, fd: number, lock: ImageLock): Promise<void> {
  try {
    await closeFile(fd);
  } catch (error) {
    throw BlockError.from(error, `Could not close '${path}'`);
  } finally {
    await lock.release();
  }
}

async function openOrCreate(options: CreateImageOptions, what: string): Promise<{ fd: number; isNew: boolean }> {
  const { path, lengthBytes, exclusive } = options;
  if (lengthBytes > MAX_LENGTH_BYTES) throw new BlockError("EFBIG", `${what}: File too large`);
  try {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | OPEN_FLAGS;
    return { fd: await openFile(path, flags, 0o644), isNew: true };
  } catch (error) {
    if (exclusive || errorCode(error) !== "EEXIST") throw pathError(error, path, what);
  }
  await refuseOtherThanFile(path, what);
  try {
    return { fd: await openFile(path, constants.O_RDWR | OPEN_FLAGS), isNew: false };
  } catch (error) {
    throw BlockError.from(error, what);
  }
}

/** Looked at before it is opened: opening a device may do things, and a FIFO waits. */
async function refuseOtherThanFile(path: string, what: string): Promise<void> {
  try {
    refuseKind(await stat(path), path, what);
  } catch (error) {
    throw pathError(error, path, what);
  }
}

function refuseKind(stats: { isFile(): boolean; isDirectory(): boolean }, path: string, what: string): void {
  if (stats.isFile()) return;
  if (stats.isDirectory()) throw new BlockError("EISDIR", `${what}: Is a directory`);
  throw new BlockError("EINVAL", `'file' driver requires '${path}' to be a regular file`);
}

/** Node itself refuses a path with a zero byte, with an error that is none of the system's. */
function pathError(error: unknown, path: string, what: string): BlockError {
  if (path.includes("\0")) return new BlockError("EINVAL", `${what}: Invalid argument`, { cause: error });
  return BlockError.from(error, what);
}

/** The length is looked at under the lock, where it is locked at once: until then another may change it. */
async function lockOpened(
  fd: number,
  options: OpenImageOptions & { readonly alone?: boolean },
  what: string,
): Promise<OpenImage> {
  const { path, readOnly, perl, clock } = options;
  const opened = await fstatFile(fd, { bigint: true });
  refuseKind(opened, path, what);
  const file = { path, fd, dev: opened.dev, ino: opened.ino, readOnly };
  const lock = await (options.lockAsUsed ? lockImageAsUsed(file, options) : lockImage(file, options));
  try {
    const version = await fstatFile(fd, { bigint: true });
    const { size, blocks } = version;
    if (size > BigInt(MAX_LENGTH_BYTES)) throw new BlockError("EFBIG", `${what}: File too large`);
    const fileLengthBytes = Number(size);
    // Where there are no such locks somebody else might fill them, unnoticed. Most files have none, and perl takes its time.
    const mayHaveHoles = lock.kind === "qemu" && blocks * 512n < size;
    const image = { fd, fileLengthBytes, lock, version };
    if (!mayHaveHoles) return { ...image, holes: [] };
    const find: HoleFinder = (file, length, pauseMs) => findHoles(file, length, { perl, clock, pauseMs });
    if (lock.permissions !== undefined) return { ...image, holes: [], findHoles: find };
    return { ...image, holes: await find(fd, fileLengthBytes, 0) };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function closingOnError<T>(fd: number, what: string, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    await closeFile(fd);
    throw BlockError.from(error, what);
  }
}

/** A new file is on stable storage once its name is, too. */
async function syncFolder(path: string): Promise<void> {
  let fd: number;
  try {
    fd = await openFile(path, constants.O_RDONLY);
  } catch (error) {
    // A folder that may be written to and not read, or a system on which folders are not opened.
    if (["EACCES", "EPERM", "EISDIR"].includes(errorCode(error))) return;
    throw error;
  }
  try {
    await fsyncFile(fd);
  } catch (error) {
    if (!["EINVAL", "ENOTSUP", "EPERM"].includes(errorCode(error))) throw error; // a file system without such a thing
  } finally {
    await closeFile(fd);
  }
}

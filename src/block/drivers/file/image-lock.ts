// Who else may have an image open: QEMU's own locks where they can be had, else a file beside the image.

import { readFileSync } from "node:fs";
import type { Clock } from "../../../base/clock.ts";
import { BlockError } from "../../../base/errors.ts";
import { tracePoint } from "../../../base/trace.ts";
import { errorCode } from "./file-io.ts";
import { type Claim, claimImage, conflictingClaim, type LockFile } from "./lock-file.ts";
import { openAgain } from "./open-again.ts";
import { PermissionLocks } from "./permission-locks.ts";
import { forgetQemuLocks, hasQemuConflict, takeQemuLocks, whyNoQemuLocks } from "./qemu-lock.ts";

/**
 * What keeps others off the image: `qemu` (QEMU's own locks, which every QEMU and every process of ours sees),
 * `lock-file` (which only processes of ours see), or `none`.
 */
export type LockKind = "qemu" | "lock-file" | "none";

/** As QEMU's option of that name: `auto` goes on without a lock where none can be had, `on` refuses. */
export type LockingMode = "auto" | "on" | "off";

export interface ImageLock {
  readonly kind: LockKind;
  /** Of the kind `lock-file`: that file. */
  readonly file?: LockFile;
  /** Of the kind `qemu`, where they go by the permissions of the image's users. */
  readonly permissions?: PermissionLocks;
  /** Ends it. QEMU's locks end when the file is closed. */
  release(): Promise<void>;
}

const imageLockUnavailable = tracePoint("image_lock_unavailable");

/** Here no file can be put beside the image; on a full disk one could. */
const NO_LOCK_FILES = ["EACCES", "EPERM", "EROFS", "ENAMETOOLONG", "ENOTSUP"];

const NOTHING_TO_RELEASE = async (): Promise<void> => {};

/** A lock that another open file of ours has on the same image, and that is to be replaced. */
export interface PreviousLock {
  readonly fd: number;
  readonly readOnly: boolean;
  readonly lock: ImageLock;
}

/** An open image and how it is going to be used. */
export interface LockedFile {
  readonly path: string;
  readonly fd: number;
  readonly dev: bigint;
  readonly ino: bigint;
  readonly readOnly: boolean;
}

/**
 * Locks an open image: against writers, and for a writer against readers who mind him; `alone`, which a lock file always is,
 * against all readers. Fails with `BlockError` EAGAIN, QEMU's text
 * and QEMU's hint where somebody else has it, this process included.
 *
 * Both kinds of lock exclude one another: whoever has taken the one looks for the other afterwards.
 */
export async function lockImage(
  file: LockedFile,
  options: { locking: LockingMode; alone?: boolean; perl: string; clock: Clock },
): Promise<ImageLock> {
  if (options.locking === "off") return { kind: "none", release: NOTHING_TO_RELEASE };
  const { alone = false, perl, clock } = options;
  const outcome = await takeQemuLocks(file.fd, { readOnly: file.readOnly, alone, perl, clock });
  if (outcome.kind === "busy") throw imageBusy(file, outcome.conflict);
  if (outcome.kind === "taken") {
    refuseClaimed(file, []);
    return { kind: "qemu", release: NOTHING_TO_RELEASE };
  }
  if (imageLockUnavailable.enabled) imageLockUnavailable.emit({ path: file.path, reason: outcome.reason });
  return claim(file, options.locking, outcome.reason);
}

/**
 * As `lockImage` for an image whose users come and go: locks nothing as yet, and gives `ImageLock.permissions`. Where QEMU's locks
 * cannot be had the image is locked at once, as one that is read or written by one user.
 */
export async function lockImageAsUsed(
  file: LockedFile,
  options: { locking: LockingMode; perl: string; clock: Clock },
): Promise<ImageLock> {
  if (options.locking === "off") return { kind: "none", release: NOTHING_TO_RELEASE };
  const { path, fd, dev } = file;
  const { perl, clock } = options;
  const reason = await whyNoQemuLocks(fd, dev, { perl, clock });
  if (reason !== undefined) {
    if (imageLockUnavailable.enabled) imageLockUnavailable.emit({ path, reason });
    return claim(file, options.locking, reason);
  }
  const permissions = new PermissionLocks({
    path,
    fd: await openAgain(path, fd, true, `Could not lock '${path}'`),
    perl,
    refuseClaimed: (readOnly) => refuseClaimed({ ...file, readOnly }, []),
    unavailable: () => forgetQemuLocks(dev, perl),
  });
  return { kind: "qemu", permissions, release: () => permissions.close() };
}

/**
 * Locks an image that an open file of ours has locked already, for another use. The image is locked all the time. If it fails, the
 * lock that was there stands; if not, there is nothing left to release of it.
 */
export async function replaceLock(
  file: LockedFile,
  previous: PreviousLock,
  options: { perl: string; clock: Clock },
): Promise<ImageLock> {
  switch (previous.lock.kind) {
    case "none":
      return previous.lock;
    case "qemu": {
      if (previous.lock.permissions !== undefined) return previous.lock;
      const outcome = await takeQemuLocks(file.fd, { ...options, readOnly: file.readOnly }, previous);
      if (outcome.kind === "taken") return keepUnlessClaimed(file, previous, options);
      if (outcome.kind === "busy") throw imageBusy(file, outcome.conflict);
      throw new BlockError("EAGAIN", `Could not lock '${file.path}': ${outcome.reason}`);
    }
    case "lock-file": {
      const lock = await claimChecked(file, previous.lock.file!);
      await previous.lock.release();
      return lock;
    }
  }
}

async function claim(file: LockedFile, locking: LockingMode, reason: string): Promise<ImageLock> {
  let lock: LockFile;
  try {
    lock = await claimImage(file.path, file.readOnly ? "reader" : "writer");
  } catch (error) {
    if (locking === "on" || !NO_LOCK_FILES.includes(errorCode(error))) {
      throw BlockError.from(error, `Could not lock '${file.path}' (QEMU's locks: ${reason}): lock file`);
    }
    refuseClaimed(file, []);
    refuseQemus(file);
    return { kind: "none", release: NOTHING_TO_RELEASE };
  }
  return checked(file, lock, []);
}

/** QEMU's locks are the new file's; they go back if somebody has claimed the image in the other way. */
async function keepUnlessClaimed(
  file: LockedFile,
  previous: PreviousLock,
  options: { perl: string; clock: Clock },
): Promise<ImageLock> {
  try {
    refuseClaimed(file, []);
  } catch (error) {
    await takeQemuLocks(previous.fd, { ...options, readOnly: previous.readOnly }, file);
    throw error;
  }
  return previous.lock;
}

/** Claims an image beside a claim of ours. */
async function claimChecked(file: LockedFile, previous: LockFile): Promise<ImageLock> {
  let lock: LockFile;
  try {
    lock = await claimImage(file.path, file.readOnly ? "reader" : "writer");
  } catch (error) {
    throw BlockError.from(error, `Could not lock '${file.path}': lock file`);
  }
  return checked(file, lock, [previous]);
}

/** A claim that has been made is good if nobody else stands in its way. */
async function checked(file: LockedFile, lock: LockFile, others: readonly LockFile[]): Promise<ImageLock> {
  try {
    refuseClaimed(file, [lock, ...others]);
    refuseQemus(file);
  } catch (error) {
    await lock.release();
    throw error;
  }
  return { kind: "lock-file", file: lock, release: () => lock.release() };
}

function refuseClaimed(file: LockedFile, own: readonly LockFile[]): void {
  let conflict: Claim | undefined;
  try {
    conflict = conflictingClaim(file.path, file.readOnly ? "reader" : "writer", own);
  } catch (error) {
    if (["EACCES", "EPERM"].includes(errorCode(error))) return; // a folder that does not show what is in it
    throw BlockError.from(error, `Could not look for locks of '${file.path}'`);
  }
  if (conflict === undefined) return;
  const holder =
    conflict.holder === undefined
      ? `'${conflict.path}' says so; remove it if none does.`
      : `'${conflict.path}' says that process ${conflict.holder.pid} does; remove it if that is no longer so.`;
  throw imageBusy(file, `Failed to get ${file.readOnly ? "shared " : ""}"write" lock`, ` ${holder}`);
}

/** For those who could not take QEMU's locks and so have not seen a conflict either. */
function refuseQemus(file: LockedFile): void {
  let table: string;
  try {
    table = readFileSync("/proc/locks", "latin1");
  } catch {
    return; // not Linux: no QEMU has such locks there
  }
  if (hasQemuConflict(table, file, file.readOnly)) {
    throw imageBusy(file, `Failed to get ${file.readOnly ? "shared " : ""}"write" lock`);
  }
}

function imageBusy(file: LockedFile, conflict: string, holder = ""): BlockError {
  return new BlockError("EAGAIN", conflict, { hint: `Is another process using the image [${file.path}]?${holder}` });
}

// Who else may have an image open: QEMU's own locks where they can be had, else a file beside the image.

import { readFileSync } from "node:fs";
import type { Clock } from "../../../base/clock.ts";
import { BlockError } from "../../../base/errors.ts";
import { tracePoint } from "../../../base/trace.ts";
import { errorCode } from "./file-io.ts";
import { type Claim, claimImage, conflictingClaim, type LockFile } from "./lock-file.ts";
import { hasQemuConflict, takeQemuLocks } from "./qemu-lock.ts";

/**
 * What keeps others off the image: `qemu` (QEMU's own locks, which every QEMU and every process of ours sees),
 * `lock-file` (which only processes of ours see), or `none`.
 */
export type LockKind = "qemu" | "lock-file" | "none";

/** As QEMU's option of that name: `auto` goes on without a lock where none can be had, `on` refuses. */
export type LockingMode = "auto" | "on" | "off";

export interface ImageLock {
  readonly kind: LockKind;
  /** Ends it. QEMU's locks end when the file is closed. */
  release(): Promise<void>;
}

const imageLockUnavailable = tracePoint("image_lock_unavailable");

/** Here no file can be put beside the image; on a full disk one could. */
const NO_LOCK_FILES = ["EACCES", "EPERM", "EROFS", "ENAMETOOLONG", "ENOTSUP"];

const NOTHING_TO_RELEASE = async (): Promise<void> => {};

/** An open image and how it is going to be used. */
export interface LockedFile {
  readonly path: string;
  readonly fd: number;
  readonly dev: bigint;
  readonly ino: bigint;
  readonly readOnly: boolean;
}

/**
 * Locks an open image: against writers, and for a writer against readers too. Fails with `BlockError` EAGAIN, QEMU's text
 * and QEMU's hint where somebody else has it, this process included.
 *
 * Both kinds of lock exclude one another: whoever has taken the one looks for the other afterwards.
 */
export async function lockImage(
  file: LockedFile,
  options: { locking: LockingMode; perl: string; clock: Clock },
): Promise<ImageLock> {
  if (options.locking === "off") return { kind: "none", release: NOTHING_TO_RELEASE };
  const { perl, clock } = options;
  const outcome = await takeQemuLocks(file.fd, { readOnly: file.readOnly, perl, clock });
  if (outcome.kind === "busy") throw imageBusy(file, outcome.conflict);
  if (outcome.kind === "taken") {
    await refuseClaimed(file, undefined);
    return { kind: "qemu", release: NOTHING_TO_RELEASE };
  }
  if (imageLockUnavailable.enabled) imageLockUnavailable.emit({ path: file.path, reason: outcome.reason });
  return claim(file, options.locking, outcome.reason);
}

async function claim(file: LockedFile, locking: LockingMode, reason: string): Promise<ImageLock> {
  let lock: LockFile;
  try {
    lock = await claimImage(file.path, file.readOnly ? "reader" : "writer");
  } catch (error) {
    if (locking === "on" || !NO_LOCK_FILES.includes(errorCode(error))) {
      throw BlockError.from(error, `Could not lock '${file.path}' (QEMU's locks: ${reason}): lock file`);
    }
    await refuseClaimed(file, undefined);
    refuseQemus(file);
    return { kind: "none", release: NOTHING_TO_RELEASE };
  }
  try {
    await refuseClaimed(file, lock);
    refuseQemus(file);
  } catch (error) {
    await lock.release();
    throw error;
  }
  return { kind: "lock-file", release: () => lock.release() };
}

async function refuseClaimed(file: LockedFile, own: LockFile | undefined): Promise<void> {
  let conflict: Claim | undefined;
  try {
    conflict = await conflictingClaim(file.path, file.readOnly ? "reader" : "writer", own);
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

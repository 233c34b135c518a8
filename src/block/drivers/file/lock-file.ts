// Locks as files beside the image, for where QEMU's locks cannot be had.

import { randomUUID } from "node:crypto";
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  unlinkSync,
} from "node:fs";
import { realpath, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { errorCode } from "./file-io.ts";

const INFIX = ".vblk-lock.";
/** A claim is some 150 bytes; what is longer is none of ours. */
const MAX_CLAIM_BYTES = 4096;

type Access = "reader" | "writer";

/** Who holds an image, as its file tells. */
interface Holder {
  readonly pid: number;
  /** Of the process, in clock ticks since boot; "" where the system does not tell. Tells a process from a later one with its number. */
  readonly startTime: string;
  /** What the number is valid in: this boot of this kernel and its process namespace. */
  readonly scope: string;
}

/** Another's claim, and who made it; undefined if the file does not tell. */
export interface Claim {
  readonly path: string;
  readonly holder: Holder | undefined;
}

/** The claims on one image that a process of ours has made. */
export interface LockFile {
  readonly path: string;
  release(): Promise<void>;
}

/**
 * Claims the image for a reader or a writer: a new file `IMAGE.vblk-lock.<access>.<unique>` beside it, complete when it
 * gets that name. Whoever claims does so first and then looks for others (`conflictingClaim`). So of two that come at the
 * same time at least one sees the other; both may, and neither gets the image. No name is ever used twice, so a claim left
 * by a process that is gone can be removed by anyone at any time: there is no moment at which a live one is taken for it.
 *
 * Links to the image in other folders have claims of their own: only symbolic links are seen through.
 */
export async function claimImage(imagePath: string, access: Access): Promise<LockFile> {
  const path = `${await realpath(imagePath)}${INFIX}${access}.${randomUUID()}`;
  const draft = `${path}.new`;
  try {
    await writeFile(draft, `${JSON.stringify(ownHolder())}\n`, { flag: "wx", mode: 0o644 });
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  return { path, release: () => rm(path, { force: true }) };
}

/**
 * A claim of somebody else that stands in the way of `access`: a writer's, or for a writer anybody's. `own` are the claims
 * made for this access. Claims of processes that are gone are removed. Done when it returns, as taking QEMU's locks is.
 */
export function conflictingClaim(imagePath: string, access: Access, own: readonly LockFile[]): Claim | undefined {
  const real = realpathSync(imagePath);
  const prefixes = [`${basename(real)}${INFIX}writer.`];
  if (access === "writer") prefixes.push(`${basename(real)}${INFIX}reader.`);
  for (const name of readdirSync(dirname(real))) {
    if (name.endsWith(".new") || !prefixes.some((prefix) => name.startsWith(prefix))) continue;
    const path = join(dirname(real), name);
    if (own.some((claim) => claim.path === path)) continue;
    const claim = readClaim(path);
    if (claim === undefined) continue;
    if (claim.holder === undefined || !isGone(claim.holder)) return claim;
    removeStale(path);
  }
  return undefined;
}

/** Undefined if it has been released meanwhile. */
function readClaim(path: string): Claim | undefined {
  try {
    const stats = lstatSync(path);
    if (!stats.isFile() || stats.size > MAX_CLAIM_BYTES) return { path, holder: undefined };
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const text = Buffer.alloc(MAX_CLAIM_BYTES);
      readSync(fd, text);
      return { path, holder: parseHolder(text.toString("latin1")) };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    // Not readable for us: somebody's nevertheless.
    return { path, holder: undefined };
  }
}

function parseHolder(text: string): Holder | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text.slice(0, text.indexOf("\n")));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (!("pid" in value && "startTime" in value && "scope" in value)) return undefined;
  const { pid, startTime, scope } = value;
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
  return typeof startTime === "string" && typeof scope === "string" ? { pid, startTime, scope } : undefined;
}

/** Best effort: where the file may not be removed it is seen to be stale the next time too. */
function removeStale(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!["ENOENT", "EACCES", "EPERM", "EROFS", "EBUSY"].includes(errorCode(error))) throw error;
  }
}

/** Only of a process of this boot and namespace can it be told. Anything unclear counts as held. */
function isGone(holder: Holder): boolean {
  if (holder.scope !== processScope()) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return errorCode(error) === "ESRCH";
  }
  const state = processState(holder.pid);
  if (state === undefined) return false;
  // A zombie has closed its files; another start time is another process.
  return state.zombie || (holder.startTime !== "" && state.startTime !== holder.startTime);
}

function ownHolder(): Holder {
  return { pid: process.pid, startTime: processState(process.pid)?.startTime ?? "", scope: processScope() };
}

function processScope(): string {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname(); // no Linux: process numbers are the host's
  }
}

/** From /proc/PID/stat, `pid (name) state …`, where the start time is field 22. Undefined where the system does not tell. */
function processState(pid: number): { zombie: boolean; startTime: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name may hold anything, the rest holds no parenthesis.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const startTime = fields[22 - 3];
  if (startTime === undefined) return undefined;
  return { zombie: fields[0] === "Z" || fields[0] === "X", startTime };
}

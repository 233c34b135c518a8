// QEMU's image locks for the permissions that an image's users have now, bit by bit, as qemu-system 7.2 shows them in strace.

import { close, closeSync, constants, openSync } from "node:fs";
import { promisify } from "node:util";
import { BlockError, QmpError } from "../../../base/errors.ts";
import { tracePoint } from "../../../base/trace.ts";
import type { PermissionListener } from "../../driver.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_WRITE, type Permissions, permissionNames } from "../../permissions.ts";
import { failedWith, runPerlNow } from "./one-shot-perl.ts";

/** Byte of the first permission in use, and of the first that is refused to others; the next ones follow in the bits' order. */
const FIRST_IN_USE = 100;
const FIRST_REFUSED = 200;
const PERMISSIONS = 4;
/** A set of locks: a bit for each permission in use, and from this one on for each that is refused. */
const REFUSED_SHIFT = PERMISSIONS;

/**
 * Arguments: bytes to lock, bytes that nobody else may have locked, bytes to let go. Where somebody is in the way all is as it
 * was. Every lock is a read lock, which those who do the same share. `F_OFD_GETLK` is 36, `F_OFD_SETLK` 37.
 */
const SCRIPT = `
exit 1 unless length(pack "p", "") == 8;
open(my $image, "<&=", 3) or exit 1;
sub flock_at { pack "s s x![q] q q l x![q]", $_[0], 0, $_[1], 1, 0 }
my ($locks, $checks, $drops) = map { [split /,/] } @ARGV;
sub give_up { fcntl($image, 37, flock_at(2, $_)) for @$locks; print @_; exit }
for my $byte (@$locks) {
  fcntl($image, 37, flock_at(0, $byte)) or give_up(${failedWith("EAGAIN", "EACCES")} ? "locked $byte" : "unavailable $!");
}
for my $byte (@$checks) {
  my $lock = flock_at(1, $byte);
  fcntl($image, 36, $lock) or give_up("unavailable $!");
  unpack("s", $lock) == 2 or give_up("busy $byte");
}
for my $byte (@$drops) { fcntl($image, 37, flock_at(2, $byte)) or give_up("unavailable $!") }
print "done";
`;

const imageUnlockFailed = tracePoint("image_unlock_failed");
const closeFile = promisify(close);

/** The image, and what takes the locks. */
export interface PermissionLocksOptions {
  /** As the user gave it. */
  readonly path: string;
  /** An open file of the locks' own: they belong to it, and stay where the image is opened anew for another use. */
  readonly fd: number;
  readonly perl: string;
  /** Throws where somebody has claimed the image in another way: for a writer, or for who minds writers. */
  readonly refuseClaimed: (readOnly: boolean) => void;
  /** Such locks cannot be had any more, though they could when the image was opened. */
  readonly unavailable: () => void;
}

/**
 * Locks for permissions. What is asked in addition is taken in `prepare`, what is needed no more is let go in `commit`, so that
 * nobody gets in between whatever becomes of the change. A change of the set costs one start of a perl, within the call; to let all of
 * them go costs none.
 */
export class PermissionLocks implements PermissionListener {
  readonly #options: PermissionLocksOptions;
  #fd: number;
  /** Sets of locks: those that are taken, those that were committed last, and those that were prepared last. */
  #held = 0;
  #committed = 0;
  #prepared = 0;

  constructor(options: PermissionLocksOptions) {
    this.#options = options;
    this.#fd = options.fd;
  }

  /** The open file that they belong to. */
  get fd(): number {
    return this.#fd;
  }

  /** Nobody else who goes by such locks writes to the image. */
  get refuseWriters(): boolean {
    return (this.#held & (PERM_WRITE << REFUSED_SHIFT)) !== 0;
  }

  /** All that we do is write: as what copies to a target does, and no disk. */
  get onlyWrites(): boolean {
    return (this.#held & (PERM_WRITE | PERM_CONSISTENT_READ)) === PERM_WRITE;
  }

  prepare(permissions: Permissions): void {
    const wanted = permissions.needs | ((PERM_ALL & ~permissions.shares) << REFUSED_SHIFT);
    const gained = wanted & ~this.#held;
    if (gained !== 0) this.#take(gained);
    this.#prepared = wanted;
  }

  commit(): void {
    this.#committed = this.#prepared;
    this.#dropUnused();
  }

  abort(): void {
    this.#prepared = this.#committed;
    this.#dropUnused();
  }

  /** Ends them. */
  async close(): Promise<void> {
    this.#held = 0;
    await closeFile(this.#fd);
  }

  #take(gained: number): void {
    const answer = this.#run(gained, bytesInTheWay(gained), 0);
    if (answer !== "done") throw this.#refusal(answer);
    this.#held |= gained;
    const writes = (gained & PERM_WRITE) !== 0;
    if (!writes && (gained & (PERM_WRITE << REFUSED_SHIFT)) === 0) return;
    try {
      this.#options.refuseClaimed(!writes);
    } catch (error) {
      this.#drop(gained);
      if (!(error instanceof BlockError)) throw error;
      throw new QmpError(error.message, "GenericError", { cause: error, hint: error.hint });
    }
  }

  #dropUnused(): void {
    const unused = this.#held & ~this.#committed;
    if (unused === 0) return;
    if (this.#committed !== 0 || !this.#dropAll()) this.#drop(unused);
  }

  /** Locks end with their open file, so another takes its place: 20 µs. False where it cannot be opened again; nothing has changed then. */
  #dropAll(): boolean {
    let fresh: number;
    try {
      fresh = openSync(`/proc/self/fd/${this.#fd}`, constants.O_RDONLY);
    } catch {
      return false; // no /proc, or the file has other rights by now: the locks are let go one by one
    }
    const locked = this.#fd;
    this.#fd = fresh;
    this.#held = 0;
    closeSync(locked);
    return true;
  }

  /** What cannot be let go stays held until it can, or the image is closed. */
  #drop(unused: number): void {
    const answer = this.#run(0, [], unused);
    if (answer === "done") this.#held &= ~unused;
    else if (imageUnlockFailed.enabled) imageUnlockFailed.emit({ path: this.#options.path, reason: answer });
  }

  #run(locks: number, checks: readonly number[], drops: number): string {
    const { perl } = this.#options;
    return runPerlNow(SCRIPT, [this.#fd], [bytesOf(locks).join(), checks.join(), bytesOf(drops).join()], perl);
  }

  #refusal(answer: string): QmpError {
    const { path } = this.#options;
    const hint = `Is another process using the image [${path}]?`;
    const [, what, digits] = /^(busy|locked) (\d+)$/.exec(answer) ?? [];
    if (what === undefined) {
      this.#options.unavailable();
      return new QmpError(`Could not lock '${path}': ${answer}`);
    }
    const byte = Number(digits);
    if (what === "locked") return new QmpError(`Failed to lock byte ${byte}`, "GenericError", { hint });
    const isRefused = byte >= FIRST_REFUSED;
    const name = permissionNames(1 << (byte - (isRefused ? FIRST_REFUSED : FIRST_IN_USE)));
    return new QmpError(`Failed to get ${isRefused ? "" : "shared "}"${name}" lock`, "GenericError", { hint });
  }
}

function bytesOf(locks: number): number[] {
  const bytes: number[] = [];
  for (let bit = 0; bit < PERMISSIONS; bit++) if ((locks & (1 << bit)) !== 0) bytes.push(FIRST_IN_USE + bit);
  for (let bit = 0; bit < PERMISSIONS; bit++)
    if ((locks & (1 << (bit + REFUSED_SHIFT))) !== 0) bytes.push(FIRST_REFUSED + bit);
  return bytes;
}

/** Bit by bit: whoever refuses what is wanted, then whoever uses what is to be refused. */
function bytesInTheWay(wanted: number): number[] {
  const bytes: number[] = [];
  for (let bit = 0; bit < PERMISSIONS; bit++) {
    if ((wanted & (1 << bit)) !== 0) bytes.push(FIRST_REFUSED + bit);
    if ((wanted & (1 << (bit + REFUSED_SHIFT))) !== 0) bytes.push(FIRST_IN_USE + bit);
  }
  return bytes;
}

// QEMU's image locks: open-file-description locks on single bytes, as qemu-system, qemu-img and qemu-io 7.2 show them in
// /proc/locks and strace. Node cannot take such locks; a one-shot perl can, on a descriptor that it inherits.

import { failedWith, type PerlOptions, runPerl } from "./one-shot-perl.ts";

/** Byte of the permission `write` and of its refusal to others; `consistent read` is the byte before. */
const HAS_CONSISTENT_READ = 100;
const HAS_WRITE = 101;
const REFUSES_CONSISTENT_READ = 200;
const REFUSES_WRITE = 201;

/** Where `struct flock` has the layout that the script packs. */
const KNOWN_ARCHITECTURES = ["x64", "arm64", "ppc64", "riscv64", "loong64", "s390x"];

/**
 * Arguments: the bytes to lock, the bytes that nobody else may have locked, and the bytes that descriptor 4, another open file of
 * ours, has locked so far and lets go. Every lock is a read lock: whoever has a permission, or refuses one to others, shares the
 * byte with those who do the same. So there is no moment at which neither file has the image, and if somebody else is in the way
 * descriptor 4 has its locks back. `F_OFD_GETLK` is 36, `F_OFD_SETLK` 37.
 */
const SCRIPT = `
exit 1 unless length(pack "p", "") == 8;
open(my $image, "<&=", 3) or exit 1;
sub flock_at { pack "s s x![q] q q l x![q]", $_[0], 0, $_[1], 1, 0 }
sub failed { print ${failedWith("EAGAIN", "EACCES")} ? "busy $_[0]" : "unavailable $!"; exit }
my ($locks, $checks, $before) = map { [split /,/] } @ARGV;
my $previous;
if (@$before) { open($previous, "<&=", 4) or exit 1 }
for my $byte (@$locks) { fcntl($image, 37, flock_at(0, $byte)) or failed($byte) }
for my $byte (@$before) { fcntl($previous, 37, flock_at(2, $byte)) or failed($byte) }
for my $byte (@$checks) {
  my $lock = flock_at(1, $byte);
  fcntl($image, 36, $lock) or failed($byte);
  next if unpack("s", $lock) == 2;
  for my $byte (@$before) { fcntl($previous, 37, flock_at(0, $byte)) or failed($byte) }
  print "busy $byte";
  exit;
}
print "taken";
`;

/** Asks for a lock that nobody has. */
const PROBE = `
exit 1 unless length(pack "p", "") == 8;
open(my $image, "<&=", 3) or exit 1;
my $lock = pack "s s x![q] q q l x![q]", 0, 0, 0, 1, 0;
print fcntl($image, 36, $lock) ? "known" : "$!";
`;

/** What came of the try: the locks are ours; somebody has what stands in `conflict`; such locks cannot be had, and why. */
export type QemuLockOutcome =
  | { readonly kind: "taken" }
  | { readonly kind: "busy"; readonly conflict: string }
  | { readonly kind: "unavailable"; readonly reason: string };

/**
 * Takes the locks that a QEMU takes for a disk of a machine: as a reader or a writer of the image, with no other writer.
 * With `alone` nobody may even read the image beside. They belong to the open file behind `fd` and end with it, also when the process is killed. `previous` is another open file of
 * ours on the same image, with such locks, which it hands over: if somebody else is in the way it keeps them.
 */
export async function takeQemuLocks(
  fd: number,
  options: PerlOptions & { readonly readOnly: boolean; readonly alone?: boolean },
  previous?: { readonly fd: number; readonly readOnly: boolean },
): Promise<QemuLockOutcome> {
  if (!isKnownSystem()) return { kind: "unavailable", reason: UNKNOWN_SYSTEM };
  const locks = locksOf(options.readOnly);
  const before = previous === undefined ? [] : locksOf(previous.readOnly);
  const checks = options.readOnly
    ? [REFUSES_CONSISTENT_READ, HAS_WRITE]
    : [REFUSES_CONSISTENT_READ, REFUSES_WRITE, HAS_WRITE, ...(options.alone ? [HAS_CONSISTENT_READ] : [])];
  const fds = previous === undefined ? [fd] : [fd, previous.fd];
  const answer = await runPerl(SCRIPT, fds, [locks.join(), checks.join(), before.join()], options);
  if (answer === "taken") return { kind: "taken" };
  const busy = /^busy (\d+)$/.exec(answer);
  if (busy !== null) return { kind: "busy", conflict: conflictText(Number(busy[1])) };
  return { kind: "unavailable", reason: answer };
}

/** File systems, by program and device, that such locks were seen to work on: one answer holds for all their files. */
const seen = new Set<string>();
const MAX_SEEN = 1000;

/** Why such locks cannot be had on the file behind `fd`, which is on the device `dev`; undefined where they can. */
export async function whyNoQemuLocks(fd: number, dev: bigint, options: PerlOptions): Promise<string | undefined> {
  if (!isKnownSystem()) return UNKNOWN_SYSTEM;
  const key = seenKey(dev, options.perl);
  if (seen.has(key)) return undefined;
  const answer = await runPerl(PROBE, [fd], [], options);
  if (answer !== "known") return answer;
  if (seen.size >= MAX_SEEN) seen.clear();
  seen.add(key);
  return undefined;
}

/** Such a lock could not be had there all the same: the next one asks again. A device's number may mean another one by now. */
export function forgetQemuLocks(dev: bigint, perl: string): void {
  seen.delete(seenKey(dev, perl));
}

function seenKey(dev: bigint, perl: string): string {
  return `${dev} ${perl}`;
}

const UNKNOWN_SYSTEM = `not known on ${process.platform} ${process.arch}`;

function isKnownSystem(): boolean {
  return process.platform === "linux" && KNOWN_ARCHITECTURES.includes(process.arch);
}

function locksOf(readOnly: boolean): number[] {
  return readOnly ? [HAS_CONSISTENT_READ, REFUSES_WRITE] : [HAS_CONSISTENT_READ, HAS_WRITE, REFUSES_WRITE];
}

/** What QEMU says when somebody has locked `byte`: whoever refuses what we want, or has what we refuse. */
function conflictText(byte: number): string {
  if (byte === REFUSES_CONSISTENT_READ) return 'Failed to get "consistent read" lock';
  if (byte === HAS_CONSISTENT_READ) return 'Failed to get shared "consistent read" lock';
  return byte === REFUSES_WRITE ? 'Failed to get "write" lock' : 'Failed to get shared "write" lock';
}

/**
 * True if /proc/locks, given as `table`, holds a lock of QEMU's on the file that stands in the way: for those who cannot
 * take such locks. Some file systems go by another device number there than in stat().
 */
export function hasQemuConflict(table: string, file: { dev: bigint; ino: bigint }, readOnly: boolean): boolean {
  for (const line of table.split("\n")) {
    const match = /^\d+: OFDLCK\s+\S+\s+\S+\s+\S+ ([0-9a-f]+):([0-9a-f]+):(\d+) (\d+) (\d+|EOF)$/.exec(line);
    if (match === null) continue;
    const [, major, minor, inode, start, end] = match;
    if (BigInt(inode!) !== file.ino || !isDevice(file.dev, BigInt(`0x${major}`), BigInt(`0x${minor}`))) continue;
    const touches = (byte: number): boolean => Number(start) <= byte && (end === "EOF" || byte <= Number(end));
    if (touches(HAS_WRITE) || (!readOnly && touches(REFUSES_WRITE))) return true;
  }
  return false;
}

/** glibc's makedev(), which stat() goes by. */
function isDevice(dev: bigint, major: bigint, minor: bigint): boolean {
  const low = (minor & 0xffn) | ((major & 0xfffn) << 8n);
  const high = ((minor & ~0xffn) << 12n) | ((major & ~0xfffn) << 32n);
  return dev === (low | high);
}

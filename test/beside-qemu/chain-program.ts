// Programs by chance: a disk, and a chain of backups of it, each by one program or the other, with writes of all kinds around them.
import fc from "fast-check";

export const SECTOR = 512;
/** No multiple of any cluster. */
export const DISK_BYTES: number = 3 * 2 ** 20 + 7 * SECTOR;

export interface Change {
  readonly op: "write" | "zero" | "zero-unmap" | "discard";
  /** Sectors. */
  readonly at: number;
  readonly length: number;
}

export interface Link {
  /** Whose the process is that has the disk, and takes the backup. */
  readonly by: "ours" | "qemu";
  /** Who makes the target: drive-backup, qemu-img before a drive-backup, or blockdev-create before a blockdev-backup. */
  readonly target: "drive-backup" | "qemu-img" | "blockdev-create";
  readonly targetOptions: TargetOptions;
  readonly sync: "incremental" | "on-success" | "always";
  readonly compress: boolean;
  /** Whether a backup to another target is cancelled first. */
  readonly cancelled: boolean;
  /** Of the image alone, with no process that has it. */
  readonly byTool: readonly Change[];
  /** Through a device, where there is one, and not through the monitor. */
  readonly byGuest: boolean;
  readonly before: readonly Change[];
  /** While the backup runs: discards would do nothing then, or something if it has ended. */
  readonly during: readonly Change[];
}

interface TargetOptions {
  readonly clusterBytes: number;
  readonly extended: boolean;
}

export interface ChainProgram {
  /** `-o` of qemu-img create. */
  readonly diskOptions: string;
  readonly granularity: number;
  readonly links: readonly Link[];
}

const WRITES: readonly Change["op"][] = ["write", "write", "zero", "zero-unmap"];

function changes(max: number, ops: readonly Change["op"][]): fc.Arbitrary<readonly Change[]> {
  return fc.array(
    fc.record({
      op: fc.constantFrom(...ops),
      at: fc.nat(DISK_BYTES / SECTOR - 1),
      length: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 100, max: 900 })),
    }),
    { maxLength: max },
  );
}

const link: fc.Arbitrary<Link> = fc.record({
  by: fc.constantFrom("ours", "qemu"),
  target: fc.constantFrom("drive-backup", "qemu-img", "blockdev-create"),
  targetOptions: fc.constantFrom(
    { clusterBytes: 65536, extended: false },
    { clusterBytes: 4096, extended: false },
    { clusterBytes: 262_144, extended: true },
  ),
  sync: fc.constantFrom("incremental", "on-success", "always"),
  compress: fc.constantFrom(false, false, true),
  cancelled: fc.constantFrom(false, false, true),
  byTool: changes(3, [...WRITES, "discard"]),
  byGuest: fc.boolean(),
  before: changes(3, [...WRITES, "discard"]),
  during: changes(3, WRITES),
});

export const chainPrograms: fc.Arbitrary<ChainProgram> = fc.record({
  diskOptions: fc.constantFrom(
    "cluster_size=65536",
    "cluster_size=4096,refcount_bits=8",
    "extended_l2=on,cluster_size=131072",
    "lazy_refcounts=on",
    "preallocation=metadata",
  ),
  granularity: fc.constantFrom(512, 4096, 65536, 262_144),
  links: fc.array(link, { minLength: 7, maxLength: 9 }),
});

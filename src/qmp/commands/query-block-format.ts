// What queries tell of an image that its format alone knows: QMP's ImageInfoSpecific. docs/reference/monitor.md §2.

import type { BlockDriver } from "../../block/driver.ts";
import { COMPAT_LAZY_REFCOUNTS, INCOMPAT_CORRUPT, INCOMPAT_DIRTY } from "../../block/drivers/qcow2/feature-table.ts";
import { EXTENSION_BACKING_FORMAT, extensionData } from "../../block/drivers/qcow2/header.ts";
import { Qcow2Driver } from "../../block/drivers/qcow2/qcow2.ts";
import type { Snapshot } from "../../block/drivers/qcow2/snapshots.ts";
import { array, bool, enumeration, type Int64, int, object, optional, str, type Type } from "../schema/types.ts";

/** In a second. */
const NANOSECONDS = 1_000_000_000n;

/** QMP's Qcow2BitmapInfo: a bitmap as the image has it. */
export interface BitmapInfo {
  readonly name: string;
  readonly granularity: Int64;
  readonly flags: readonly ("in-use" | "auto")[];
}

/** QMP's ImageInfoSpecific, of the one format that has any. */
export interface FormatSpecific {
  readonly type: string;
  readonly data: {
    readonly compat: string;
    readonly "lazy-refcounts"?: boolean;
    readonly "refcount-bits": number | bigint;
    readonly corrupt?: boolean;
    readonly "extended-l2"?: boolean;
    readonly "compression-type": string;
    readonly bitmaps?: readonly BitmapInfo[];
  };
}

export const formatSpecific: Type<FormatSpecific> = object({
  type: str,
  data: object({
    compat: str,
    "extended-l2": optional(bool),
    "lazy-refcounts": optional(bool),
    corrupt: optional(bool),
    "refcount-bits": int,
    "compression-type": str,
    bitmaps: optional(array(object({ name: str, granularity: int, flags: array(enumeration("in-use", "auto")) }))),
  }),
});

/** QMP's SnapshotInfo: an internal snapshot. */
export interface SnapshotInfo {
  readonly id: string;
  readonly name: string;
  /** Bytes of the machine's state. */
  readonly "vm-state-size": Int64;
  readonly "date-sec": Int64;
  readonly "date-nsec": Int64;
  readonly "vm-clock-sec": Int64;
  readonly "vm-clock-nsec": Int64;
  readonly icount?: Int64;
}

export const snapshotInfo: Type<SnapshotInfo> = object({
  id: str,
  name: str,
  "vm-state-size": int,
  "date-sec": int,
  "date-nsec": int,
  "vm-clock-sec": int,
  "vm-clock-nsec": int,
  icount: optional(int),
});

/** What an image says of itself. */
export interface FormatFacts {
  readonly dirty: boolean;
  /** The image that it stands on, as its header names it, whatever it stands on now. */
  readonly backingFile: string | undefined;
  readonly backingFormat: string | undefined;
  readonly snapshots: readonly SnapshotInfo[];
  readonly specific: FormatSpecific;
}

/** Undefined of images that say nothing of themselves. */
export function formatFacts(driver: BlockDriver): FormatFacts | undefined {
  if (!(driver instanceof Qcow2Driver)) return undefined;
  const { header, layout } = driver.image;
  const has = (features: bigint, bit: bigint): boolean => (features & bit) !== 0n;
  const format = extensionData(header, EXTENSION_BACKING_FORMAT);
  const modern = {
    "lazy-refcounts": has(header.compatible, COMPAT_LAZY_REFCOUNTS),
    corrupt: has(header.incompatible, INCOMPAT_CORRUPT),
    "extended-l2": layout.extended,
  };
  return {
    dirty: has(header.incompatible, INCOMPAT_DIRTY),
    backingFile: header.backingFile,
    backingFormat: format === undefined ? undefined : new TextDecoder().decode(format),
    snapshots: driver.image.snapshots.map(describeSnapshot),
    specific: {
      type: "qcow2",
      data: {
        compat: layout.version < 3 ? "0.10" : "1.1",
        ...(layout.version < 3 ? {} : modern),
        "refcount-bits": 2 ** layout.refcountOrder,
        "compression-type": header.compressionType === 0 ? "zlib" : "zstd",
        ...bitmapsOf(driver),
      },
    },
  };
}

function describeSnapshot(snapshot: Snapshot): SnapshotInfo {
  const { id, name, dateSeconds, dateNanoseconds, vmClock, vmStateBytes, instructionCount } = snapshot;
  return {
    id,
    name,
    "vm-state-size": BigInt.asIntN(64, vmStateBytes),
    "date-sec": dateSeconds,
    "date-nsec": dateNanoseconds,
    "vm-clock-sec": vmClock / NANOSECONDS,
    "vm-clock-nsec": vmClock % NANOSECONDS,
    ...(instructionCount === undefined ? {} : { icount: BigInt.asIntN(64, instructionCount) }),
  };
}

/** No member at all where the image has none. */
function bitmapsOf({ image }: Qcow2Driver): { readonly bitmaps?: readonly BitmapInfo[] } {
  if (image.listedBitmaps.length === 0) return {};
  const bitmaps = image.listedBitmaps.map(({ name, granularityBytes, inUse, auto }): BitmapInfo => {
    return {
      flags: [...(inUse ? ["in-use" as const] : []), ...(auto ? ["auto" as const] : [])],
      name,
      granularity: granularityBytes,
    };
  });
  return { bitmaps };
}

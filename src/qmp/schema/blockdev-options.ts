// The options of block nodes and images as blockdev-add, blockdev-reopen, blockdev-create and -blockdev take them: QMP's BlockdevOptions.

import { QmpError } from "../../base/errors.ts";
import type { BlockdevCreateOptions, BlockdevOptions, OptionValue } from "../../block/graph-options.ts";
import { blkdebugOptions } from "./blkdebug-options.ts";
import {
  type AlternateType,
  alternate,
  bool,
  enumeration,
  extend,
  int,
  lazy,
  type Members,
  nil,
  object,
  optional,
  size,
  str,
  type Type,
  type UnionType,
  uint32,
  uint64,
  union,
} from "./types.ts";

/** A node as the schema has checked its options: `toBlockdevOptions` makes of it what the graph takes. */
export type CheckedNodeOptions = { readonly driver: string } & object;

/** Members that all drivers take, in the order in which they are looked at. */
const common: Members = {
  "node-name": optional(str),
  discard: optional(enumeration("ignore", "unmap")),
  cache: optional(object({ direct: optional(bool), "no-flush": optional(bool) })),
  active: optional(bool),
  "read-only": optional(bool),
  "auto-read-only": optional(bool),
  "force-share": optional(bool),
  "detect-zeroes": optional(enumeration("off", "on", "unmap")),
};

const inner: Type<CheckedNodeOptions> = lazy(() => blockdevOptions);

/** A node by its name, or the options of one that is opened for the purpose. */
export const blockdevRef: AlternateType<string | CheckedNodeOptions> = alternate("BlockdevRef", inner, str);

/** As `blockdevRef`; null for no node at all. */
export const blockdevRefOrNull: AlternateType<string | CheckedNodeOptions | null> = alternate(
  "BlockdevRefOrNull",
  inner,
  str,
  nil,
);

/** Formats and filters stand on a `file`. */
const generic = object({ file: blockdevRef });

const overlapMode = enumeration("none", "constant", "cached", "all");
/** QMP's Qcow2OverlapChecks: a mode, or what to check one by one. */
const overlapCheck = alternate(
  "Qcow2OverlapChecks",
  object({
    template: optional(overlapMode),
    "main-header": optional(bool),
    "active-l1": optional(bool),
    "active-l2": optional(bool),
    "refcount-table": optional(bool),
    "refcount-block": optional(bool),
    "snapshot-table": optional(bool),
    "inactive-l1": optional(bool),
    "inactive-l2": optional(bool),
    "bitmap-directory": optional(bool),
  }),
  overlapMode,
);

const branches = {
  file: object({
    filename: str,
    locking: optional(enumeration("auto", "on", "off")),
    aio: optional(enumeration("threads", "native", "io_uring")),
    // Of our own: whether requests run at once or on other threads.
    "x-io": optional(enumeration("auto", "threads")),
  }),
  raw: extend(generic, { offset: optional(int), size: optional(int) }),
  qcow2: extend(generic, {
    backing: optional(blockdevRefOrNull),
    "lazy-refcounts": optional(bool),
    "pass-discard-request": optional(bool),
    "pass-discard-snapshot": optional(bool),
    "pass-discard-other": optional(bool),
    "discard-no-unref": optional(bool),
    "overlap-check": optional(overlapCheck),
    "cache-size": optional(int),
    "l2-cache-size": optional(int),
    "l2-cache-entry-size": optional(int),
    "refcount-cache-size": optional(int),
    "cache-clean-interval": optional(int),
  }),
  "null-co": object({ size: optional(int), "latency-ns": optional(uint64), "read-zeroes": optional(bool) }),
  // Of our own.
  memory: object({ size: optional(int), backing: optional(blockdevRefOrNull), "cluster-size": optional(int) }),
  throttle: object({ "throttle-group": str, file: blockdevRef }),
  blkdebug: extend(object({ image: blockdevRef }), blkdebugOptions),
  "copy-before-write": extend(generic, {
    target: blockdevRef,
    bitmap: optional(object({ node: str, name: str })),
    "on-cbw-error": optional(enumeration("break-guest-write", "break-snapshot")),
    "cbw-timeout": optional(uint32),
    "min-cluster-size": optional(size),
  }),
  "snapshot-access": generic,
};

/** QMP's BlockdevOptions: what drivers have in common, then what the one that `driver` names takes. */
export const blockdevOptions: UnionType<CheckedNodeOptions> = union("driver", common, branches);

const notCreated = object({});

/** QMP's BlockdevCreateOptions. A driver that makes no images takes no options, and is refused later. */
export const blockdevCreateOptions: UnionType<CheckedNodeOptions> = union(
  "driver",
  {},
  {
    file: object({
      filename: str,
      size,
      preallocation: optional(enumeration("off", "metadata", "falloc", "full")),
      nocow: optional(bool),
    }),
    qcow2: object({
      file: blockdevRef,
      "data-file": optional(blockdevRef),
      "data-file-raw": optional(bool),
      "extended-l2": optional(bool),
      size,
      version: optional(enumeration("v2", "v3")),
      "backing-file": optional(str),
      "backing-fmt": optional(enumeration(...Object.keys(branches))),
      "cluster-size": optional(size),
      preallocation: optional(enumeration("off", "metadata", "falloc", "full")),
      "lazy-refcounts": optional(bool),
      "refcount-bits": optional(int),
      "compression-type": optional(enumeration("zlib", "zstd")),
    }),
    raw: notCreated,
    "null-co": notCreated,
    memory: notCreated,
    throttle: notCreated,
    blkdebug: notCreated,
    "copy-before-write": notCreated,
    "snapshot-access": notCreated,
  },
);

/** Where a negative number is refused, for it counts bytes; drivers see to the rest. */
const BYTES: readonly string[] = ["size", "offset"];

/**
 * What the graph takes, of checked options. A negative size is a `QmpError`: QEMU dies of it with this text. A number beyond 2^53 is
 * rounded, which makes no difference: no image is that long.
 */
export function toBlockdevOptions(options: CheckedNodeOptions): BlockdevOptions {
  return toOptions(options, (name, value) => {
    if (BYTES.includes(name) && value < 0)
      throw new QmpError(`Parameter '${name}' expects a non-negative number below 2^64`);
    return Number(value);
  }) as BlockdevOptions;
}

/** What the graph takes, of checked options. A size of 2^63 or more is a negative one, as it is for QEMU. */
export function toBlockdevCreateOptions(options: CheckedNodeOptions): BlockdevCreateOptions {
  return toOptions(options, (_name, value) => Number(BigInt.asIntN(64, BigInt(value)))) as BlockdevCreateOptions;
}

/** With a number in place of each integer. */
function toOptions(
  value: unknown,
  toNumber: (name: string, value: number | bigint) => number,
  name: string = "",
): OptionValue {
  if (typeof value === "number" || typeof value === "bigint") return toNumber(name, value);
  if (typeof value !== "object" || value === null) return value as OptionValue;
  if (Array.isArray(value)) return value.map((element) => toOptions(element, toNumber));
  return Object.fromEntries(
    Object.entries(value).map(([member, inside]) => [member, toOptions(inside, toNumber, member)]),
  );
}

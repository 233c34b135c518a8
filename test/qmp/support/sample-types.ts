// Argument types as QEMU's schema has them, enough of each to break every rule: what the checks are tried on.
import {
  alternate,
  array,
  bool,
  enumeration,
  int,
  lazy,
  nil,
  object,
  optional,
  type StructType,
  size,
  str,
  type Type,
  uint16,
  uint32,
  uint64,
  union,
} from "../../../src/qmp/schema/types.ts";

const blockdevRef: Type<unknown> = alternate(
  "BlockdevRef",
  lazy(() => blockdevOptions),
  str,
);
const blockdevRefOrNull: Type<unknown> = alternate(
  "BlockdevRefOrNull",
  lazy(() => blockdevOptions),
  str,
  nil,
);
const overlapChecks = alternate(
  "Qcow2OverlapChecks",
  object({ template: optional(enumeration("none", "constant", "cached", "all")) }),
  enumeration("none", "constant", "cached", "all"),
);
const bitmap = object({ node: str, name: str });

const blockdevOptions: StructType<unknown> = union(
  "driver",
  {
    "node-name": optional(str),
    discard: optional(enumeration("ignore", "unmap")),
    cache: optional(object({ direct: optional(bool), "no-flush": optional(bool) })),
    "read-only": optional(bool),
    "detect-zeroes": optional(enumeration("off", "on", "unmap")),
  },
  {
    "null-co": object({ size: optional(int), "latency-ns": optional(uint64), "read-zeroes": optional(bool) }),
    raw: object({ file: blockdevRef, offset: optional(int), size: optional(int) }),
    file: object({ filename: str, "x-check-cache-dropped": optional(bool) }),
    qcow2: object({
      file: blockdevRef,
      backing: optional(blockdevRefOrNull),
      "overlap-check": optional(overlapChecks),
      "cache-size": optional(int),
    }),
    blkdebug: object({
      image: blockdevRef,
      config: optional(str),
      align: optional(int),
      "inject-error": optional(
        array(
          object({
            event: enumeration("none", "read_aio", "write_aio"),
            state: optional(int),
            errno: optional(int),
            sector: optional(int),
            once: optional(bool),
          }),
        ),
      ),
      "take-child-perms": optional(array(enumeration("consistent-read", "write", "resize"))),
    }),
    "copy-before-write": object({
      file: blockdevRef,
      target: blockdevRef,
      bitmap: optional(bitmap),
      "cbw-timeout": optional(uint32),
    }),
    quorum: object({ children: array(blockdevRef), "vote-threshold": int }),
    nbd: object({
      server: union(
        "type",
        {},
        {
          inet: object({ host: str, port: str, to: optional(uint16) }),
          unix: object({ path: str }),
        },
      ),
      export: optional(str),
      "reconnect-delay": optional(uint32),
    }),
  },
);

const bitmapAdd = object({
  node: str,
  name: str,
  granularity: optional(uint32),
  persistent: optional(bool),
  disabled: optional(bool),
});
const bitmapMerge = object({
  node: str,
  target: str,
  bitmaps: array(alternate("BlockDirtyBitmapOrStr", str, bitmap)),
});

/** What QEMU's commands of these names take. */
export const SAMPLE_ARGUMENTS: Readonly<Record<string, StructType<unknown>>> = {
  "block-dirty-bitmap-add": bitmapAdd,
  "block-dirty-bitmap-merge": bitmapMerge,
  "block-set-write-threshold": object({ "node-name": str, "write-threshold": uint64 }),
  "blockdev-add": blockdevOptions,
  "blockdev-backup": object({
    "job-id": optional(str),
    device: str,
    sync: enumeration("top", "full", "none", "incremental", "bitmap"),
    speed: optional(int),
    "x-perf": optional(object({ "use-copy-range": optional(bool), "max-workers": optional(int) })),
    target: str,
  }),
  "block-latency-histogram-set": object({ id: str, boundaries: optional(array(uint64)) }),
  "migrate-set-parameters": object({
    "xbzrle-cache-size": optional(size),
    "tls-creds": optional(alternate("StrOrNull", str, nil)),
  }),
  transaction: object({
    actions: array(
      union(
        "type",
        {},
        {
          abort: object({ data: object({}) }),
          "block-dirty-bitmap-add": object({ data: bitmapAdd }),
          "block-dirty-bitmap-merge": object({ data: bitmapMerge }),
        },
      ),
    ),
    properties: optional(object({ "completion-mode": optional(enumeration("individual", "grouped")) })),
  }),
};

/** What `-blockdev` takes. */
export const SAMPLE_BLOCKDEV: StructType<unknown> = blockdevOptions;

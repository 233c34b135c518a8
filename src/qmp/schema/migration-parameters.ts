// The parameters of migrations, as QEMU 7.2 has them: docs/reference/migration-stream.md §5, persistence-migration.md §5.4.

import type { MigrationParameters } from "../../migration/migration-settings.ts";
import {
  alternate,
  array,
  bool,
  enumeration,
  nil,
  type ObjectType,
  object,
  optional,
  size,
  str,
  uint8,
  uint32,
  uint64,
} from "./types.ts";

const strOrNull = alternate("StrOrNull", str, nil);

const bitmapMapping = array(
  object({
    "node-name": str,
    alias: str,
    bitmaps: array(object({ name: str, alias: str, transform: optional(object({ persistent: optional(bool) })) })),
  }),
);

export const migrationParameters: ObjectType<MigrationParameters> = object({
  "announce-initial": optional(size),
  "announce-max": optional(size),
  "announce-rounds": optional(size),
  "announce-step": optional(size),
  "compress-level": optional(uint8),
  "compress-threads": optional(uint8),
  "compress-wait-thread": optional(bool),
  "decompress-threads": optional(uint8),
  "throttle-trigger-threshold": optional(uint8),
  "cpu-throttle-initial": optional(uint8),
  "cpu-throttle-increment": optional(uint8),
  "cpu-throttle-tailslow": optional(bool),
  "tls-creds": optional(strOrNull),
  "tls-hostname": optional(strOrNull),
  "tls-authz": optional(strOrNull),
  "max-bandwidth": optional(size),
  "downtime-limit": optional(uint64),
  "x-checkpoint-delay": optional(uint32),
  "block-incremental": optional(bool),
  "multifd-channels": optional(uint8),
  "xbzrle-cache-size": optional(size),
  "max-postcopy-bandwidth": optional(size),
  "max-cpu-throttle": optional(uint8),
  "multifd-compression": optional(enumeration("none", "zlib", "zstd")),
  "multifd-zlib-level": optional(uint8),
  "multifd-zstd-level": optional(uint8),
  "block-bitmap-mapping": optional(bitmapMapping),
}) as ObjectType<MigrationParameters>;

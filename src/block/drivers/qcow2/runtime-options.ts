// What the options of a qcow2 node say beside its image: caches, checks, discards, lazy refcounts. QMP's BlockdevOptionsQcow2.

import { BlockError, QmpError } from "../../../base/errors.ts";
import type { PassedDiscards } from "./allocator.ts";
import type { Layout } from "./format.ts";
import { type OverlapChecks, overlapChecksOf } from "./overlap-checks.ts";

/** As a user gives them. What is left out has QEMU's default. */
export interface RuntimeOptions {
  /** Of both caches together. */
  readonly cacheBytes?: number | undefined;
  readonly l2CacheBytes?: number | undefined;
  /** The unit in which L2 tables are read and kept: a power of two from 512 to a cluster. */
  readonly l2CacheEntryBytes?: number | undefined;
  readonly refcountCacheBytes?: number | undefined;
  /** Tables that nobody has used for so long are given up; 0 for never. */
  readonly cacheCleanSeconds?: number | undefined;
  /** As the image says by default. */
  readonly lazyRefcounts?: boolean | undefined;
  readonly overlapChecks?: OverlapChecks | undefined;
  readonly passDiscards?: PassedDiscards | undefined;
  /** A discarded cluster keeps its place in the file. */
  readonly discardNoUnref?: boolean | undefined;
}

/** As they are carried out. */
export interface RuntimeSettings {
  readonly l2SliceBytes: number;
  /** Slices of L2 tables, and refcount blocks, that may be in memory. */
  readonly l2CacheSlices: number;
  readonly refcountCacheTables: number;
  readonly cacheCleanMs: number;
  readonly lazyRefcounts: boolean;
  readonly overlapChecks: OverlapChecks;
  readonly passDiscards: PassedDiscards;
  readonly discardNoUnref: boolean;
}

const DEFAULT_L2_CACHE_BYTES = 32 << 20;
const DEFAULT_REFCOUNT_CACHE_BYTES = 4 << 20;
const DEFAULT_CLEAN_SECONDS = 600;
const MIN_SLICE_BYTES = 512;
const MIN_CACHE_TABLES = 4;
const MAX_CACHE_TABLES = 2 ** 31 - 1;
/** Nobody has memory for a cache of that size. */
const MAX_CACHE_BYTES = 2 ** 36;
/** Of either cache; more is never in memory, whatever is asked for. */
const MAX_USED_BYTES = 2 ** 30;

/** Throws a `QmpError` or `BlockError` with QEMU's text, in QEMU's order. */
export function settleRuntimeOptions(
  options: RuntimeOptions,
  layout: Layout,
  image: { readonly diskBytes: number; readonly lazyRefcounts: boolean },
): RuntimeSettings {
  const { clusterBytes, version } = layout;
  const sizes = cacheBytes(options, layout, image.diskBytes);
  const l2SliceBytes = options.l2CacheEntryBytes ?? clusterBytes;
  if (l2SliceBytes < MIN_SLICE_BYTES || l2SliceBytes > clusterBytes || !Number.isInteger(Math.log2(l2SliceBytes)))
    throw new QmpError(
      `L2 cache entry size must be a power of two between ${MIN_SLICE_BYTES} and the cluster size (${clusterBytes})`,
    );
  const l2CacheSlices = tables(sizes.l2, l2SliceBytes, "L2");
  const refcountCacheTables = tables(sizes.refcount, clusterBytes, "Refcount");
  const seconds = options.cacheCleanSeconds ?? DEFAULT_CLEAN_SECONDS;
  if (!(seconds >= 0 && seconds < 2 ** 32)) throw new QmpError("Cache clean interval too big");
  const lazyRefcounts = options.lazyRefcounts ?? image.lazyRefcounts;
  if (lazyRefcounts && version < 3)
    throw new BlockError("EINVAL", "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level");
  const discardNoUnref = options.discardNoUnref === true;
  if (discardNoUnref && version < 3)
    throw new BlockError("EINVAL", "discard-no-unref is only supported since qcow2 version 3");
  return {
    ...{ l2SliceBytes, l2CacheSlices, refcountCacheTables, lazyRefcounts, discardNoUnref },
    cacheCleanMs: seconds * 1000,
    overlapChecks: options.overlapChecks ?? overlapChecksOf(undefined),
    passDiscards: options.passDiscards ?? { request: true, snapshot: true, other: false },
  };
}

/** `cache-size` is for both caches: what is said of neither goes to the L2 tables first, as far as the disk can use it. */
function cacheBytes(
  { cacheBytes: total, l2CacheBytes: l2, refcountCacheBytes: refcount, l2CacheEntryBytes }: RuntimeOptions,
  { clusterBytes, l2EntryBytes }: Layout,
  diskBytes: number,
): { readonly l2: number; readonly refcount: number } {
  for (const [name, bytes] of [
    ["cache-size", total],
    ["l2-cache-size", l2],
    ["refcount-cache-size", refcount],
    ["l2-cache-entry-size", l2CacheEntryBytes],
  ] as const)
    if (bytes !== undefined && bytes < 0)
      throw new QmpError(`Parameter '${name}' expects a non-negative number below 2^64`);
  const whole = Math.ceil((Math.ceil(diskBytes / clusterBytes) * l2EntryBytes) / clusterBytes) * clusterBytes;
  const least = MIN_CACHE_TABLES * clusterBytes;
  // Twice the tables, so that all of them may wait for being written and leave room.
  const most = 2 * whole + least;
  const useful = (bytes: number): number => Math.min(bytes, most);
  if (total === undefined)
    return { l2: useful(l2 ?? DEFAULT_L2_CACHE_BYTES), refcount: refcount ?? DEFAULT_REFCOUNT_CACHE_BYTES };
  if (l2 !== undefined && refcount !== undefined)
    throw new QmpError("cache-size, l2-cache-size and refcount-cache-size may not be set at the same time");
  if (l2 !== undefined && l2 > total) throw new QmpError("l2-cache-size may not exceed cache-size");
  if (refcount !== undefined && refcount > total) throw new QmpError("refcount-cache-size may not exceed cache-size");
  if (l2 !== undefined) return { l2: useful(l2), refcount: total - l2 };
  if (refcount !== undefined) return { l2: useful(total - refcount), refcount };
  const forL2 = Math.min(most, Math.max(0, total - least));
  return { l2: forL2, refcount: total - forL2 };
}

function tables(bytes: number, tableBytes: number, name: "L2" | "Refcount"): number {
  if (Math.floor(bytes / tableBytes) > MAX_CACHE_TABLES) throw new QmpError(`${name} cache size too big`);
  if (bytes >= MAX_CACHE_BYTES) throw new QmpError("Could not allocate metadata caches");
  return Math.max(MIN_CACHE_TABLES, Math.floor(Math.min(bytes, MAX_USED_BYTES) / tableBytes));
}

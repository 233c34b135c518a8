// The arguments of `block-dirty-bitmap-add`: docs/reference/bitmaps.md §2.2 and §3.1, docs/reference/corrections.md.

import { QmpError } from "../base/errors.ts";
import { MIN_GRANULARITY_BYTES } from "./dirty-bitmap.ts";

const UINT32_END = 2 ** 32;
const MAX_NAME_BYTES = 1023;
const MIN_DEFAULT_GRANULARITY_BYTES = 4096;
const MAX_DEFAULT_GRANULARITY_BYTES = 65536;

/** Throws `QmpError` for a name that no user may give: an empty one. The first of all checks, before the node is looked up. */
export function checkBitmapName(name: string): void {
  if (name === "") throw new QmpError("Bitmap name cannot be empty");
}

/** True if `name` has more bytes than a bitmap's name may have, transient ones included. */
export function isBitmapNameTooLong(name: string): boolean {
  // Every UTF-16 unit is a byte of UTF-8 at least.
  return name.length > MAX_NAME_BYTES || new TextEncoder().encode(name).length > MAX_NAME_BYTES;
}

/** Throws `QmpError` for a granularity other than a power of two from 512 to 2^31. */
export function checkGranularity(granularityBytes: number): void {
  if (!Number.isInteger(granularityBytes)) throw new QmpError("Parameter 'granularity' expects uint64");
  if (granularityBytes < 0 || granularityBytes >= UINT32_END) {
    throw new QmpError("Parameter 'granularity' expects uint32_t");
  }
  if (granularityBytes < MIN_GRANULARITY_BYTES || (granularityBytes & (granularityBytes - 1)) !== 0) {
    throw new QmpError("Granularity must be power of 2 and at least 512");
  }
}

/** The granularity when none is given: the node's cluster size within 4 KiB and 64 KiB; 64 KiB if it has no clusters. */
export function defaultGranularity(clusterSizeBytes: number | undefined): number {
  if (clusterSizeBytes === undefined) return MAX_DEFAULT_GRANULARITY_BYTES;
  return Math.min(Math.max(clusterSizeBytes, MIN_DEFAULT_GRANULARITY_BYTES), MAX_DEFAULT_GRANULARITY_BYTES);
}

// Merging dirty bitmaps, all or nothing: docs/reference/bitmaps.md §3.4.

import { QmpError } from "../base/errors.ts";
import { BITMAP_ALLOW_RO, BITMAP_DEFAULT, checkDirtyBitmap } from "./bitmap-check.ts";
import type { DirtyBitmap } from "./dirty-bitmap.ts";
import { HierarchicalBitmap } from "./hierarchical-bitmap.ts";

/**
 * Makes dirty in `target` what is dirty in any of `sources`, which may be of other nodes and granularities, but not of other
 * sizes; the target may be among them. They are asked for one by one: what asking for one throws, or a `QmpError` for one
 * that cannot be merged, leaves the target as it was. Returns the bits that the target had, to put back with `exchangeBits`.
 */
export function mergeDirtyBitmaps(target: DirtyBitmap, sources: Iterable<DirtyBitmap>): HierarchicalBitmap {
  const merged = new HierarchicalBitmap(target.sizeBytes, target.granularityBytes);
  merged.merge(target.bits);
  for (const source of sources) {
    checkDirtyBitmap(target, BITMAP_DEFAULT);
    checkDirtyBitmap(source, BITMAP_ALLOW_RO);
    if (source.sizeBytes !== target.sizeBytes) {
      const sizes = `destination size is ${target.sizeBytes}, source size is ${source.sizeBytes}`;
      throw new QmpError(`Bitmaps are of different sizes (${sizes}) and can't be merged`);
    }
    merged.merge(source.bits);
  }
  return target.exchangeBits(merged);
}

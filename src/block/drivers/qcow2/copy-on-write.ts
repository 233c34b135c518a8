// What a write to a part of a cluster has to copy so that its subclusters can be the image's own.

import type { ClusterMapping } from "./cluster-mapping.ts";
import { maskOf } from "./cluster-mapping.ts";
import { type Layout, SUBCLUSTERS } from "./format.ts";
import type { CachedTable } from "./table-cache.ts";

/** The two halves of an extended entry's bitmap. */
export interface SubclusterBits {
  readonly allocated: number;
  readonly zero: number;
}

/** Offsets within the cluster: `[from, start)` and `[end, to)` are copied, and the entry's bits are then these. */
interface CopyPlan {
  readonly from: number;
  readonly to: number;
  readonly bits: SubclusterBits;
}

/** The plan for a write of `[start, end)` of one cluster with subclusters. `reuse`: the entry keeps the cluster that it has. */
export function planCopy(
  layout: Layout,
  mapping: ClusterMapping,
  table: CachedTable,
  index: number,
  write: { start: number; end: number; reuse: boolean },
): CopyPlan {
  const { clusterBytes, unitBytes } = layout;
  const { start, end, reuse } = write;
  if (mapping.isCompressed(table, index))
    return { from: 0, to: clusterBytes, bits: { allocated: maskOf(0, SUBCLUSTERS), zero: 0 } };
  const first = Math.floor(start / unitBytes);
  const last = Math.ceil(end / unitBytes);
  const allocated = mapping.allocatedBits(table, index);
  const zero = mapping.zeroBits(table, index);
  const has = (unit: number): boolean => ((allocated >>> unit) & 1) !== 0;
  if (reuse) {
    const mask = maskOf(first, last);
    return {
      from: has(first) ? start : first * unitBytes,
      to: has(last - 1) ? end : last * unitBytes,
      bits: { allocated: (allocated | mask) >>> 0, zero: (zero & ~mask) >>> 0 },
    };
  }
  // What others share the cluster for has to come along.
  let [low, high] = [first, last];
  for (let unit = 0; unit < SUBCLUSTERS; unit++) {
    if (!has(unit)) continue;
    low = Math.min(low, unit);
    high = Math.max(high, unit + 1);
  }
  const mask = maskOf(low, high);
  return { from: low * unitBytes, to: high * unitBytes, bits: { allocated: mask, zero: (zero & ~mask) >>> 0 } };
}

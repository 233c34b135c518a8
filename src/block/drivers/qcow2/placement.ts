// Which clusters a write takes that has no place yet, and what of them it has to fill beside its own data.

import type { HostRun } from "./allocator.ts";
import { type CopyPlan, planCopy } from "./copy-on-write.ts";
import { roundDown } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import type { CachedTable } from "./table-cache.ts";

/** New clusters that one step takes at the most, in bytes. */
const MAX_STEP_BYTES = 16 << 20;

/** What one step of a write needs: so many clusters in a row, or the one that the entry has. */
export interface PlacementPlan {
  readonly clusters: number;
  /** The entry keeps its cluster, which holds no data yet where the write goes. */
  readonly reuse: boolean;
  readonly first: CopyPlan;
  readonly last: CopyPlan;
}

/** A plan with the clusters for it. */
export interface Placement extends PlacementPlan, HostRun {}

/** For a write that begins at `offsetBytes`: up to the first cluster that has its place, and as far as one table says. */
export function planPlacement(
  image: Qcow2Image,
  table: CachedTable,
  offsetBytes: number,
  lengthBytes: number,
): PlacementPlan {
  const { layout, mapping } = image;
  const { clusterBytes } = layout;
  const index = mapping.indexOf(offsetBytes);
  const inFirst = offsetBytes % clusterBytes;
  const ownsPlace = (at: number): boolean => mapping.hostCluster(table, at) !== 0 && mapping.isCopied(table, at);
  const reuse = ownsPlace(index);
  const most = Math.min(
    Math.ceil((inFirst + lengthBytes) / clusterBytes),
    layout.sliceEntries - index,
    Math.max(1, MAX_STEP_BYTES / clusterBytes),
  );
  let clusters = 1;
  while (!reuse && clusters < most && !ownsPlace(index + clusters)) clusters++;
  const end = Math.min(inFirst + lengthBytes, clusters * clusterBytes);
  const plan = (cluster: number): CopyPlan => {
    const before = cluster * clusterBytes;
    const range = { start: Math.max(0, inFirst - before), end: Math.min(end - before, clusterBytes), reuse };
    return planCopy(layout, mapping, table, index + cluster, range);
  };
  const first = plan(0);
  return { clusters, reuse, first, last: clusters === 1 ? first : plan(clusters - 1) };
}

/** Where on the disk the filling begins and ends that a placement asks for; the data of the write are within. */
export function filledRange(image: Qcow2Image, offsetBytes: number, plan: PlacementPlan): { from: number; to: number } {
  const { clusterBytes } = image.layout;
  const start = roundDown(offsetBytes, clusterBytes);
  return { from: start + plan.first.from, to: start + (plan.clusters - 1) * clusterBytes + plan.last.to };
}

// Which clusters a write takes that has no place yet, and what of them it has to fill beside its own data.

import type { HostRun } from "./allocator.ts";
import type { ClusterMapping } from "./cluster-mapping.ts";
import { planCopy, type SubclusterBits } from "./copy-on-write.ts";
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
  /** Where on the disk the filling begins and ends; the data of the write are within. */
  readonly fillFrom: number;
  readonly fillTo: number;
  /** Of the first and the last entry, if they are extended. */
  readonly firstBits: SubclusterBits | undefined;
  readonly lastBits: SubclusterBits | undefined;
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
  const fillFrom = roundDown(offsetBytes, clusterBytes);
  const wanted = Math.ceil((offsetBytes + lengthBytes - fillFrom) / clusterBytes);
  const most = Math.min(wanted, layout.sliceEntries - index, Math.max(1, MAX_STEP_BYTES / clusterBytes));
  const reuse = ownsPlace(mapping, table, index);
  let clusters = 1;
  while (!reuse && clusters < most && !ownsPlace(mapping, table, index + clusters)) clusters++;
  const fillTo = fillFrom + clusters * clusterBytes;
  const plan = { clusters, reuse, fillFrom, fillTo, firstBits: undefined, lastBits: undefined };
  return layout.extended ? withSubclusters(image, table, plan, offsetBytes, offsetBytes + lengthBytes) : plan;
}

function ownsPlace(mapping: ClusterMapping, table: CachedTable, index: number): boolean {
  return mapping.hostCluster(table, index) !== 0 && mapping.isCopied(table, index);
}

/** Of the first and the last cluster, subclusters that nobody writes to are not filled. */
function withSubclusters(
  image: Qcow2Image,
  table: CachedTable,
  plan: PlacementPlan,
  offsetBytes: number,
  endBytes: number,
): PlacementPlan {
  const { layout, mapping } = image;
  const { clusterBytes } = layout;
  const { clusters, reuse } = plan;
  const index = mapping.indexOf(offsetBytes);
  const start = offsetBytes - plan.fillFrom;
  const end = Math.min(endBytes, plan.fillTo) - plan.fillFrom;
  const ofFirst = { start, end: Math.min(end, clusterBytes), reuse };
  const first = planCopy(layout, mapping, table, index, ofFirst);
  const before = (clusters - 1) * clusterBytes;
  const ofLast = { start: 0, end: end - before, reuse };
  const last = clusters === 1 ? first : planCopy(layout, mapping, table, index + clusters - 1, ofLast);
  return {
    clusters,
    reuse,
    fillFrom: plan.fillFrom + first.from,
    fillTo: plan.fillFrom + before + last.to,
    firstBits: first.bits,
    lastBits: last.bits,
  };
}

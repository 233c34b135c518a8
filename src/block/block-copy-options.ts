// What a block copy is told when it is made, and what it tells of its work: docs/reference/backup.md §4.2.

import type { Clock } from "../base/clock.ts";
import type { BlockNode } from "./node.ts";

/** Clusters that were copied, by who copied them. */
export interface ClustersCopied {
  background: number;
  guest: number;
}

export interface BlockCopyOptions {
  readonly source: BlockNode;
  /** As long as the source. */
  readonly target: BlockNode;
  /** A power of two. */
  readonly clusterSizeBytes: number;
  /** Of a background task, rounded up to whole clusters; 1 MiB at most and by default. Guests' tasks are of up to 1 MiB. */
  readonly maxChunkBytes?: number;
  readonly clock?: Clock;
  /** What was copied the source is told to forget: see `discardCopied`. The target gets it compressed, if its format can. */
  readonly discardSource?: boolean;
  readonly compress?: boolean;
}

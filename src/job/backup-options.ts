// What a backup is asked to do: docs/reference/backup.md §2.1.

import type { OnCbwError } from "../block/block-copy-notifier.ts";
import type { NodeParent } from "../block/drain.ts";
import type { ErrorPolicy } from "../block/error-policy.ts";
import type { BlockNode } from "../block/node.ts";

/**
 * What is copied, as in QMP: everything; what the source's own layer holds; nothing but what guests change; what a bitmap names.
 * `incremental` is `bitmap` with the mode `on-success`.
 */
export type BackupSync = "full" | "top" | "none" | "incremental" | "bitmap";

/** When the bitmap forgets what the backup holds, as in QMP: §3.1. */
export type BitmapMode = "on-success" | "always" | "never";

/** Every length is in bytes. What a user may get wrong is checked when the backup is made. */
export interface BackupOptions {
  /** The id of the source's drive by default. */
  readonly id?: string | undefined;
  readonly source: BlockNode;
  /** If the source was named by its drive: that drive's backend as the source's parent. A job on the drive then stands against it. */
  readonly sourceDrive?: NodeParent | undefined;
  /** As long as the source; what it holds is of no account. */
  readonly target: BlockNode;
  /**
   * Called once when source and target are needed no more, whatever the way: they may be there for this backup alone. Undefined when
   * that is not so. Never rejects.
   */
  readonly release?: (() => Promise<void> | undefined) | undefined;
  /** Full by default. */
  readonly sync?: BackupSync | undefined;
  /** Name of a bitmap of the source. */
  readonly bitmap?: string | undefined;
  readonly bitmapMode?: BitmapMode | undefined;
  readonly compress?: boolean | undefined;
  /** What was copied is discarded in the source, which is then to be a snapshot: what a guest sees there would be lost. */
  readonly discardSource?: boolean | undefined;
  /** Bytes per second; 0, the default, for no limit. */
  readonly speed?: number | undefined;
  readonly onSourceError?: ErrorPolicy | undefined;
  readonly onTargetError?: ErrorPolicy | undefined;
  readonly onCbwError?: OnCbwError | undefined;
  readonly autoFinalize?: boolean | undefined;
  readonly autoDismiss?: boolean | undefined;
  /** How messages name the filter that stands for the interception; by default an automatic name. */
  readonly filterNodeName?: string | undefined;
  /** x-perf.max-workers: tasks of the background loop in flight at once. */
  readonly maxWorkers?: number | undefined;
  /** x-perf.max-chunk: the most that one task copies, rounded up to clusters; 0 for the engine's own limit. */
  readonly maxChunkBytes?: number | undefined;
  /** x-perf.min-cluster-size: 0 or a power of two. */
  readonly minClusterSizeBytes?: number | undefined;
}

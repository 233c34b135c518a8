// A node as it was at one moment, beside the node as it is: docs/reference/backup.md §5.

import type { IoVector } from "../base/io-vector.ts";
import type { BlockStatus } from "./driver.ts";

/**
 * The snapshot that a copy-before-write filter keeps, for `snapshot-access` and exports. What does not belong to the snapshot, or
 * was given up, cannot be read: EACCES. Ranges are within the length that the node had then.
 */
export interface SnapshotSource {
  readonly lengthBytes: number;
  read(offsetBytes: number, vector: IoVector): Promise<void>;
  blockStatus(offsetBytes: number, lengthBytes: number): Promise<BlockStatus>;
  /** The whole clusters of a range are needed no more: they are not copied, and their copies are discarded. */
  discard(offsetBytes: number, lengthBytes: number): Promise<void>;
}

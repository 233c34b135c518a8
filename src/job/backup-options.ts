// What a backup is asked to do, and the checks of it in their order: docs/reference/backup.md §2.1, §2.2.

import { QmpError } from "../base/errors.ts";
import { blockCopyClusterSize } from "../block/block-copy.ts";
import type { BlockNode } from "../block/node.ts";

const MAX_WORKERS = 2 ** 31 - 1;

/** A full backup. Every length is in bytes. */
export interface BackupOptions {
  readonly id: string;
  readonly source: BlockNode;
  /** As long as the source; what it holds is of no account. */
  readonly target: BlockNode;
  readonly autoFinalize?: boolean;
  readonly autoDismiss?: boolean;
  /** x-perf.max-workers: tasks of the background loop in flight at once. */
  readonly maxWorkers?: number;
  /** x-perf.max-chunk: the most that one task copies; 0 for the engine's own limit. */
  readonly maxChunkBytes?: number;
  /** x-perf.min-cluster-size: 0 or a power of two. */
  readonly minClusterSizeBytes?: number;
}

/** Checks everything but the id, and returns the cluster size of the copy. Throws a `QmpError` with QEMU's text. */
export function checkBackup(options: BackupOptions): number {
  const { id, source, target, maxWorkers, maxChunkBytes = 0, minClusterSizeBytes = 0 } = options;
  if (source === target) throw new QmpError("Source and target cannot be the same");
  if (maxWorkers !== undefined && !(Number.isInteger(maxWorkers) && maxWorkers >= 1 && maxWorkers <= MAX_WORKERS))
    throw new QmpError(`max-workers must be between 1 and ${MAX_WORKERS}`);
  if (!(maxChunkBytes >= 0)) throw new QmpError("max-chunk must be zero (which means no limit) or positive");
  if (source.lengthBytes !== target.lengthBytes) throw new QmpError("Source and target image have different sizes");
  checkSharing(id, source, target);
  if (target.readOnly) throw new QmpError("Could not create node: Block node is read-only");
  const copyStateFailed = "Could not create node: Cannot create block-copy-state";
  if (minClusterSizeBytes !== 0 && !isPowerOfTwo(minClusterSizeBytes))
    throw new QmpError(`${copyStateFailed}: min-cluster-size needs to be a power of 2`);
  const clusterSizeBytes = blockCopyClusterSize(target, minClusterSizeBytes);
  if (maxChunkBytes !== 0 && maxChunkBytes < clusterSizeBytes)
    throw new QmpError(`Required max-chunk (${maxChunkBytes}) is less than backup cluster size (${clusterSizeBytes})`);
  return clusterSizeBytes;
}

/** Whatever stands below both would be written by guests and by the job: row 21 of §2.2. */
function checkSharing(id: string, source: BlockNode, target: BlockNode): void {
  const sourceUsers = usersBelow(source, `backup job '${id}' (uses node '${source.name}' as 'file' child)`);
  for (const [node, user] of usersBelow(target, `backup job '${id}' (uses node '${target.name}' as 'target' child)`)) {
    const other = sourceUsers.get(node);
    if (other === undefined) continue;
    throw new QmpError(
      `Permission conflict on node '${node.name}': permissions 'write' are both required by ${user} and unshared by ${other}.`,
    );
  }
}

/** A node and all below it, each with who uses it. */
function usersBelow(node: BlockNode, user: string): Map<BlockNode, string> {
  const users = new Map([[node, user]]);
  for (const { role, node: child } of node.driver.children)
    for (const [below, by] of usersBelow(child, `node '${node.name}' (uses node '${child.name}' as '${role}' child)`))
      users.set(below, by);
  return users;
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}

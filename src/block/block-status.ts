// What stands in a range as a reader sees it, through the whole chain of overlays: docs/reference/backup.md §4.3 step 3.

import type { BlockStatus } from "./driver.ts";
import type { BlockNode } from "./node.ts";

/** The node that shows where this one has nothing of its own. */
export function backingOf(node: BlockNode): BlockNode | undefined {
  return node.driver.children.find(({ role }) => role === "backing")?.node;
}

/** True if `below` is somewhere under `node`. */
export function standsOn(node: BlockNode, below: BlockNode): boolean {
  return node.driver.children.some(({ node: child }) => child === below || standsOn(child, below));
}

/**
 * What stands at `offsetBytes`, in `node` or in one of the layers below it, down to the last above `base` (to the end of the
 * chain by default). `allocated` says whether one of these layers has it. What none has, or what lies beyond the end of a layer
 * that has it, reads as zeroes, unless it is `base`'s. The answer covers at most `lengthBytes`, and at least one byte.
 */
export function blockStatusAbove(
  node: BlockNode,
  base: BlockNode | undefined,
  offsetBytes: number,
  lengthBytes: number,
): BlockStatus | Promise<BlockStatus> {
  const status = node.blockStatus(offsetBytes, lengthBytes);
  if (status instanceof Promise) return status.then((answer) => below(node, base, offsetBytes, answer));
  return below(node, base, offsetBytes, status);
}

/**
 * What a filter or a raw image on `node` answers: data and zeroes are those of the whole chain below, which only the node on top of it
 * knows; `allocated` says whether they are that node's own.
 */
export function blockStatusThrough(
  node: BlockNode,
  offsetBytes: number,
  lengthBytes: number,
): BlockStatus | Promise<BlockStatus> {
  const own = node.blockStatus(offsetBytes, lengthBytes);
  const resolve = (status: BlockStatus): BlockStatus | Promise<BlockStatus> => {
    if (status.allocated) return status;
    const all = below(node, undefined, offsetBytes, status);
    return all instanceof Promise ? all.then(asForeign) : asForeign(all);
  };
  return own instanceof Promise ? own.then(resolve) : resolve(own);
}

function asForeign(status: BlockStatus): BlockStatus {
  return { ...status, allocated: false };
}

/** Goes on where the layer `node` has answered. */
function below(
  node: BlockNode,
  base: BlockNode | undefined,
  offsetBytes: number,
  status: BlockStatus,
): BlockStatus | Promise<BlockStatus> {
  if (status.allocated) return status;
  const backing = backingOf(node);
  // Data that are not the layer's own and not a backing node's were found further below: `blockStatusThrough`.
  if (backing === undefined) return status.data ? status : { ...status, data: false, zero: true };
  if (backing === base) return status;
  const there = Math.min(status.lengthBytes, backing.lengthBytes - offsetBytes);
  if (there <= 0) return { lengthBytes: status.lengthBytes, allocated: true, data: false, zero: true };
  return blockStatusAbove(backing, base, offsetBytes, there);
}

// Permissions through the graph: what users ask of a node it asks of its children in turn.

import { QmpError } from "../base/errors.ts";
import type { GraphNode } from "./graph-node.ts";
import { PERM_WRITE, PERM_WRITE_UNCHANGED } from "./permissions.ts";

/**
 * Works out anew what a node and all below it need and share, after a parent of the node has come, gone or changed. Throws a
 * `QmpError` with QEMU's text where two users of some node exclude one another, or one wants to write to a read-only node; every
 * permission below the node is then as it was, and the caller takes back his change at the node itself.
 */
export function refreshPermissions(node: GraphNode): void {
  const undo: (() => void)[] = [];
  try {
    refresh(node, undo);
  } catch (error) {
    for (const takeBack of undo.reverse()) takeBack();
    throw error;
  }
}

function refresh(node: GraphNode, undo: (() => void)[]): void {
  const permissions = node.combinedPermissions();
  const writes = (permissions.needs & (PERM_WRITE | PERM_WRITE_UNCHANGED)) !== 0;
  if (writes && node.readOnly) throw new QmpError("Block node is read-only");
  for (const child of node.childEdges) {
    const edge = child.node.parentEdge(child.asParent);
    const before = edge.permissions;
    const after = child.permissions(permissions);
    if (after.needs === before.needs && after.shares === before.shares) continue;
    undo.push(() => {
      edge.permissions = before;
    });
    edge.permissions = after;
    refresh(child.node, undo);
  }
}

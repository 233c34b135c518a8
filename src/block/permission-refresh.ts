// Permissions through the graph: what users ask of a node it asks of its children in turn, and what drivers make of it.

import { QmpError } from "../base/errors.ts";
import type { PermissionListener } from "./driver.ts";
import type { GraphNode } from "./graph-node.ts";
import { PERM_WRITE, PERM_WRITE_UNCHANGED } from "./permissions.ts";

/** Whose drivers have prepared for permissions that do not hold for good yet. */
export type UnsettledNodes = Set<GraphNode>;

/**
 * Works out anew what a node and all below it need and share, after a parent of the node has come, gone or changed. Throws a
 * `QmpError` with QEMU's text where two users of some node exclude one another, one wants to write to a read-only node, or another
 * process has the image; every permission below the node is then as it was, and the caller takes back his change at the node itself.
 *
 * Drivers are asked once the graph has agreed. With `unsettled` they keep what they had beside what they need now, such as locks,
 * until `settlePermissions`: for a change that others follow.
 */
export function refreshPermissions(node: GraphNode, unsettled?: UnsettledNodes): void {
  const undo: (() => void)[] = [];
  const changed: GraphNode[] = [];
  const prepared: PermissionListener[] = [];
  try {
    refresh(node, undo, changed);
    for (const one of changed) {
      const listener = one.driver.permissionListener;
      if (listener === undefined) continue;
      listener.prepare(one.combinedPermissions());
      prepared.push(listener);
    }
  } catch (error) {
    for (const listener of prepared.reverse()) listener.abort();
    for (const takeBack of undo.reverse()) takeBack();
    throw error;
  }
  if (unsettled === undefined) for (const listener of prepared) listener.commit();
  else for (const one of changed) unsettled.add(one);
}

/** The permissions that were prepared last hold. */
export function settlePermissions(unsettled: UnsettledNodes): void {
  for (const { driver } of unsettled) driver.permissionListener?.commit();
  unsettled.clear();
}

function refresh(node: GraphNode, undo: (() => void)[], changed: GraphNode[]): void {
  changed.push(node);
  const permissions = node.combinedPermissions();
  const writes = (permissions.needs & (PERM_WRITE | PERM_WRITE_UNCHANGED)) !== 0;
  if (writes && (node.readOnly || !node.active)) throw new QmpError("Block node is read-only");
  for (const child of node.childEdges) {
    const edge = child.node.parentEdge(child.asParent);
    const before = edge.permissions;
    const after = child.permissions(permissions);
    if (after.needs === before.needs && after.shares === before.shares) continue;
    undo.push(() => {
      edge.permissions = before;
    });
    edge.permissions = after;
    refresh(child.node, undo, changed);
  }
}

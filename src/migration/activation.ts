// Giving images away and taking them back: docs/reference/persistence-migration.md §4, corrections.md on it.

import { QmpError } from "../base/errors.ts";
import type { BlockGraph } from "../block/graph.ts";
import { PERM_WRITE } from "../block/permissions.ts";

/**
 * Whether all nodes may become inactive: a `QmpError` where somebody beside devices, which stand still, and nodes, which are asked
 * themselves, needs to write. A job does, though it is paused.
 */
export function checkInactivation(graph: BlockGraph): void {
  for (const { node } of graph.nodes) {
    for (const parent of node.parents) {
      if (parent.isBackend === true || parent.node !== undefined) continue;
      const { needs } = node.parentEdge(parent).permissions;
      if ((needs & PERM_WRITE) !== 0) throw new QmpError("Failed to inactivate all nodes: Operation not permitted");
    }
  }
}

/** All nodes are active again: what was sent is to be stored from here on. */
export function markActive(graph: BlockGraph): void {
  for (const { node } of graph.nodes) for (const bitmap of node.bitmaps) bitmap.skipStore = false;
}

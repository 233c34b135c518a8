// Filters: nodes that show the data of one node below them, and have none of their own.

import { backingOf } from "./block-status.ts";
import type { ChildRole } from "./driver.ts";
import type { BlockNode } from "./node.ts";

/** By the filter's driver: the role that what it filters has to it. */
const FILTERED: Readonly<Record<string, ChildRole>> = {
  throttle: "file",
  blkdebug: "image",
  "copy-before-write": "file",
};

/** The node that a filter filters; undefined for nodes that are no filters. */
export function filteredChild(node: BlockNode): BlockNode | undefined {
  const filtered = FILTERED[node.driver.driverName];
  return filtered && node.driver.children.find(({ role }) => role === filtered)?.node;
}

/** What the image in a node stands on, whatever filters are above the image. */
export function backingBelowFilters(node: BlockNode): BlockNode | undefined {
  const below = filteredChild(node);
  return below === undefined ? backingOf(node) : backingBelowFilters(below);
}

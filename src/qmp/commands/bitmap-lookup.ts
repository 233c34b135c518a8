// Where commands find bitmaps: docs/reference/bitmaps.md §3.

import { QmpError } from "../../base/errors.ts";
import type { DirtyBitmap } from "../../bitmap/dirty-bitmap.ts";
import type { DirtyBitmapList } from "../../bitmap/dirty-bitmap-list.ts";
import type { BlockGraph } from "../../block/graph.ts";
import type { BlockNode } from "../../block/node.ts";

/** A bitmap, its node and the list of that. */
export interface FoundBitmap {
  readonly node: BlockNode;
  readonly list: DirtyBitmapList;
  readonly bitmap: DirtyBitmap;
}

/** The node that a bitmap command means by `name`: the root of the drive of that id, else the node of that name. */
export function findBitmapNode(graph: BlockGraph, name: string): BlockNode {
  const drive = graph.drive(name);
  const node = drive === undefined ? graph.node(name) : drive.root;
  if (node === undefined) throw new QmpError(`Node '${name}' not found`);
  return node;
}

/** The bitmap `name` of the node that `node` means. */
export function findBitmap(graph: BlockGraph, node: string, name: string): FoundBitmap {
  const found = findBitmapNode(graph, node);
  const list = found.bitmaps;
  return { node: found, list, bitmap: list.get(name) };
}

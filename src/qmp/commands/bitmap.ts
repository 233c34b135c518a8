// Commands on dirty bitmaps: docs/reference/bitmaps.md §3.

import { QmpError } from "../../base/errors.ts";
import { checkBitmapName, checkGranularity, defaultGranularity } from "../../bitmap/bitmap-arguments.ts";
import { BITMAP_BUSY, BITMAP_RO, checkDirtyBitmap } from "../../bitmap/bitmap-check.ts";
import type { DirtyBitmap } from "../../bitmap/dirty-bitmap.ts";
import { mergeDirtyBitmaps } from "../../bitmap/merge-bitmaps.ts";
import type { NewStoredBitmap } from "../../block/bitmap-store.ts";
import type { BlockGraph } from "../../block/graph.ts";
import type { BlockNode } from "../../block/node.ts";
import { type Command, defineCommand } from "../command.ts";
import { alternate, array, bool, type ObjectType, object, optional, str, uint32 } from "../schema/types.ts";
import { type FoundBitmap, findBitmap, findBitmapNode } from "./bitmap-lookup.ts";

export interface BlockDirtyBitmap {
  readonly node: string;
  readonly name: string;
}

export const blockDirtyBitmap: ObjectType<BlockDirtyBitmap> = object({ node: str, name: str });

export interface BlockDirtyBitmapAdd extends BlockDirtyBitmap {
  readonly granularity?: number;
  readonly persistent?: boolean;
  readonly disabled?: boolean;
}

export const blockDirtyBitmapAdd: ObjectType<BlockDirtyBitmapAdd> = object({
  node: str,
  name: str,
  granularity: optional(uint32),
  persistent: optional(bool),
  disabled: optional(bool),
});

/** A bitmap of the target's node by its name, or one of any node. */
const blockDirtyBitmapOrStr = alternate("BlockDirtyBitmapOrStr", str, blockDirtyBitmap);

export interface BlockDirtyBitmapMerge {
  readonly node: string;
  readonly target: string;
  readonly bitmaps: readonly (string | BlockDirtyBitmap)[];
}

export const blockDirtyBitmapMerge: ObjectType<BlockDirtyBitmapMerge> = object({
  node: str,
  target: str,
  bitmaps: array(blockDirtyBitmapOrStr),
});

/** block-dirty-bitmap-add, with its checks in their order (§3.1). */
export function addBitmap(graph: BlockGraph, args: BlockDirtyBitmapAdd): FoundBitmap {
  const { node: nodeName, name, granularity, persistent = false, disabled } = args;
  checkBitmapName(name);
  const { node } = graph.lookup(nodeName);
  if (granularity !== undefined) checkGranularity(granularity);
  const list = node.bitmaps;
  const { clusterSizeBytes } = node.driver;
  const granularityBytes = granularity ?? defaultGranularity(clusterSizeBytes);
  if (persistent) checkPersistent(graph, node, { name, granularityBytes });
  const bitmap = list.add({ name, granularityBytes, disabled });
  bitmap.persistent = persistent;
  return { node, list, bitmap };
}

/** Throws a `QmpError` where the node's image cannot keep such a bitmap (§3.7). */
function checkPersistent(graph: BlockGraph, node: BlockNode, bitmap: NewStoredBitmap): void {
  const { bitmapStore } = node.driver;
  const where = graph.displayName(node);
  if (bitmapStore === undefined)
    throw new QmpError(`Can't store persistent bitmaps to ${where}: Operation not supported`);
  if (node.bitmaps.find(bitmap.name) !== undefined) throw new QmpError(`Bitmap already exists: ${bitmap.name}`);
  try {
    bitmapStore.checkNew(node.bitmaps, bitmap);
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw new QmpError(`Can't make bitmap '${bitmap.name}' persistent in '${where}': ${error.message}`);
  }
}

/** Takes a bitmap that the node's image keeps out of it, at once (§3.2). */
export async function forgetStored({ node, bitmap }: FoundBitmap): Promise<void> {
  const { name, persistent, skipStore } = bitmap;
  if (persistent && !skipStore) await node.driver.bitmapStore?.remove(name ?? "");
}

/** block-dirty-bitmap-remove (§3.2). */
async function removeBitmap(found: FoundBitmap): Promise<void> {
  const { list, bitmap } = found;
  checkDirtyBitmap(bitmap, BITMAP_BUSY | BITMAP_RO);
  bitmap.setBusy(true);
  try {
    await forgetStored(found);
  } finally {
    bitmap.setBusy(false);
  }
  list.release(bitmap);
}

/** The sources of a merge, each looked up when it is asked for (§3.4). */
export function* mergeSources(graph: BlockGraph, { node, bitmaps }: BlockDirtyBitmapMerge): Generator<DirtyBitmap> {
  for (const source of bitmaps) {
    yield typeof source === "string"
      ? findBitmap(graph, node, source).bitmap
      : findBitmap(graph, source.node, source.name).bitmap;
  }
}

export function bitmapCommands(graph: BlockGraph): Command[] {
  return [
    defineCommand({
      name: "block-dirty-bitmap-add",
      arguments: blockDirtyBitmapAdd,
      run(args) {
        addBitmap(graph, args);
      },
    }),
    defineCommand({
      name: "block-dirty-bitmap-remove",
      arguments: blockDirtyBitmap,
      run: ({ node, name }) => removeBitmap(findBitmap(graph, node, name)),
    }),
    defineCommand({
      name: "block-dirty-bitmap-clear",
      arguments: blockDirtyBitmap,
      run: ({ node, name }) => findBitmapNode(graph, node).bitmaps.clear(name),
    }),
    defineCommand({
      name: "block-dirty-bitmap-enable",
      arguments: blockDirtyBitmap,
      run: ({ node, name }) => findBitmapNode(graph, node).bitmaps.enable(name),
    }),
    defineCommand({
      name: "block-dirty-bitmap-disable",
      arguments: blockDirtyBitmap,
      run: ({ node, name }) => findBitmapNode(graph, node).bitmaps.disable(name),
    }),
    defineCommand({
      name: "block-dirty-bitmap-merge",
      arguments: blockDirtyBitmapMerge,
      run(args) {
        mergeDirtyBitmaps(findBitmap(graph, args.node, args.target).bitmap, mergeSources(graph, args));
      },
    }),
    defineCommand({
      name: "x-debug-block-dirty-bitmap-sha256",
      arguments: blockDirtyBitmap,
      returns: object({ sha256: str }),
      run: async ({ node, name }) => ({ sha256: await findBitmap(graph, node, name).bitmap.bits.sha256() }),
    }),
  ];
}

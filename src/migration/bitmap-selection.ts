// Which bitmaps migrate, and by which names: docs/reference/persistence-migration.md §5.1.

import { BlockError, QmpError } from "../base/errors.ts";
import { BITMAP_DEFAULT, checkDirtyBitmap } from "../bitmap/bitmap-check.ts";
import type { BlockGraph } from "../block/graph.ts";
import type { BlockNode } from "../block/node.ts";
import type { SentBitmap } from "./bitmap-encoder.ts";
import { type BitmapMappingNode, isLonger } from "./bitmap-mapping.ts";

const MAX_NAME_BYTES = 255;
/** The role of what they filter, by the names of the filters. */
const FILTERED_ROLES: ReadonlyMap<string, string> = new Map([
  ["throttle", "file"],
  ["copy-before-write", "file"],
  ["blkdebug", "image"],
]);

/** A bitmap on its way, and its node, which stays as long. */
export interface SelectedBitmap extends SentBitmap {
  readonly node: BlockNode;
  readonly letGo: () => Promise<void> | undefined;
}

/**
 * Selects them and makes them busy, and no longer to be stored: until `releaseBitmaps`. Throws a `QmpError` where one cannot migrate, and
 * has then changed nothing.
 */
export function selectBitmaps(graph: BlockGraph, mapping: readonly BitmapMappingNode[] | undefined): SelectedBitmap[] {
  const selected: (SentBitmap & { readonly node: BlockNode })[] = [];
  const done = new Set<BlockNode>();
  if (mapping === undefined) {
    for (const { name, root } of graph.backends) {
      const node = name === "" ? undefined : bitmapNodeBelow(root);
      if (node === undefined || done.has(node) || FILTERED_ROLES.has(node.driver.driverName)) continue;
      done.add(node);
      selectOfNode(selected, node, name, undefined);
    }
  }
  for (const { node } of [...graph.nodes].reverse()) {
    if (done.has(node)) continue;
    const mapped = mapping?.find((entry) => entry["node-name"] === node.name);
    if (mapping === undefined || mapped !== undefined) selectOfNode(selected, node, mapped?.alias ?? node.name, mapped);
  }
  return selected.map((one) => {
    one.bitmap.setBusy(true);
    one.bitmap.skipStore = true;
    return { ...one, letGo: graph.keep(one.node, "a migration") };
  });
}

/**
 * They are the users' again. Where the image has not been given away they are stored as ever, and else as soon as it has been taken
 * back. (QEMU leaves those of a migration that failed before that unstored, and in use in the image, when it ends without a `cont`.)
 */
export function releaseBitmaps(selected: readonly SelectedBitmap[], report: (line: string) => void): void {
  for (const { bitmap, node, letGo } of selected) {
    bitmap.setBusy(false);
    if (node.active) bitmap.skipStore = false;
    letNodeGo(letGo, report);
  }
}

/** Whoever else had the node may have let go of it meanwhile: what goes wrong when it is closed then concerns nobody here. */
export function letNodeGo(letGo: SelectedBitmap["letGo"], report: (line: string) => void): void {
  void letGo()?.catch((error: unknown) => {
    if (!(error instanceof BlockError || error instanceof QmpError)) throw error;
    report(error.message);
  });
}

function selectOfNode(
  selected: (SentBitmap & { readonly node: BlockNode })[],
  node: BlockNode,
  nodeAlias: string,
  mapped: BitmapMappingNode | undefined,
): void {
  for (const bitmap of node.bitmaps) {
    const { name } = bitmap;
    if (name === undefined) continue;
    if (nodeAlias.startsWith("#")) {
      throw new QmpError(`Bitmap '${name}' in a node with auto-generated name '${nodeAlias}' can't be migrated`);
    }
    checkDirtyBitmap(bitmap, BITMAP_DEFAULT);
    const entry = mapped?.bitmaps.find((one) => one.name === name);
    if (mapped !== undefined && entry === undefined) continue;
    if (entry === undefined && isLonger(name, MAX_NAME_BYTES)) {
      throw new QmpError(
        `Cannot migrate bitmap '${name}' on node '${node.name}': Name is longer than ${MAX_NAME_BYTES} bytes`,
      );
    }
    const persistent = entry?.transform?.persistent ?? bitmap.persistent;
    selected.push({ bitmap, node, nodeAlias, bitmapAlias: entry?.alias ?? name, persistent });
  }
}

/** The drive's node, or the first one below filters that have no bitmaps of their own. */
function bitmapNodeBelow(root: BlockNode | undefined): BlockNode | undefined {
  for (let node = root; node !== undefined; ) {
    const role = FILTERED_ROLES.get(node.driver.driverName);
    if (role === undefined || [...node.bitmaps].some(({ name }) => name !== undefined)) return node;
    node = node.driver.children.find((child) => child.role === role)?.node;
  }
  return undefined;
}

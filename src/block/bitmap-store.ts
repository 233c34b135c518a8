// Where a node's persistent bitmaps are kept: what a format's driver that can store them does. docs/reference/persistence-migration.md §3.

import { warn } from "../base/warnings.ts";
import type { DirtyBitmap } from "../bitmap/dirty-bitmap.ts";
import type { DirtyBitmapList } from "../bitmap/dirty-bitmap-list.ts";
import type { BlockNode } from "./node.ts";

/** A bitmap that is about to be made persistent. */
export interface NewStoredBitmap {
  readonly name: string;
  readonly granularityBytes: number;
}

/**
 * The bitmaps in one image. Errors are `BlockError`s and `QmpError`s with QEMU's texts; what fails has changed neither list nor
 * image, but for what is told. From `load` to `store` the image says of each bitmap that it is in use, so that after a crash nobody
 * takes it for right. Nothing but the image's own requests is in flight meanwhile.
 */
export interface BitmapStore {
  /** Makes the bitmaps of the image in memory. Those of a read-only image are readonly, and the image stays as it is. */
  load(list: DirtyBitmapList): Promise<void>;
  /** Writes what is persistent to the image, and marks it as not in use. Returns what is stored: those that were, and readonly ones. */
  store(list: DirtyBitmapList): Promise<readonly DirtyBitmap[]>;
  /** The image has become writable: marks what is in memory as in use, which is then readonly no more. */
  reopenReadWrite(list: DirtyBitmapList): Promise<void>;
  /** Takes a bitmap out of the image. One that is not there has been taken out. */
  remove(name: string): Promise<void>;
  /** Throws why a bitmap could not be stored; the text is to follow `Can't make bitmap …: `. */
  checkNew(list: DirtyBitmapList, bitmap: NewStoredBitmap): void;
  /** Throws where a bitmap of the image could not follow the disk to another length. */
  checkResize(list: DirtyBitmapList): Promise<void>;
}

/** On open, and whenever the node becomes active. */
export async function loadBitmaps(node: BlockNode): Promise<void> {
  await node.driver.bitmapStore?.load(node.bitmaps);
}

/** Before the node is closed or inactive. What is returned stands in the image; rejects, with a warning, where it could not be stored. */
export async function storeBitmaps(node: BlockNode): Promise<readonly DirtyBitmap[]> {
  const stored = await node.driver.bitmapStore?.store(node.bitmaps).catch((error: unknown) => {
    warn(`Lost persistent bitmaps during inactivation of node '${node.name}': ${textOf(error)}`);
    throw error;
  });
  return stored ?? [];
}

/** Before the node becomes read-only: what is persistent may not change from here on. */
export async function storeForReadOnly(node: BlockNode): Promise<void> {
  const { bitmapStore } = node.driver;
  if (bitmapStore === undefined) return;
  await bitmapStore.store(node.bitmaps);
  for (const bitmap of node.bitmaps) if (bitmap.persistent && !bitmap.skipStore) bitmap.setReadonly(true);
}

/** After the node has become writable. If it fails the bitmaps stay readonly, and the node takes no writes. */
export async function makeBitmapsWritable(node: BlockNode): Promise<void> {
  try {
    await node.driver.bitmapStore?.reopenReadWrite(node.bitmaps);
  } catch (error) {
    warn(`${node.name}: Failed to make dirty bitmaps writable: ${textOf(error)}`);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

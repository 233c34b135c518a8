// Commands on dirty bitmaps as actions of a transaction: docs/reference/bitmaps.md §4, corrections.md A8.

import { assert } from "../base/assert.ts";
import { BITMAP_ALLOW_RO, BITMAP_BUSY, BITMAP_DEFAULT, BITMAP_RO, checkDirtyBitmap } from "../bitmap/bitmap-check.ts";
import type { DirtyBitmap } from "../bitmap/dirty-bitmap.ts";
import type { DirtyBitmapList } from "../bitmap/dirty-bitmap-list.ts";
import { HierarchicalBitmap } from "../bitmap/hierarchical-bitmap.ts";
import { mergeDirtyBitmaps } from "../bitmap/merge-bitmaps.ts";
import type { TransactionAction } from "./transaction.ts";

/** A bitmap and the list of its node. */
export interface FoundBitmap {
  readonly list: DirtyBitmapList;
  readonly bitmap: DirtyBitmap;
}

/** `add` makes the bitmap, with all checks of the command. */
export function addBitmapAction(add: () => FoundBitmap): TransactionAction {
  let added: FoundBitmap | undefined;
  return {
    type: "block-dirty-bitmap-add",
    prepare() {
      added = add();
    },
    abort() {
      added?.list.release(added.bitmap);
    },
  };
}

/**
 * Marks the bitmap, which is gone when all is committed. `forget` takes one that is stored out of its image, at once; that is
 * not undone, but the bitmap is stored again when the node is closed.
 */
export function removeBitmapAction<Found extends FoundBitmap>(
  find: () => Found,
  forget?: (found: Found) => void | Promise<void>,
): TransactionAction {
  let marked: Found | undefined;
  const unmark = ({ bitmap }: FoundBitmap): void => {
    bitmap.skipStore = false;
    bitmap.setBusy(false);
  };
  return {
    type: "block-dirty-bitmap-remove",
    async prepare() {
      const found = find();
      checkDirtyBitmap(found.bitmap, BITMAP_BUSY | BITMAP_RO);
      if (found.bitmap.persistent && !found.bitmap.skipStore) await forget?.(found);
      found.bitmap.skipStore = true;
      found.bitmap.setBusy(true);
      marked = found;
    },
    commit() {
      assert(marked !== undefined, "remove: committed without a bitmap");
      unmark(marked);
      marked.list.release(marked.bitmap);
    },
    abort() {
      if (marked !== undefined) unmark(marked);
    },
  };
}

export function clearBitmapAction(find: () => DirtyBitmap): TransactionAction {
  return exchangeAction("block-dirty-bitmap-clear", () => {
    const bitmap = find();
    checkDirtyBitmap(bitmap, BITMAP_DEFAULT);
    return { bitmap, before: bitmap.exchangeBits(new HierarchicalBitmap(bitmap.sizeBytes, bitmap.granularityBytes)) };
  });
}

/** `sources` are looked up one by one, each when those before it are merged. */
export function mergeBitmapsAction(find: () => DirtyBitmap, sources: () => Iterable<DirtyBitmap>): TransactionAction {
  return exchangeAction("block-dirty-bitmap-merge", () => {
    const bitmap = find();
    return { bitmap, before: mergeDirtyBitmaps(bitmap, sources()) };
  });
}

export function enableBitmapAction(find: () => DirtyBitmap): TransactionAction {
  return recordingAction("block-dirty-bitmap-enable", find, true);
}

export function disableBitmapAction(find: () => DirtyBitmap): TransactionAction {
  return recordingAction("block-dirty-bitmap-disable", find, false);
}

/** Undone by putting the old bits back. */
function exchangeAction(
  type: string,
  exchange: () => { bitmap: DirtyBitmap; before: HierarchicalBitmap },
): TransactionAction {
  let undo: (() => void) | undefined;
  return {
    type,
    prepare() {
      const { bitmap, before } = exchange();
      undo = () => bitmap.exchangeBits(before);
    },
    abort() {
      undo?.();
    },
  };
}

function recordingAction(type: string, find: () => DirtyBitmap, enabled: boolean): TransactionAction {
  let changed: DirtyBitmap | undefined;
  const set = (bitmap: DirtyBitmap, to: boolean): void => (to ? bitmap.enable() : bitmap.disable());
  return {
    type,
    prepare() {
      const bitmap = find();
      checkDirtyBitmap(bitmap, BITMAP_ALLOW_RO);
      if (bitmap.enabled === enabled) return;
      set(bitmap, enabled);
      changed = bitmap;
    },
    abort() {
      if (changed !== undefined) set(changed, !enabled);
    },
  };
}

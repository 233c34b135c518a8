// Loading the bitmaps of an image: docs/reference/persistence-migration.md §3.1.

import type { DirtyBitmap } from "../../../bitmap/dirty-bitmap.ts";
import type { DirtyBitmapList } from "../../../bitmap/dirty-bitmap-list.ts";
import { type BitmapEntry, listBitmaps, prefixed, readBitmapDirectory } from "./bitmap-directory.ts";
import { readBitmapData, readBitmapTable } from "./bitmap-table.ts";
import { updateDirectoryInPlace } from "./bitmap-update.ts";
import type { Qcow2Image } from "./image.ts";

/**
 * Each at the head of the list, so that the last one of the directory is listed first. A bitmap that is marked as in use in the image,
 * and is in memory, has migrated here or never gone, and stays as it is. In a writable image what is loaded is marked as in use before
 * this is done. Throws with QEMU's text, and the list is as it was.
 */
export async function loadImageBitmaps(image: Qcow2Image, list: DirtyBitmapList, writable: boolean): Promise<void> {
  const { file, header, layout } = image;
  const loaded: DirtyBitmap[] = [];
  try {
    const entries = await readBitmapDirectory(file, header, layout);
    image.listedBitmaps = listBitmaps(entries);
    let marks = false;
    for (const entry of entries) {
      if (entry.inUse && list.find(entry.name) !== undefined) continue;
      const bitmap = list.create({ name: entry.name, granularityBytes: 2 ** entry.granularityBits });
      loaded.push(bitmap);
      if (entry.inUse) {
        bitmap.setInconsistent();
        continue;
      }
      await readBits(image, entry, bitmap);
      bitmap.persistent = true;
      if (!entry.auto) bitmap.disable();
      entry.inUse = true;
      marks = true;
    }
    if (!writable) for (const bitmap of loaded) bitmap.setReadonly(true);
    else if (marks) await markInUse(image, entries, "Can't update bitmap directory");
  } catch (error) {
    for (const bitmap of loaded) list.release(bitmap);
    throw error;
  }
}

async function readBits(image: Qcow2Image, entry: BitmapEntry, { bits }: DirtyBitmap): Promise<void> {
  const { file, layout } = image;
  const { clusterBytes } = layout;
  const table = await readBitmapTable(file, entry, clusterBytes).catch((error: unknown) => {
    throw prefixed(`Could not read bitmap_table table from image for bitmap '${entry.name}'`, error);
  });
  await readBitmapData(file, table, bits, clusterBytes).catch((error: unknown) => {
    throw prefixed(`Could not read bitmap '${entry.name}' from image`, error);
  });
}

/** The flags are set in `entries` already. `what` goes before the error's text. */
export async function markInUse(image: Qcow2Image, entries: readonly BitmapEntry[], what: string): Promise<void> {
  try {
    await image.mutex.run(() => updateDirectoryInPlace(image, entries));
  } catch (error) {
    throw prefixed(what, error);
  }
}

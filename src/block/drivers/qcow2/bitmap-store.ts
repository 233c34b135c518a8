// Storing persistent bitmaps in an image: docs/reference/persistence-migration.md §3.3.

import { BlockError, QmpError } from "../../../base/errors.ts";
import type { DirtyBitmap } from "../../../bitmap/dirty-bitmap.ts";
import type { DirtyBitmapList } from "../../../bitmap/dirty-bitmap-list.ts";
import { bitmapConstraint } from "./bitmap-constraints.ts";
import { type BitmapEntry, directoryEntryBytes, prefixed, readBitmapDirectory } from "./bitmap-directory.ts";
import { MAX_BITMAPS, MAX_DIRECTORY_BYTES } from "./bitmap-extension.ts";
import { dataClusters, dirtyClusters, readBitmapTable, serialiseBitmapTable, tableEntriesFor } from "./bitmap-table.ts";
import { allocateRange, HeaderInDoubtError, type HostRange, replaceDirectory } from "./bitmap-update.ts";
import { roundUp } from "./format.ts";
import type { Qcow2Image } from "./image.ts";

/** What is to be written, where it goes in the directory, and what it takes the place of. */
interface Plan {
  readonly entries: BitmapEntry[];
  readonly writes: readonly { readonly bitmap: DirtyBitmap; readonly entry: BitmapEntry }[];
  /** Entries as they were, whose tables and data are free afterwards. */
  readonly replaced: readonly BitmapEntry[];
  /** In the image when all is done. */
  readonly stored: readonly DirtyBitmap[];
}

/**
 * Writes every persistent bitmap into clusters of its own, then a directory that says that they are not in use, then the header; what
 * was there before is free after that. Returns what is in the image now, readonly bitmaps included. Throws with QEMU's text, and the
 * image says as before that they are in use.
 */
export async function storeImageBitmaps(
  image: Qcow2Image,
  list: DirtyBitmapList,
  writable: boolean,
): Promise<readonly DirtyBitmap[]> {
  if (!hasAnyToStore(list)) return [];
  return image.mutex.run(async () => {
    const plan = await planStore(image, list);
    if (plan.writes.length === 0) return plan.stored;
    if (!writable) throw new BlockError("EINVAL", "No write access");
    const old = await clustersOf(image, plan.replaced);
    const written: HostRange[] = [];
    try {
      await image.beginChange();
      for (const { bitmap, entry } of plan.writes) await writeBitmap(image, bitmap, entry, written);
      await replaceDirectory(image, plan.entries).catch((error: unknown) => {
        if (error instanceof HeaderInDoubtError) {
          written.length = 0;
          // If the file says that they are right, that must stay true.
          if (error.unsettled) for (const { bitmap } of plan.writes) bitmap.setReadonly(true);
        }
        throw prefixed("Failed to update bitmap extension", error);
      });
    } catch (error) {
      await releaseAll(image, written);
      throw error;
    }
    await releaseAll(image, old);
    return plan.stored;
  });
}

/** Takes one entry out of the directory, with its clusters. One that is not there has been taken out. */
export async function removeImageBitmap(image: Qcow2Image, name: string, writable: boolean): Promise<void> {
  await image.mutex.run(async () => {
    const entries = await readBitmapDirectory(image.file, image.header, image.layout);
    const index = entries.findIndex((entry) => entry.name === name);
    if (index < 0) return;
    if (!writable) throw new BlockError("EPERM", "Failed to update bitmap extension: Operation not permitted");
    const [removed] = entries.splice(index, 1);
    const old = await clustersOf(image, [removed!]);
    await replaceDirectory(image, entries).catch((error: unknown) => {
      throw prefixed("Failed to update bitmap extension", error);
    });
    await releaseAll(image, old);
  });
}

function hasAnyToStore(list: DirtyBitmapList): boolean {
  for (const bitmap of list) if (isStored(bitmap)) return true;
  return false;
}

/** Inconsistent ones stand in the image as they are. */
function isStored({ name, persistent, skipStore, inconsistent }: DirtyBitmap): boolean {
  return name !== undefined && persistent && !skipStore && !inconsistent;
}

async function planStore(image: Qcow2Image, list: DirtyBitmapList): Promise<Plan> {
  const { file, header, layout } = image;
  const entries = await readBitmapDirectory(file, header, layout);
  // Of several by one name the first is what was loaded: the last `set` of a map is what stays.
  const places = new Map(entries.map(({ name }, index) => [name, index] as const).reverse());
  let directoryBytes = entries.reduce((bytes, { nameBytes }) => bytes + directoryEntryBytes(nameBytes.length), 0);
  const writes: { bitmap: DirtyBitmap; entry: BitmapEntry }[] = [];
  const replaced: BitmapEntry[] = [];
  const stored: DirtyBitmap[] = [];
  for (const bitmap of list) {
    if (!isStored(bitmap)) continue;
    const name = bitmap.name!;
    const index = places.get(name) ?? entries.length;
    stored.push(bitmap);
    if (bitmap.readonly) continue;
    const reason = bitmapConstraint(image, { name, granularityBytes: bitmap.granularityBytes });
    if (reason !== undefined) throw new QmpError(`Bitmap '${name}' doesn't satisfy the constraints: ${reason}`);
    const there = entries[index];
    if (there !== undefined && !there.inUse) throw new QmpError(`Bitmap '${name}' already exists in the image`);
    const entry = entryOf(bitmap, there?.nameBytes);
    if (there === undefined) {
      if (entries.length === MAX_BITMAPS) throw new QmpError("Too many persistent bitmaps");
      directoryBytes += directoryEntryBytes(entry.nameBytes.length);
      if (directoryBytes > MAX_DIRECTORY_BYTES) throw new QmpError("Bitmap directory is too large");
      entries.push(entry);
    } else {
      replaced.push(there);
      entries[index] = entry;
    }
    writes.push({ bitmap, entry });
  }
  return { entries, writes, replaced, stored };
}

/** Without a place for its table yet. */
function entryOf(bitmap: DirtyBitmap, nameBytes: Uint8Array | undefined): BitmapEntry {
  const name = bitmap.name!;
  return {
    name,
    nameBytes: nameBytes ?? new TextEncoder().encode(name),
    tableOffset: 0,
    tableEntries: 0,
    granularityBits: Math.log2(bitmap.granularityBytes),
    inUse: false,
    auto: bitmap.enabled,
  };
}

/** Data of what is dirty, and the table. What it takes goes into `written`. */
async function writeBitmap(
  image: Qcow2Image,
  { bits }: DirtyBitmap,
  entry: BitmapEntry,
  written: HostRange[],
): Promise<void> {
  const { file, layout } = image;
  const { clusterBytes } = layout;
  entry.tableEntries = tableEntriesFor(bits.sizeBytes, bits.granularityBytes, clusterBytes);
  const table = new Array<number>(entry.tableEntries).fill(0);
  const allocate = async (lengthBytes: number): Promise<number> => {
    const range = await allocateRange(image, lengthBytes).catch((error: unknown) => {
      throw prefixed(`Failed to allocate clusters for bitmap '${entry.name}'`, error);
    });
    written.push(range);
    return range.offsetBytes;
  };
  const write = (offsetBytes: number, bytes: Uint8Array): Promise<void> =>
    file.writeBytes(offsetBytes, bytes).catch((error: unknown) => {
      throw prefixed(`Failed to write bitmap '${entry.name}' to file`, error);
    });
  for (const [index, data] of dirtyClusters(bits, clusterBytes)) {
    table[index] = await allocate(clusterBytes);
    await write(table[index], data);
  }
  entry.tableOffset = await allocate(table.length * 8);
  await write(entry.tableOffset, serialiseBitmapTable(table));
}

/** Tables and data. What a damaged table points to stays allocated: nobody knows whose it is. */
async function clustersOf(image: Qcow2Image, entries: readonly BitmapEntry[]): Promise<HostRange[]> {
  const { file, layout } = image;
  const { clusterBytes } = layout;
  const ranges: HostRange[] = [];
  for (const entry of entries) {
    ranges.push({ offsetBytes: entry.tableOffset, lengthBytes: roundUp(entry.tableEntries * 8, clusterBytes) });
    const table = await readBitmapTable(file, entry, clusterBytes).catch((error: unknown) => {
      if (error instanceof BlockError && error.errno === "EINVAL") return [];
      throw error;
    });
    for (const offsetBytes of dataClusters(table)) ranges.push({ offsetBytes, lengthBytes: clusterBytes });
  }
  return ranges;
}

async function releaseAll(image: Qcow2Image, ranges: readonly HostRange[]): Promise<void> {
  for (const { offsetBytes, lengthBytes } of ranges) await image.allocator.release(offsetBytes, lengthBytes);
}

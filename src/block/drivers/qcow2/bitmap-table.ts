// The table of one stored bitmap, and its data: docs/reference/persistence-migration.md §2.3.

import { Pacer, systemClock } from "../../../base/clock.ts";
import { BlockError } from "../../../base/errors.ts";
import { IoVector } from "../../../base/io-vector.ts";
import type { HierarchicalBitmap } from "../../../bitmap/hierarchical-bitmap.ts";
import type { BitmapEntry } from "./bitmap-directory.ts";
import { entryOffset, highWord, lowWord, roundUp, viewOf } from "./format.ts";
import type { Qcow2File } from "./image-file.ts";

/** Of a table entry: what stands where nothing is stored. */
const ALL_ONES = 1;
const SECTOR = 512;

/** Where a bitmap's data are: cluster by cluster an offset, or 0 or 1 for all zeroes or all ones. */
export type BitmapTable = readonly number[];

/** Throws a `BlockError` EINVAL for an entry that will not do. The directory's checks bound its length. */
export async function readBitmapTable(file: Qcow2File, entry: BitmapEntry, clusterBytes: number): Promise<BitmapTable> {
  const { tableOffset, tableEntries } = entry;
  const view = viewOf(await file.readBytes(tableOffset, tableEntries * 8));
  const table: number[] = [];
  for (let at = 0; at < view.byteLength; at += 8) {
    const [high, low] = [view.getUint32(at), view.getUint32(at + 4)];
    const offset = entryOffset(high, low);
    const flag = low % 2;
    const reserved = highWord(offset) !== high || lowWord(offset) + flag !== low;
    if (reserved || (offset !== 0 && flag !== 0) || offset % clusterBytes !== 0) throw new BlockError("EINVAL");
    table.push(offset === 0 ? flag : offset);
  }
  return table;
}

/** Table entries that a bitmap of this length takes: the bytes of its words in clusters, and one at least. */
export function tableEntriesFor(diskBytes: number, granularityBytes: number, clusterBytes: number): number {
  return Math.max(1, Math.ceil(bitmapBytes(diskBytes, granularityBytes) / clusterBytes));
}

/** Whole words of 64 bits. */
export function bitmapBytes(diskBytes: number, granularityBytes: number): number {
  return Math.ceil(Math.ceil(diskBytes / granularityBytes) / 64) * 8;
}

/** Fills `bits`, which are all clean. Fails with EINVAL where the table is of another length than the bitmap. */
export async function readBitmapData(
  file: Qcow2File,
  table: BitmapTable,
  bits: HierarchicalBitmap,
  clusterBytes: number,
): Promise<void> {
  const { sizeBytes, granularityBytes } = bits;
  if (table.length !== tableEntriesFor(sizeBytes, granularityBytes, clusterBytes)) throw new BlockError("EINVAL");
  const reach = bits.serializationCoverage(clusterBytes);
  const bytes = new Uint8Array(clusterBytes);
  const pacer = new Pacer(systemClock);
  for (const [i, where] of table.entries()) {
    if (where === 0) continue;
    if (pacer.step()) await pacer.yield();
    const start = i * reach;
    const length = Math.min(reach, sizeBytes - start);
    if (where === ALL_ONES) bits.deserializeOnes(start, length);
    else {
      await file.read(where, IoVector.of(bytes));
      bits.deserialize(start, length, bytes);
    }
  }
}

/** What of a bitmap is dirty, a cluster of data after another, each with its place in the table; the same buffer each time. */
export function* dirtyClusters(
  bits: HierarchicalBitmap,
  clusterBytes: number,
): Generator<readonly [index: number, data: Uint8Array]> {
  const { sizeBytes } = bits;
  const reach = bits.serializationCoverage(clusterBytes);
  const data = new Uint8Array(clusterBytes);
  for (let at = bits.nextDirty(0); at >= 0; ) {
    const index = Math.floor(at / reach);
    const start = index * reach;
    const length = Math.min(reach, sizeBytes - start);
    data.fill(0);
    bits.serialize(start, length, data);
    yield [index, data];
    at = start + length >= sizeBytes ? -1 : bits.nextDirty(start + length);
  }
}

/** As it stands in the file, padded to whole sectors. */
export function serialiseBitmapTable(table: BitmapTable): Uint8Array {
  const bytes = new Uint8Array(roundUp(table.length * 8, SECTOR));
  const view = viewOf(bytes);
  for (const [i, where] of table.entries()) {
    view.setUint32(i * 8, highWord(where));
    view.setUint32(i * 8 + 4, lowWord(where));
  }
  return bytes;
}

/** The clusters of the file that the table points to. */
export function dataClusters(table: BitmapTable): number[] {
  return table.filter((where) => where > ALL_ONES);
}

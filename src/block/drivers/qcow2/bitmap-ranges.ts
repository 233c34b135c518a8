// What the persistent bitmaps of an image take of its file, for a checker: docs/reference/persistence-migration.md §2.

import { BlockError } from "../../../base/errors.ts";
import { AUTOCLEAR_BITMAPS } from "./feature-table.ts";
import { entryOffset, getUint64, MAX_HOST_BYTES, viewOf } from "./format.ts";
import { EXTENSION_BITMAPS, extensionData, type Qcow2Header } from "./header.ts";
import type { Qcow2File } from "./image-file.ts";

const EXTENSION_BYTES = 24;
const ENTRY_BYTES = 24;
const MAX_DIRECTORY_BYTES = 67_107_840;
const MAX_TABLE_ENTRIES = 0x8000000;
const PIECE_ENTRIES = 8192;

export interface FileRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Directory, tables and data; nothing where the bitmaps are void. Fails with EINVAL where the directory is damaged. */
export async function bitmapRanges(file: Qcow2File, header: Qcow2Header): Promise<readonly FileRange[]> {
  const extension = extensionData(header, EXTENSION_BITMAPS);
  if (extension === undefined || (header.autoclear & AUTOCLEAR_BITMAPS) === 0n) return [];
  if (extension.length !== EXTENSION_BYTES) throw new BlockError("EINVAL", "bitmaps_ext: Invalid extension length");
  const size = getUint64(viewOf(extension), 8);
  const start = getUint64(viewOf(extension), 16);
  if (size > MAX_DIRECTORY_BYTES || start > MAX_HOST_BYTES) throw new BlockError("EINVAL", "Broken bitmap directory");
  const directory = await file.readBytes(start, size);
  const view = viewOf(directory);
  const ranges: FileRange[] = [{ offsetBytes: start, lengthBytes: size }];
  for (let at = 0; at + ENTRY_BYTES <= size; ) {
    const table = { offsetBytes: getUint64(view, at), entries: view.getUint32(at + 8) };
    await addTable(file, 2 ** header.clusterBits, table, ranges);
    const names = view.getUint16(at + 18) + view.getUint32(at + 20);
    at += Math.ceil((ENTRY_BYTES + names) / 8) * 8;
  }
  return ranges;
}

async function addTable(
  file: Qcow2File,
  clusterBytes: number,
  table: { readonly offsetBytes: number; readonly entries: number },
  ranges: FileRange[],
): Promise<void> {
  const { offsetBytes, entries } = table;
  if (entries > MAX_TABLE_ENTRIES || offsetBytes > MAX_HOST_BYTES || entries * 8 > file.lengthBytes)
    throw new BlockError("EINVAL", "Broken bitmap directory");
  ranges.push({ offsetBytes, lengthBytes: entries * 8 });
  for (let done = 0; done < entries; done += PIECE_ENTRIES) {
    const piece = await file.readBytes(offsetBytes + done * 8, Math.min(PIECE_ENTRIES, entries - done) * 8);
    const view = viewOf(piece);
    for (let at = 0; at < piece.length; at += 8) {
      const offset = entryOffset(view.getUint32(at), view.getUint32(at + 4));
      if (offset !== 0) ranges.push({ offsetBytes: offset, lengthBytes: clusterBytes });
    }
  }
}

// What the persistent bitmaps of an image take of its file, for a checker: docs/reference/persistence-migration.md §2.

import { BlockError } from "../../../base/errors.ts";
import { prefixed, readBitmapDirectory } from "./bitmap-directory.ts";
import { bitmapsExtension } from "./bitmap-extension.ts";
import { readBitmapTable, tableEntriesFor } from "./bitmap-table.ts";
import type { Qcow2Image } from "./image.ts";

/** Tables that lie beside one another are no longer together than the file; those of a short file may be cut off. */
const MIN_TABLES_LIMIT = 64 << 20;

export interface FileRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/**
 * Directory, tables and data; nothing where the bitmaps are void. Fails with EINVAL, in the words of who would open the image, where
 * the directory or a table is damaged, and where tables lie upon one another so often that nobody can count that.
 */
export async function* bitmapRanges({ file, header, layout }: Qcow2Image): AsyncGenerator<FileRange, void> {
  const extension = bitmapsExtension(header);
  if (extension === undefined) return;
  const { clusterBytes } = layout;
  const entries = await readBitmapDirectory(file, header, layout);
  const tableBytes = entries.reduce((bytes, { tableEntries }) => bytes + tableEntries * 8, 0);
  if (tableBytes > Math.max(MIN_TABLES_LIMIT, file.lengthBytes))
    throw new BlockError("EINVAL", "Bitmap tables overlap: they are longer than the file");
  yield { offsetBytes: extension.directoryOffset, lengthBytes: extension.directoryBytes };
  for (const entry of entries) {
    yield { offsetBytes: entry.tableOffset, lengthBytes: entry.tableEntries * 8 };
    const { name, inUse, tableEntries, granularityBits } = entry;
    const table = await readBitmapTable(file, entry, clusterBytes).catch((error: unknown) => {
      throw prefixed(`Could not read bitmap_table table from image for bitmap '${name}'`, error);
    });
    if (!inUse && tableEntries !== tableEntriesFor(header.sizeBytes, 2 ** granularityBits, clusterBytes))
      throw prefixed(`Could not read bitmap '${name}' from image`, new BlockError("EINVAL"));
    for (const offsetBytes of table) if (offsetBytes >= clusterBytes) yield { offsetBytes, lengthBytes: clusterBytes };
  }
}

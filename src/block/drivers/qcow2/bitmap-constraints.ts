// Which bitmaps an image can keep: docs/reference/bitmaps.md §3.7.

import type { DirtyBitmapList } from "../../../bitmap/dirty-bitmap-list.ts";
import type { NewStoredBitmap } from "../../bitmap-store.ts";
import {
  directoryEntryBytes,
  MAX_BITMAP_BYTES,
  MAX_GRANULARITY_BITS,
  MAX_NAME_BYTES,
  MAX_TABLE_ENTRIES,
} from "./bitmap-directory.ts";
import { MAX_BITMAPS, MAX_DIRECTORY_BYTES } from "./bitmap-extension.ts";
import { bitmapBytes } from "./bitmap-table.ts";
import type { Qcow2Image } from "./image.ts";

const MAX_GRANULARITY_BYTES = 2 ** MAX_GRANULARITY_BITS;
const MIN_GRANULARITY_BYTES = 512;

/** Why the image cannot keep such a bitmap; undefined if it can. */
export function bitmapConstraint(image: Qcow2Image, bitmap: NewStoredBitmap): string | undefined {
  const { header, layout } = image;
  const { name, granularityBytes } = bitmap;
  if (layout.version < 3) return "Cannot store dirty bitmaps in qcow2 v2 files";
  if (granularityBytes > MAX_GRANULARITY_BYTES) return `Granularity exceeds maximum (${MAX_GRANULARITY_BYTES} bytes)`;
  if (granularityBytes < MIN_GRANULARITY_BYTES) return `Granularity is under minimum (${MIN_GRANULARITY_BYTES} bytes)`;
  const bytes = bitmapBytes(header.sizeBytes, granularityBytes);
  if (bytes > MAX_BITMAP_BYTES || bytes > MAX_TABLE_ENTRIES * layout.clusterBytes)
    return "Too much space will be occupied by the bitmap. Use larger granularity";
  if (utf8Length(name) > MAX_NAME_BYTES) return `Name length exceeds maximum (${MAX_NAME_BYTES} characters)`;
  return undefined;
}

/** As `bitmapConstraint`, for one more beside those of the list that are kept already. */
export function newBitmapConstraint(
  image: Qcow2Image,
  list: DirtyBitmapList,
  bitmap: NewStoredBitmap,
): string | undefined {
  const reason = bitmapConstraint(image, bitmap);
  if (reason !== undefined) return reason;
  const kept = [...list].filter(({ persistent, skipStore }) => persistent && !skipStore);
  if (kept.length >= MAX_BITMAPS) return "Maximum number of persistent bitmaps is already reached";
  const bytes = [...kept, bitmap].reduce((sum, { name }) => sum + directoryEntryBytes(utf8Length(name ?? "")), 0);
  return bytes > MAX_DIRECTORY_BYTES ? "Not enough space in the bitmap directory" : undefined;
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length;
}

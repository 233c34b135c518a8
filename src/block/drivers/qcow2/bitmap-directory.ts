// The directory of an image's bitmaps: docs/reference/persistence-migration.md §2.2 and corrections.md C1.

import { BlockError } from "../../../base/errors.ts";
import { bitmapsExtension } from "./bitmap-extension.ts";
import { getUint64, type Layout, roundUp, setUint64, viewOf } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import type { Qcow2File } from "./image-file.ts";

const ENTRY_BYTES = 24;
const FLAG_IN_USE = 1;
const FLAG_AUTO = 2;
const KNOWN_FLAGS = FLAG_IN_USE | FLAG_AUTO;
const TYPE_DIRTY_TRACKING = 1;
export const MAX_TABLE_ENTRIES = 0x8000000;
/** Of one bitmap's data. */
export const MAX_BITMAP_BYTES: number = 512 << 20;
const MIN_GRANULARITY_BITS = 9;
export const MAX_GRANULARITY_BITS = 31;
export const MAX_NAME_BYTES = 1023;

/** One bitmap as the directory has it. */
export interface BitmapEntry {
  readonly name: string;
  /** As they stand in the file, which need not be UTF-8. */
  readonly nameBytes: Uint8Array;
  tableOffset: number;
  tableEntries: number;
  granularityBits: number;
  /** Nobody knows whether the stored bits are right. */
  inUse: boolean;
  /** The bitmap records as soon as it is loaded. */
  auto: boolean;
}

/** A bitmap as queries list it. */
export interface ListedBitmap {
  readonly name: string;
  readonly granularityBytes: number;
  readonly inUse: boolean;
  readonly auto: boolean;
}

export function listBitmaps(entries: readonly BitmapEntry[]): ListedBitmap[] {
  return entries.map(({ name, granularityBits, inUse, auto }) => ({
    name,
    granularityBytes: 2 ** granularityBits,
    inUse,
    auto,
  }));
}

/** Reads and checks all of it; empty where the image has no bitmaps. Throws a `BlockError` with QEMU's text. */
export async function readBitmapDirectory(
  file: Qcow2File,
  header: Qcow2Header,
  layout: Layout,
): Promise<BitmapEntry[]> {
  const extension = bitmapsExtension(header);
  if (extension === undefined) return [];
  const { directoryBytes, directoryOffset, count } = extension;
  if (directoryBytes === 0) throw invalid("Requested bitmap directory size is zero");
  let bytes: Uint8Array;
  try {
    bytes = await file.readBytes(directoryOffset, directoryBytes);
  } catch (error) {
    throw prefixed("Failed to read bitmap directory", error);
  }
  return parseBitmapDirectory(bytes, { count, clusterBytes: layout.clusterBytes, diskBytes: header.sizeBytes });
}

/** What a directory's entries are checked against. */
export interface DirectoryBounds {
  readonly count: number;
  readonly clusterBytes: number;
  readonly diskBytes: number;
}

/** Throws a `BlockError` for the first entry that will not do. Padding is not looked at. */
export function parseBitmapDirectory(bytes: Uint8Array, bounds: DirectoryBounds): BitmapEntry[] {
  const view = viewOf(bytes);
  const entries: BitmapEntry[] = [];
  let at = 0;
  while (at + ENTRY_BYTES <= bytes.length) {
    if (entries.length === bounds.count) throw invalid("More bitmaps found than specified in header extension");
    const nameLength = view.getUint16(at + 18);
    const extraLength = view.getUint32(at + 20);
    const next = at + roundUp(ENTRY_BYTES + extraLength + nameLength, 8);
    if (next > bytes.length) throw invalid("Broken bitmap directory");
    if (extraLength > 0) throw invalid("Bitmap extra data is not supported");
    const nameBytes = bytes.slice(at + ENTRY_BYTES, at + ENTRY_BYTES + nameLength);
    const name = new TextDecoder().decode(nameBytes);
    const flags = view.getUint32(at + 12);
    const entry: BitmapEntry = {
      name,
      nameBytes,
      tableOffset: getUint64(view, at),
      tableEntries: view.getUint32(at + 8),
      granularityBits: view.getUint8(at + 17),
      inUse: (flags & FLAG_IN_USE) !== 0,
      auto: (flags & FLAG_AUTO) !== 0,
    };
    const known = (flags & ~KNOWN_FLAGS) === 0 && view.getUint8(at + 16) === TYPE_DIRTY_TRACKING;
    if (!known || !satisfiesConstraints(entry, bounds))
      throw invalid(`Bitmap '${name}' doesn't satisfy the constraints`);
    entries.push(entry);
    at = next;
  }
  if (at !== bytes.length) throw invalid("Broken bitmap directory");
  if (entries.length !== bounds.count) throw invalid("Less bitmaps found than specified in header extension");
  return entries;
}

/** A bitmap in use may be of another length than the disk, which may have changed since. */
function satisfiesConstraints(entry: BitmapEntry, { clusterBytes, diskBytes }: DirectoryBounds): boolean {
  const { tableOffset, tableEntries, granularityBits, nameBytes, inUse } = entry;
  if (tableOffset === 0 || tableOffset % clusterBytes !== 0) return false;
  if (tableEntries === 0 || tableEntries > MAX_TABLE_ENTRIES) return false;
  if (tableEntries * clusterBytes > MAX_BITMAP_BYTES) return false;
  if (granularityBits < MIN_GRANULARITY_BITS || granularityBits > MAX_GRANULARITY_BITS) return false;
  if (nameBytes.length > MAX_NAME_BYTES) return false;
  return inUse || diskBytes <= tableEntries * clusterBytes * 8 * 2 ** granularityBits;
}

/** Bytes that a bitmap of that name takes in the directory. */
export function directoryEntryBytes(nameBytes: number): number {
  return roundUp(ENTRY_BYTES + nameBytes, 8);
}

export function serialiseBitmapDirectory(entries: readonly BitmapEntry[]): Uint8Array {
  const total = entries.reduce((bytes, { nameBytes }) => bytes + directoryEntryBytes(nameBytes.length), 0);
  const bytes = new Uint8Array(total);
  const view = viewOf(bytes);
  let at = 0;
  for (const entry of entries) {
    const { nameBytes } = entry;
    setUint64(view, at, entry.tableOffset);
    view.setUint32(at + 8, entry.tableEntries);
    view.setUint32(at + 12, (entry.inUse ? FLAG_IN_USE : 0) | (entry.auto ? FLAG_AUTO : 0));
    view.setUint8(at + 16, TYPE_DIRTY_TRACKING);
    view.setUint8(at + 17, entry.granularityBits);
    view.setUint16(at + 18, nameBytes.length);
    bytes.set(nameBytes, at + ENTRY_BYTES);
    at += directoryEntryBytes(nameBytes.length);
  }
  return bytes;
}

/** The same error with `what` in front of its text. */
export function prefixed(what: string, error: unknown): unknown {
  return error instanceof BlockError
    ? new BlockError(error.errno, `${what}: ${error.message}`, { cause: error })
    : error;
}

function invalid(message: string): BlockError {
  return new BlockError("EINVAL", message);
}

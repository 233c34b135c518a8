// How the directory of an image's bitmaps changes: docs/reference/persistence-migration.md §2.4.

import { BlockError } from "../../../base/errors.ts";
import { type BitmapEntry, listBitmaps, serialiseBitmapDirectory } from "./bitmap-directory.ts";
import { bitmapsExtension, MAX_DIRECTORY_BYTES, setBitmapsExtension } from "./bitmap-extension.ts";
import { AUTOCLEAR_BITMAPS } from "./feature-table.ts";
import { roundUp } from "./format.ts";
import type { Qcow2Image } from "./image.ts";

const SECTOR = 512;

/** A range of host clusters that an update took, or gives up. */
export interface HostRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/**
 * Overwrites the directory with entries of the same names: other flags. While it is half written the header says that there are no
 * bitmaps. Within the mutex.
 */
export async function updateDirectoryInPlace(image: Qcow2Image, entries: readonly BitmapEntry[]): Promise<void> {
  const { header, file } = image;
  const extension = bitmapsExtension(header);
  const bytes = serialiseBitmapDirectory(entries);
  if (extension === undefined || extension.directoryBytes !== bytes.length) throw new BlockError("EINVAL");
  // If one of these fails, the bit stays clear: what stands in the file by then nobody knows.
  header.autoclear &= ~AUTOCLEAR_BITMAPS;
  await image.writeHeader();
  await file.writeBytes(extension.directoryOffset, padded(bytes));
  await file.flush();
  header.autoclear |= AUTOCLEAR_BITMAPS;
  await image.writeHeader();
  image.listedBitmaps = listBitmaps(entries);
}

/**
 * Writes the directory anew, or drops it where it is empty, and makes the header point to it. What the entries point to has been
 * written. When it is done all of that is on stable storage, and the old directory's clusters are free; where it fails, the image has
 * what it had, or nobody knows which of the two, and then neither is free. Within the mutex.
 */
export async function replaceDirectory(image: Qcow2Image, entries: readonly BitmapEntry[]): Promise<void> {
  const { header, file, layout, allocator } = image;
  const old = bitmapsExtension(header);
  const before = { extensions: header.extensions, autoclear: header.autoclear };
  const bytes = serialiseBitmapDirectory(entries);
  if (bytes.length > MAX_DIRECTORY_BYTES) throw new BlockError("EINVAL", "Bitmap directory is too large");
  let written: HostRange | undefined;
  await image.beginChange();
  try {
    if (entries.length > 0) {
      written = await allocateRange(image, bytes.length);
      await file.writeBytes(written.offsetBytes, padded(bytes));
    }
    await image.commitWithin();
  } catch (error) {
    if (written !== undefined) await allocator.release(written.offsetBytes, written.lengthBytes);
    throw error;
  }
  const extension =
    written === undefined
      ? undefined
      : { count: entries.length, directoryBytes: bytes.length, directoryOffset: written.offsetBytes };
  setBitmapsExtension(header, extension);
  try {
    await image.writeHeader();
  } catch (error) {
    Object.assign(header, before);
    // The file may have the new one: that it is the old one again must be sure before anybody goes on writing.
    const doubt = new HeaderInDoubtError(error);
    await image.writeHeader().catch((again: unknown) => {
      if (!(again instanceof BlockError)) throw again;
      doubt.unsettled = true;
    });
    throw doubt;
  }
  image.listedBitmaps = listBitmaps(entries);
  if (old !== undefined) await allocator.release(old.directoryOffset, roundUp(old.directoryBytes, layout.clusterBytes));
}

/** The header could not be written, or not flushed: which bitmaps the file has now nobody knows. */
export class HeaderInDoubtError extends BlockError {
  /** The old one could not be written back. */
  unsettled = false;

  constructor(cause: unknown) {
    const error = BlockError.from(cause, "header");
    super(error.errno, error.message, { cause });
  }
}

/** Whole clusters, in a row. Within the mutex, after `beginChange`. */
export async function allocateRange(image: Qcow2Image, lengthBytes: number): Promise<HostRange> {
  const { clusterBytes } = image.layout;
  const { offsetBytes, clusters } = await image.allocator.allocate(Math.ceil(lengthBytes / clusterBytes));
  return { offsetBytes, lengthBytes: clusters * clusterBytes };
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(roundUp(bytes.length, SECTOR));
  whole.set(bytes);
  return whole;
}

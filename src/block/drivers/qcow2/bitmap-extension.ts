// The header extension that says where an image's bitmaps are: docs/reference/persistence-migration.md §2.1.

import { BlockError } from "../../../base/errors.ts";
import { warn } from "../../../base/warnings.ts";
import { AUTOCLEAR_BITMAPS } from "./feature-table.ts";
import { getUint64, setUint64, viewOf } from "./format.ts";
import { EXTENSION_BITMAPS, extensionData, type Qcow2Header } from "./header.ts";

const EXTENSION_BYTES = 24;
export const MAX_BITMAPS = 65535;
export const MAX_DIRECTORY_BYTES = 67_107_840;

const IGNORED = "a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent";
const IGNORED_VERSION_2 =
  "This qcow2 v2 image contains bitmaps, but they may have been modified by a program without persistent bitmap support; " +
  "so now they must all be considered inconsistent";
const LEAKED = "Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix.";

/** Where the directory is, and how many bitmaps it has. */
export interface BitmapsExtension {
  readonly count: number;
  readonly directoryBytes: number;
  readonly directoryOffset: number;
}

/**
 * Undefined where there are no bitmaps, or where somebody changed the image who did not know of them. Throws a `BlockError` with
 * QEMU's text for an extension that is damaged.
 */
export function bitmapsExtension(header: Qcow2Header): BitmapsExtension | undefined {
  const data = extensionData(header, EXTENSION_BITMAPS);
  if (data === undefined) return undefined;
  if (data.length !== EXTENSION_BYTES) throw invalid("bitmaps_ext: Invalid extension length");
  if ((header.autoclear & AUTOCLEAR_BITMAPS) === 0n) return undefined;
  const view = viewOf(data);
  const count = view.getUint32(0);
  if (view.getUint32(4) !== 0) throw invalid("bitmaps_ext: Reserved field is not zero");
  if (count > MAX_BITMAPS)
    throw invalid(`bitmaps_ext: Image has ${count} bitmaps, exceeding the QEMU supported maximum of ${MAX_BITMAPS}`);
  if (count === 0) throw invalid("found bitmaps extension with zero bitmaps");
  if (view.getBigUint64(16) % BigInt(2 ** header.clusterBits) !== 0n)
    throw invalid("bitmaps_ext: invalid bitmap directory offset");
  const bytes = view.getBigUint64(8);
  if (bytes > BigInt(MAX_DIRECTORY_BYTES))
    throw invalid(
      `bitmaps_ext: bitmap directory size (${bytes}) exceeds the maximum supported size (${MAX_DIRECTORY_BYTES})`,
    );
  return { count, directoryBytes: Number(bytes), directoryOffset: getUint64(view, 16) };
}

/** Puts the extension, or none, into the header in memory, with the bit that says that it is right. */
export function setBitmapsExtension(header: Qcow2Header, extension: BitmapsExtension | undefined): void {
  const others = header.extensions.filter(({ type }) => type !== EXTENSION_BITMAPS);
  if (extension === undefined) {
    header.extensions = others;
    header.autoclear &= ~AUTOCLEAR_BITMAPS;
    return;
  }
  const data = new Uint8Array(EXTENSION_BYTES);
  const view = viewOf(data);
  view.setUint32(0, extension.count);
  setUint64(view, 8, extension.directoryBytes);
  setUint64(view, 16, extension.directoryOffset);
  header.extensions = [...others, { type: EXTENSION_BITMAPS, data }];
  header.autoclear |= AUTOCLEAR_BITMAPS;
}

/** When an image is opened. Throws as `bitmapsExtension`; tells of bitmaps that are not right any more. */
export function checkBitmapsExtension(header: Qcow2Header): void {
  if (bitmapsExtension(header) !== undefined || !hasStaleBitmaps(header)) return;
  warn(`warning: ${header.version < 3 ? IGNORED_VERSION_2 : IGNORED}\n${LEAKED}`);
}

/** There are bitmaps that nobody may use. The first writable open forgets them. */
export function hasStaleBitmaps(header: Qcow2Header): boolean {
  return extensionData(header, EXTENSION_BITMAPS) !== undefined && (header.autoclear & AUTOCLEAR_BITMAPS) === 0n;
}

function invalid(message: string): BlockError {
  return new BlockError("EINVAL", message);
}

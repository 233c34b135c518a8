// The features of qcow2 images, and the table of their names in the header: docs/reference/persistence-migration.md §1.1.

import { viewOf } from "./format.ts";

export const INCOMPAT_DIRTY = 1n;
export const INCOMPAT_CORRUPT = 2n;
export const INCOMPAT_DATA_FILE = 4n;
export const INCOMPAT_COMPRESSION = 8n;
export const INCOMPAT_EXTENDED_L2 = 16n;
export const INCOMPAT_KNOWN: bigint =
  INCOMPAT_DIRTY | INCOMPAT_CORRUPT | INCOMPAT_DATA_FILE | INCOMPAT_COMPRESSION | INCOMPAT_EXTENDED_L2;
export const COMPAT_LAZY_REFCOUNTS = 1n;
export const AUTOCLEAR_BITMAPS = 1n;

const ENTRY_BYTES = 48;
const INCOMPATIBLE = 0;
const COMPATIBLE = 1;
const AUTOCLEAR = 2;

const NAMES: readonly (readonly [kind: number, bit: number, name: string])[] = [
  [INCOMPATIBLE, 0, "dirty bit"],
  [INCOMPATIBLE, 1, "corrupt bit"],
  [INCOMPATIBLE, 2, "external data file"],
  [INCOMPATIBLE, 3, "compression type"],
  [INCOMPATIBLE, 4, "extended L2 entries"],
  [COMPATIBLE, 0, "lazy refcounts"],
  [AUTOCLEAR, 0, "bitmaps"],
  [AUTOCLEAR, 1, "raw external data"],
];

/** The table as it is written into every header that has the room. */
export function featureTable(): Uint8Array {
  const bytes = new Uint8Array(NAMES.length * ENTRY_BYTES);
  NAMES.forEach(([kind, bit, name], i) => {
    bytes[i * ENTRY_BYTES] = kind;
    bytes[i * ENTRY_BYTES + 1] = bit;
    for (let at = 0; at < name.length; at++) bytes[i * ENTRY_BYTES + 2 + at] = name.charCodeAt(at);
  });
  return bytes;
}

/** Why an image cannot be opened: the unknown features by the names that the image gives them, the others as a number. */
export function unsupportedFeatures(unknown: bigint, table: Uint8Array | undefined): string {
  const names: string[] = [];
  let left = unknown;
  const view = table === undefined ? undefined : viewOf(table);
  for (let at = 0; table !== undefined && at + ENTRY_BYTES <= table.length; at += ENTRY_BYTES) {
    const mask = 1n << BigInt(view!.getUint8(at + 1) & 63);
    if (view!.getUint8(at) !== INCOMPATIBLE || (left & mask) === 0n) continue;
    names.push(nameIn(table.subarray(at + 2, at + ENTRY_BYTES)));
    left &= ~mask;
  }
  if (left !== 0n) names.push(`Unknown incompatible feature: ${left.toString(16)}`);
  return `Unsupported qcow2 feature(s): ${names.join(", ")}`;
}

function nameIn(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

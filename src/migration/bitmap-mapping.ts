// block-bitmap-mapping: other names for nodes and bitmaps in the stream. docs/reference/persistence-migration.md §5.4.

import { QmpError } from "../base/errors.ts";

export interface BitmapMappingBitmap {
  readonly name: string;
  readonly alias: string;
  readonly transform?: { readonly persistent?: boolean };
}

export interface BitmapMappingNode {
  readonly "node-name": string;
  readonly alias: string;
  readonly bitmaps: readonly BitmapMappingBitmap[];
}

const MAX_ALIAS_BYTES = 255;
const MAX_NODE_NAME_BYTES = 31;
const MAX_BITMAP_NAME_BYTES = 1023;
const WELL_FORMED = /^[A-Za-z][A-Za-z0-9\-._]*$/;

/** Throws `QmpError` with QEMU's text for a mapping that means nothing in one of the two directions. */
export function checkBitmapMapping(mapping: readonly BitmapMappingNode[]): void {
  checkDirection(mapping, "names");
  checkDirection(mapping, "aliases");
}

function checkDirection(mapping: readonly BitmapMappingNode[], keys: "names" | "aliases"): void {
  const nodes = new Set<string>();
  for (const { "node-name": nodeName, alias, bitmaps } of mapping) {
    if (!WELL_FORMED.test(alias)) refuse(`The node alias '${alias}' is not well-formed`);
    if (isLonger(alias, MAX_ALIAS_BYTES)) refuse(`The node alias '${alias}' is longer than ${MAX_ALIAS_BYTES} bytes`);
    if (isLonger(nodeName, MAX_NODE_NAME_BYTES)) {
      refuse(`The node name '${nodeName}' is longer than ${MAX_NODE_NAME_BYTES} bytes`);
    }
    if (keys === "names" && nodes.has(nodeName)) refuse(`The node name '${nodeName}' is mapped twice`);
    if (keys === "aliases" && nodes.has(alias)) refuse(`The node alias '${alias}' is used twice`);
    nodes.add(keys === "names" ? nodeName : alias);
    const seen = new Set<string>();
    for (const bitmap of bitmaps) {
      if (isLonger(bitmap.alias, MAX_ALIAS_BYTES)) {
        refuse(`The bitmap alias '${bitmap.alias}' is longer than ${MAX_ALIAS_BYTES} bytes`);
      }
      if (isLonger(bitmap.name, MAX_BITMAP_NAME_BYTES)) {
        refuse(`The bitmap name '${bitmap.name}' is longer than ${MAX_BITMAP_NAME_BYTES} bytes`);
      }
      if (keys === "names" && seen.has(bitmap.name)) {
        refuse(`The bitmap '${nodeName}'/'${bitmap.name}' is mapped twice`);
      }
      if (keys === "aliases" && seen.has(bitmap.alias)) {
        refuse(`The bitmap alias '${alias}'/'${bitmap.alias}' is used twice`);
      }
      seen.add(keys === "names" ? bitmap.name : bitmap.alias);
    }
  }
}

/** True if the UTF-8 of `text` has more bytes. */
export function isLonger(text: string, bytes: number): boolean {
  return text.length > bytes || new TextEncoder().encode(text).length > bytes;
}

function refuse(message: string): never {
  throw new QmpError(`Invalid mapping given for block-bitmap-mapping: ${message}`);
}

// The map of an image: which layer has what, as `qemu-img map` tells it and as block status does.

import { backingOf } from "../../../src/block/block-status.ts";
import type { BlockStatus } from "../../../src/block/driver.ts";
import type { BlockNode } from "../../../src/block/node.ts";

/** A range of one kind. */
export interface MapEntry {
  readonly start: number;
  readonly length: number;
  /** How many layers down; the last that was asked where none has it. */
  readonly depth: number;
  /** Some layer has it. */
  readonly present: boolean;
  readonly zero: boolean;
  readonly data: boolean;
}

/**
 * What `qemu-img map --output=json` says. Left out of it is what is no business of the images': where the file below has a hole, or
 * ends, an allocated cluster is shown as data that are zeroes too; and of a raw file it is the file system that says what in it is zero.
 */
export function mapOfTool(text: string, rawDepth: number | undefined): MapEntry[] {
  const entries = JSON.parse(text) as MapEntry[];
  return joined(entries.map((entry) => normalised(entry, rawDepth)));
}

/** The same of our own answers, layer by layer. */
export async function mapOf(node: BlockNode, rawDepth: number | undefined): Promise<MapEntry[]> {
  const entries: MapEntry[] = [];
  for (let at = 0; at < node.lengthBytes; at += entries.at(-1)!.length)
    entries.push(normalised(await entryAt(node, at), rawDepth));
  return joined(entries);
}

async function entryAt(top: BlockNode, start: number): Promise<MapEntry> {
  let length = top.lengthBytes - start;
  let node = top;
  for (let depth = 0; ; depth++) {
    const status: BlockStatus = await node.blockStatus(start, length);
    length = status.lengthBytes;
    const below = backingOf(node);
    if (status.allocated) return { start, length, depth, present: true, zero: status.zero, data: status.data };
    // Beyond the end of what is below nobody has anything either.
    if (below === undefined || start >= below.lengthBytes)
      return { start, length, depth, present: false, zero: true, data: false };
    length = Math.min(length, below.lengthBytes - start);
    node = below;
  }
}

function normalised({ start, length, depth, present, zero, data }: MapEntry, rawDepth: number | undefined): MapEntry {
  if (depth === rawDepth) return { start, length, depth, present: true, zero: false, data: false };
  return { start, length, depth, present, zero: zero && !data, data };
}

function joined(entries: readonly MapEntry[]): MapEntry[] {
  const all: MapEntry[] = [];
  for (const entry of entries) {
    const last = all.at(-1);
    if (last !== undefined && isLike(last, entry))
      all[all.length - 1] = { ...last, length: last.length + entry.length };
    else all.push(entry);
  }
  return all;
}

function isLike(a: MapEntry, b: MapEntry): boolean {
  return a.depth === b.depth && a.present === b.present && a.zero === b.zero && a.data === b.data;
}

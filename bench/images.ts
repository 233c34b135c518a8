// Images that benchmarks work on: full, sparse, and empty targets, in a folder that goes when they are done.

import { randomFillSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

export const MIB: number = 2 ** 20;
export const GIB: number = 2 ** 30;

/** Calls `use` with a new folder below `parent` and removes it afterwards. */
export async function inFolder<T>(parent: string, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(parent, "vblk-bench-"));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** An image of data without zeroes, as dense as data gets. */
export function makeFullImage(path: string, lengthBytes: number): void {
  const piece = randomFillSync(new Uint8Array(16 * MIB));
  const file = openSync(path, "w");
  for (let at = 0; at < lengthBytes; at += piece.length) writeSync(file, piece);
  closeSync(file);
}

/** An image of zeroes without a block of its own; what was there is gone. */
export function makeEmptyImage(path: string, lengthBytes: number): void {
  rmSync(path, { force: true });
  writeFileSync(path, "");
  truncateSync(path, lengthBytes);
}

/** An image with a piece of data in each of as many equal parts, and holes. */
export function makeSparseImage(path: string, lengthBytes: number, pieces: number, pieceBytes: number): void {
  makeEmptyImage(path, lengthBytes);
  const piece = randomFillSync(new Uint8Array(pieceBytes));
  const file = openSync(path, "r+");
  for (let i = 0; i < pieces; i++) writeSync(file, piece, 0, pieceBytes, (i * lengthBytes) / pieces);
  closeSync(file);
}

/** The same numbers below `limit` in the same order each time, none of them twice: `count` of them. */
export function shuffled(limit: number, count: number): number[] {
  const numbers = Array.from({ length: limit }, (_, i) => i);
  let state = 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = i + Math.floor((state / 2 ** 32) * (limit - i));
    [numbers[i], numbers[other]] = [numbers[other]!, numbers[i]!];
  }
  return numbers.slice(0, count);
}

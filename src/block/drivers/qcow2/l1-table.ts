// The active L1 table, which is all in memory: docs/reference/persistence-migration.md §1.2.

import { entryOffset, highWord, lowWord, OFLAG_COPIED_HIGH, viewOf } from "./format.ts";
import type { Qcow2File } from "./image-file.ts";

const SECTOR = 512;

/** Entries of 64 bits each, as in the file, and which of them the file does not have yet. */
export class L1Table {
  /** Where it stands in the file. */
  offsetBytes: number;
  #view: DataView;
  #bytes: Uint8Array;
  readonly #dirtySectors = new Set<number>();

  constructor(offsetBytes: number, bytes: Uint8Array) {
    this.offsetBytes = offsetBytes;
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  get entries(): number {
    return this.#bytes.length / 8;
  }

  get dirty(): boolean {
    return this.#dirtySectors.size > 0;
  }

  /** Where the L2 table is; 0 for none, and beyond the end of the table. */
  l2Offset(index: number): number {
    if (index >= this.entries) return 0;
    return entryOffset(this.#view.getUint32(index * 8), this.#view.getUint32(index * 8 + 4));
  }

  /** The L2 table is this L1 table's alone, and may be changed where it is. */
  copied(index: number): boolean {
    return (this.#view.getUint32(index * 8) & OFLAG_COPIED_HIGH) !== 0;
  }

  /** Points to an L2 table of its own; offset 0 for none. */
  set(index: number, offsetBytes: number): void {
    this.#view.setUint32(index * 8, offsetBytes === 0 ? 0 : (highWord(offsetBytes) | OFLAG_COPIED_HIGH) >>> 0);
    this.#view.setUint32(index * 8 + 4, lowWord(offsetBytes));
    this.#dirtySectors.add(Math.floor((index * 8) / SECTOR));
  }

  /** Some offset of an L2 table that lies within the range; undefined for none. */
  overlapping(start: number, end: number, clusterBytes: number): number | undefined {
    for (let index = 0, { entries } = this; index < entries; index++) {
      const offset = this.l2Offset(index);
      if (offset !== 0 && offset < end && start < offset + clusterBytes) return offset;
    }
    return undefined;
  }

  /** Writes the sectors that changed. */
  async writeOut(file: Qcow2File): Promise<void> {
    for (const sector of [...this.#dirtySectors].sort((a, b) => a - b)) {
      await file.event("l1_update");
      const from = sector * SECTOR;
      const bytes = new Uint8Array(SECTOR);
      bytes.set(this.#bytes.subarray(from, from + SECTOR));
      await file.writeBytes(this.offsetBytes + from, bytes);
      this.#dirtySectors.delete(sector);
    }
  }

  /** A copy with room for so many entries, as it stands in a file. */
  grown(entries: number): Uint8Array {
    const bytes = new Uint8Array(entries * 8);
    bytes.set(this.#bytes.subarray(0, bytes.length));
    return bytes;
  }

  /** All of it is in the file, at another place. */
  replace(offsetBytes: number, bytes: Uint8Array): void {
    this.offsetBytes = offsetBytes;
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#dirtySectors.clear();
  }
}

// What a disk and its one bitmap have to be: an array of bytes, and a flag for each granule.
import { type Change, DISK_BYTES, SECTOR } from "./chain-program.ts";

/** A change in bytes, of a length that the disk has room for. */
export interface Range {
  readonly at: number;
  readonly length: number;
}

export class ChainModel {
  readonly bytes: Uint8Array = new Uint8Array(DISK_BYTES);
  readonly #granularity: number;
  readonly #clusterBytes: number;
  readonly #dirty: Set<number> = new Set();
  #byte = 0;

  constructor(granularity: number, clusterBytes: number) {
    this.#granularity = granularity;
    this.#clusterBytes = clusterBytes;
  }

  /** A byte that no change before has written. */
  nextByte(): number {
    this.#byte = (this.#byte % 250) + 1;
    return this.#byte;
  }

  /** Discards are of whole clusters: what becomes of parts of them is up to who carries them out. */
  rangeOf({ op, at, length }: Change): Range {
    const start = at * SECTOR;
    const end = Math.min(start + length * SECTOR, DISK_BYTES);
    if (op !== "discard") return { at: start, length: end - start };
    const first = Math.min(start, DISK_BYTES - 2 * this.#clusterBytes);
    const aligned = first - (first % this.#clusterBytes);
    return { at: aligned, length: this.#clusterBytes };
  }

  /** `byte` is 0 for what is to read as zeroes. */
  change({ at, length }: Range, byte: number): void {
    this.bytes.fill(byte, at, at + length);
    for (let granule = Math.floor(at / this.#granularity); granule * this.#granularity < at + length; granule++)
      this.#dirty.add(granule);
  }

  clearDirty(): void {
    this.#dirty.clear();
  }

  /** Runs of dirty bytes, as clients of qemu-nbd see them. */
  dirtyExtents(): [offset: number, length: number][] {
    const extents: [number, number][] = [];
    for (const granule of [...this.#dirty].sort((a, b) => a - b)) {
      const offset = granule * this.#granularity;
      const length = Math.min(this.#granularity, DISK_BYTES - offset);
      const last = extents.at(-1);
      if (last !== undefined && last[0] + last[1] === offset) last[1] += length;
      else extents.push([offset, length]);
    }
    return extents;
  }
}

// An image in memory on top of another node: what was never written comes from below. Exact and fast, for tests of chains.

import { BlockError } from "../../base/errors.ts";
import { fillZeroes, IoVector } from "../../base/io-vector.ts";
import { HierarchicalBitmap } from "../../bitmap/hierarchical-bitmap.ts";
import { type BlockDriver, type BlockStatus, type DriverChild, SECTOR_SIZE_BYTES } from "../driver.ts";
import type { BlockNode } from "../node.ts";

export interface MemoryOverlayOptions {
  /** A multiple of 512; by default as long as `backing`. What lies beyond the end of `backing` reads as zeroes. */
  readonly lengthBytes?: number;
  readonly backing: BlockNode;
  /** The unit in which data are the overlay's own or not: a power of two, 64 KiB by default. */
  readonly clusterSizeBytes?: number;
}

/**
 * An overlay. A write makes the clusters that it touches the overlay's own, the rest of them copied from below. Zeroes that cover
 * a cluster make it the overlay's own without being written; a discard does so for the clusters that it covers, and nothing to
 * others, as qcow2 has it.
 */
export class MemoryOverlayDriver implements BlockDriver {
  readonly driverName: string = "memory";
  readonly readOnly: boolean = false;
  readonly clusterSizeBytes: number;
  readonly children: readonly DriverChild[];
  readonly #backing: BlockNode;
  #bytes: Uint8Array;
  /** Clusters that are the overlay's own. */
  readonly #own: HierarchicalBitmap;
  /** Those of them that were zeroed and not written since. */
  readonly #zero: HierarchicalBitmap;

  constructor(options: MemoryOverlayOptions) {
    const { backing, clusterSizeBytes = 65536, lengthBytes = backing.lengthBytes } = options;
    this.clusterSizeBytes = clusterSizeBytes;
    this.children = [{ role: "backing", node: backing }];
    this.#backing = backing;
    this.#bytes = new Uint8Array(lengthBytes);
    this.#own = new HierarchicalBitmap(lengthBytes, clusterSizeBytes);
    this.#zero = new HierarchicalBitmap(lengthBytes, clusterSizeBytes);
  }

  get lengthBytes(): number {
    return this.#bytes.length;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const end = offsetBytes + vector.byteLength;
    const pending: Promise<void>[] = [];
    const bytes = this.#bytes;
    for (let at = offsetBytes; at < end; ) {
      const start = at;
      const own = this.#own.get(at);
      const to = this.#runEnd(this.#own, at, end, own);
      const part = new IoVector(vector.bytes).slice(vector, at - offsetBytes, to - at);
      const done = attempt(() => (own ? part.copyFrom(bytes, start) : this.#readBelow(start, part)));
      if (done !== undefined) pending.push(done);
      at = to;
    }
    if (pending.length > 0) return allOf(pending);
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const end = offsetBytes + vector.byteLength;
    const edges = this.#edgesToFill(offsetBytes, end);
    const fills = edges.map((at) => this.#fetch(at));
    const finish = (): void => {
      if (vector.abandoned) throw new BlockError("ECANCELED");
      fills.forEach(({ bytes }, i) => {
        const at = edges[i]!;
        if (!this.#own.get(at)) this.#bytes.set(bytes, at);
      });
      vector.copyTo(this.#bytes, offsetBytes);
      this.#take(offsetBytes, end, false);
    };
    const pending = fills.flatMap(({ done }) => (done === undefined ? [] : [done]));
    if (pending.length > 0) return allOf(pending).then(finish);
    finish();
  }

  writeZeroes(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    const end = offsetBytes + lengthBytes;
    const first = this.#up(offsetBytes);
    const last = end === this.lengthBytes ? end : this.#down(end);
    if (first >= last) return this.#writePlainZeroes(offsetBytes, end);
    const parts = [() => this.#writePlainZeroes(offsetBytes, first), () => this.#writePlainZeroes(last, end)];
    const later = parts.map(attempt).filter((done) => done !== undefined);
    this.#zeroClusters(first, last);
    if (later.length > 0) return allOf(later);
  }

  discard(offsetBytes: number, lengthBytes: number): void {
    const end = offsetBytes + lengthBytes;
    this.#zeroClusters(this.#up(offsetBytes), end === this.lengthBytes ? end : this.#down(end));
  }

  flush(): void {}

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus {
    const end = offsetBytes + lengthBytes;
    const allocated = this.#own.get(offsetBytes);
    const zero = allocated && this.#zero.get(offsetBytes);
    const ownEnd = this.#runEnd(this.#own, offsetBytes, end, allocated);
    const to = allocated ? this.#runEnd(this.#zero, offsetBytes, ownEnd, zero) : ownEnd;
    return { lengthBytes: to - offsetBytes, allocated, data: allocated && !zero, zero };
  }

  /** What is added reads as zeroes, whatever lies below. */
  resize(lengthBytes: number): void | Promise<void> {
    const rounded = Math.ceil(lengthBytes / SECTOR_SIZE_BYTES) * SECTOR_SIZE_BYTES;
    const old = this.lengthBytes;
    const cut = this.#down(old);
    if (rounded <= old || cut === old || this.#own.get(cut)) return this.#setLength(rounded);
    // The cluster that the old end cuts: what lies before the end is to stay, what comes after it must not shine through.
    const { bytes, done } = this.#fetch(cut);
    const grow = (): void => {
      if (!this.#own.get(cut)) {
        this.#bytes.set(bytes, cut);
        this.#take(cut, old, false);
      }
      this.#setLength(rounded);
    };
    if (done !== undefined) return done.then(grow);
    grow();
  }

  async close(): Promise<void> {}

  #setLength(lengthBytes: number): void {
    const old = this.#bytes;
    this.#bytes = new Uint8Array(lengthBytes);
    this.#bytes.set(old.subarray(0, Math.min(old.length, lengthBytes)));
    this.#own.truncate(lengthBytes);
    this.#zero.truncate(lengthBytes);
    this.#zeroClusters(this.#up(old.length), lengthBytes);
  }

  #zeroClusters(start: number, end: number): void {
    if (start >= end) return;
    fillZeroes(this.#bytes, start, end - start);
    this.#take(start, end, true);
  }

  #take(start: number, end: number, zero: boolean): void {
    this.#own.set(start, end - start);
    if (zero) return this.#zero.set(start, end - start);
    const first = this.#down(start);
    this.#zero.reset(first, Math.min(this.#up(end), this.lengthBytes) - first);
  }

  #writePlainZeroes(start: number, end: number): void | Promise<void> {
    if (start < end) return this.write(start, IoVector.of(new Uint8Array(end - start)));
  }

  /** Starts of the clusters, at most two, that a write of the range leaves a part of and that come from below. */
  #edgesToFill(start: number, end: number): number[] {
    const first = this.#down(start);
    const last = this.#down(end - 1);
    const partly = new Set<number>();
    if (first !== start) partly.add(first);
    if (end !== this.#up(end) && end !== this.lengthBytes) partly.add(last);
    return [...partly].filter((at) => !this.#own.get(at));
  }

  /** A cluster as it is below. */
  #fetch(at: number): { bytes: Uint8Array; done: void | Promise<void> } {
    const bytes = new Uint8Array(Math.min(this.clusterSizeBytes, this.lengthBytes - at));
    return { bytes, done: attempt(() => this.#readBelow(at, IoVector.of(bytes))) };
  }

  #readBelow(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const there = Math.max(0, Math.min(vector.byteLength, this.#backing.lengthBytes - offsetBytes));
    if (there === vector.byteLength) return this.#backing.read(offsetBytes, vector);
    new IoVector(vector.bytes).slice(vector, there, vector.byteLength - there).clearData();
    if (there > 0) return this.#backing.read(offsetBytes, new IoVector(vector.bytes).slice(vector, 0, there));
  }

  /** Where the run of clusters ends that are in the bitmap, or are not, as the one at `at`. */
  #runEnd(bitmap: HierarchicalBitmap, at: number, end: number, set: boolean): number {
    const change = set ? bitmap.nextZero(at, end - at) : bitmap.nextDirty(at, end - at);
    return change < 0 ? end : change;
  }

  #down(bytes: number): number {
    return Math.floor(bytes / this.clusterSizeBytes) * this.clusterSizeBytes;
  }

  #up(bytes: number): number {
    return Math.ceil(bytes / this.clusterSizeBytes) * this.clusterSizeBytes;
  }
}

/** A part of a request: what fails at once fails like what fails later, so that the other parts are waited for. */
function attempt(part: () => void | Promise<void>): void | Promise<void> {
  try {
    return part();
  } catch (error) {
    return Promise.reject(error);
  }
}

/** Done when all parts have ended, for none may go on when the request has; fails with the error of the first that failed. */
async function allOf(parts: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(parts)) if (outcome.status === "rejected") throw outcome.reason;
}

// Zeroing and discarding clusters of a qcow2 image: docs/reference/corrections.md A4.

import { BlockError } from "../../../base/errors.ts";
import { IoVector } from "../../../base/io-vector.ts";
import type { WriteZeroesOptions } from "../../driver.ts";
import type { BlockNode } from "../../node.ts";
import type { ClusterReader } from "./cluster-read.ts";
import { type ClusterWriter, freeOld } from "./cluster-write.ts";
import { roundDown, roundUp } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import type { CachedTable } from "./table-cache.ts";

const ZEROES = new Uint8Array(1 << 16);

/** What is to become of clusters. */
type Fate = "zero" | "zero-unmap" | "discard" | "forget";

/** Whole clusters, or subclusters, are changed in the tables alone; what is left at the edges is written. */
export class ClusterZeroer {
  readonly #image: Qcow2Image;
  readonly #reader: ClusterReader;
  readonly #writer: ClusterWriter;
  readonly #backing: BlockNode | undefined;
  readonly #diskBytes: () => number;

  constructor(options: {
    image: Qcow2Image;
    reader: ClusterReader;
    writer: ClusterWriter;
    backing: BlockNode | undefined;
    diskBytes: () => number;
  }) {
    this.#image = options.image;
    this.#reader = options.reader;
    this.#writer = options.writer;
    this.#backing = options.backing;
    this.#diskBytes = options.diskBytes;
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): Promise<void> {
    const { mayUnmap, noFallback } = options;
    const { layout } = this.#image;
    const end = offsetBytes + lengthBytes;
    return this.#lock(offsetBytes, end, async () => {
      if (layout.version < 3 && !(mayUnmap && this.#backing === undefined))
        return this.#writePlain(offsetBytes, end, noFallback);
      const first = roundUp(offsetBytes, layout.unitBytes);
      const last = end === this.#diskBytes() ? roundUp(end, layout.unitBytes) : roundDown(end, layout.unitBytes);
      if (first >= last) return this.#writePlain(offsetBytes, end, noFallback);
      await this.#writePlain(offsetBytes, first, noFallback);
      await this.#writePlain(last, end, noFallback);
      const whole = await this.#writeCompressedEdges(first, last, noFallback);
      if (whole.first < whole.last) await this.#change(whole.first, whole.last, mayUnmap ? "zero-unmap" : "zero");
    });
  }

  /** Of the clusters that lie within the range. Fails with ENOTSUP where they would show what is below. */
  discard(offsetBytes: number, lengthBytes: number): Promise<void> {
    const { clusterBytes, version } = this.#image.layout;
    if (version < 3 && this.#backing !== undefined) throw new BlockError("ENOTSUP");
    const end = offsetBytes + lengthBytes;
    const first = roundUp(offsetBytes, clusterBytes);
    const last = end === this.#diskBytes() ? roundUp(end, clusterBytes) : roundDown(end, clusterBytes);
    if (first >= last) return Promise.resolve();
    return this.#lock(first, last, () => this.#change(first, last, "discard"));
  }

  /** A disk that grows shows neither what its backing file has there, nor the rest of its last cluster. `from` to `to` is what is added. */
  async coverBacking(from: number, to: number): Promise<void> {
    const lastCluster = roundUp(from, this.#image.layout.clusterBytes);
    const end = Math.min(to, Math.max(lastCluster, this.#backing?.lengthBytes ?? 0));
    if (from >= end) return;
    await this.writeZeroes(from, end - from, { mayUnmap: true, noFallback: false });
  }

  /** Whole clusters have nothing of their own any more: for a disk that becomes shorter. */
  forget(first: number, last: number): Promise<void> {
    return this.#lock(first, last, () => this.#change(first, last, "forget"));
  }

  #lock(start: number, end: number, task: () => Promise<void>): Promise<void> {
    const { clusterBytes } = this.#image.layout;
    return this.#image.locks.run(Math.floor(start / clusterBytes), Math.floor((end - 1) / clusterBytes), task);
  }

  async #writePlain(start: number, end: number, noFallback: boolean): Promise<void> {
    for (let at = start; at < end; at += ZEROES.length) {
      const to = Math.min(end, at + ZEROES.length);
      if (await this.#reader.readsAsZeroes(at, to)) continue;
      if (noFallback) throw new BlockError("ENOTSUP");
      await this.#writer.writeLocked(at, IoVector.of(ZEROES, 0, to - at));
    }
  }

  /** A compressed cluster has no subclusters: zeroes are written to a part of one. Returns what of the range is left. */
  async #writeCompressedEdges(
    first: number,
    last: number,
    noFallback: boolean,
  ): Promise<{ readonly first: number; readonly last: number }> {
    const { clusterBytes } = this.#image.layout;
    let [start, end] = [first, last];
    if (start % clusterBytes !== 0 && (await this.#reader.isCompressed(start))) {
      const to = Math.min(end, roundUp(start, clusterBytes));
      await this.#writePlain(start, to, noFallback);
      start = to;
    }
    if (start < end && end % clusterBytes !== 0 && (await this.#reader.isCompressed(end - 1))) {
      const from = Math.max(start, roundDown(end, clusterBytes));
      await this.#writePlain(from, end, noFallback);
      end = from;
    }
    return { first: start, last: end };
  }

  /** Table by table, each at once. */
  async #change(first: number, last: number, fate: Fate): Promise<void> {
    const image = this.#image;
    const { sliceReach } = image.layout;
    for (let at = first; at < last; ) {
      const end = Math.min(last, roundDown(at, sliceReach) + sliceReach);
      const start = at;
      await image.mutex.run(async () => {
        const nothing = image.l2OffsetFor(start) === 0;
        if (nothing && (fate === "forget" || (fate === "discard" && this.#backing === undefined))) return;
        await image.beginChange();
        const kept = this.#changeIn(await image.l2ForChange(start), start, end, fate);
        for (const { from, to } of kept) await image.allocator.discard(from, to - from, "request");
        await image.settleIfCrowded();
      });
      at = end;
    }
  }

  /** Returns the clusters of the file that entries keep though they read as zeroes now, and whose bytes nobody needs. */
  #changeIn(table: CachedTable, start: number, end: number, fate: Fate): { from: number; to: number }[] {
    const { layout, mapping } = this.#image;
    const { clusterBytes, unitBytes } = layout;
    const kept: { from: number; to: number }[] = [];
    for (let at = start; at < end; ) {
      const cluster = roundDown(at, clusterBytes);
      const to = Math.min(end, cluster + clusterBytes);
      const index = mapping.indexOf(at);
      if (to - at === clusterBytes) {
        const host = this.#changeCluster(table, index, fate);
        const last = kept.at(-1);
        if (host !== 0 && last?.to === host) last.to += clusterBytes;
        else if (host !== 0) kept.push({ from: host, to: host + clusterBytes });
      } else mapping.setSubclusters(table, index, (at - cluster) / unitBytes, (to - cluster) / unitBytes, true);
      at = to;
    }
    return kept;
  }

  /** Returns the cluster that the entry keeps for nothing; 0 for none. */
  #changeCluster(table: CachedTable, index: number, fate: Fate): number {
    const image = this.#image;
    const { mapping, layout } = image;
    const host = mapping.hostCluster(table, index);
    const compressed = mapping.isCompressed(table, index);
    const allocated = host !== 0 || compressed;
    const keeps = fate === "zero" || (image.discardNoUnref && fate !== "forget");
    if (keeps && host !== 0 && mapping.isCopied(table, index)) {
      mapping.setZero(table, index, true);
      return fate === "zero" ? 0 : host;
    }
    if (fate === "discard" && !allocated && this.#backing === undefined) return 0;
    freeOld(image, table, index, fate === "forget" ? "resize" : fate === "zero" ? "other" : "request");
    if (fate === "forget" || layout.version < 3) mapping.clear(table, index);
    else mapping.setZero(table, index, false);
    return 0;
  }
}

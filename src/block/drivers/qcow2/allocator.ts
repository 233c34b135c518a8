// Which clusters of the file are used next: the first free ones, as QEMU takes them.

import { BlockError } from "../../../base/errors.ts";
import { type Layout, MAX_HOST_BYTES } from "./format.ts";
import type { Qcow2File } from "./image-file.ts";
import { maxRefcount } from "./refcount-block.ts";
import type { Refcounts } from "./refcounts.ts";

/** Why a cluster is not needed any more: a guest's request, a snapshot that went, a disk that became shorter, or anything else. */
export type FreeReason = "request" | "snapshot" | "resize" | "other";

/** Whether the file below hears of clusters that are free for a reason: QMP's `pass-discard-*`. Of a shorter disk it always does. */
export interface PassedDiscards {
  readonly request: boolean;
  /** No command here deletes snapshots. */
  readonly snapshot: boolean;
  readonly other: boolean;
}

/** A range of host clusters. `fresh`: the file reads as zeroes there. */
export interface HostRun {
  readonly offsetBytes: number;
  readonly clusters: number;
  readonly fresh: boolean;
}

/**
 * Takes and gives back clusters, one task at a time. What is given back may be taken at once, so that callers give back only what
 * nothing on stable storage points to any more.
 *
 * A request that is still at a cluster has it pinned: its bytes must not become another's before the request has ended.
 */
export class ClusterAllocator {
  readonly #file: Qcow2File;
  readonly #layout: Layout;
  readonly #refcounts: Refcounts;
  /** No cluster before it is free. */
  #firstFree = 0;
  /** A cluster of compressed data with room for more. */
  #shared: { readonly cluster: number; usedBytes: number } | undefined;
  readonly #pins = new Map<number, number>();
  readonly #checkFree: (offsetBytes: number, lengthBytes: number) => void;
  readonly #passDiscards: PassedDiscards;

  /** `checkFree` throws where a range that the counts say is free is in use. */
  constructor(options: {
    file: Qcow2File;
    layout: Layout;
    refcounts: Refcounts;
    checkFree: (offsetBytes: number, lengthBytes: number) => void;
    passDiscards: PassedDiscards;
  }) {
    this.#file = options.file;
    this.#layout = options.layout;
    this.#refcounts = options.refcounts;
    this.#checkFree = options.checkFree;
    this.#passDiscards = options.passDiscards;
  }

  /** Takes `count` clusters in a row, with the count 1. Fails with EFBIG where offsets end. */
  async allocate(count: number): Promise<HostRun> {
    await this.#file.event("cluster_alloc");
    const { clusterBytes } = this.#layout;
    let start = this.#firstFree;
    for (let cluster = start; cluster < start + count; cluster++) {
      if ((cluster + 1) * clusterBytes > MAX_HOST_BYTES) throw new BlockError("EFBIG");
      if (this.#pins.size > 0 && this.#pins.has(cluster)) {
        start = cluster + 1;
        continue;
      }
      const block = await this.#refcounts.blockOf(cluster);
      if (block === undefined) {
        // At the beginning of the row, so that it does not cut the row where the block's clusters begin.
        this.#checkFree(start * clusterBytes, clusterBytes);
        const moved = await this.#refcounts.addBlock(cluster, start);
        if (!moved) start++;
        cluster--; // look at it again: it is counted now, and perhaps in use
      } else if (this.#refcounts.getIn(block, cluster) !== 0) start = cluster + 1;
    }
    const offsetBytes = start * clusterBytes;
    this.#checkFree(offsetBytes, count * clusterBytes);
    for (let cluster = start; cluster < start + count; cluster++) await this.#refcounts.change(cluster, 1);
    return this.#taken(start, count);
  }

  /**
   * As `allocate`, within the call, where one block in memory counts all the clusters that this looks at; undefined elsewhere, and
   * then nothing has changed.
   */
  allocateNow(count: number): HostRun | undefined {
    const { clusterBytes, refcountsPerBlock } = this.#layout;
    let start = this.#firstFree;
    const block = this.#refcounts.peekBlock(start);
    if (block === undefined) return undefined;
    const blockEnd = (Math.floor(start / refcountsPerBlock) + 1) * refcountsPerBlock;
    const end = Math.min(blockEnd, Math.floor(MAX_HOST_BYTES / clusterBytes));
    for (let cluster = start; cluster < start + count; cluster++) {
      if (cluster >= end) return undefined;
      const pinned = this.#pins.size > 0 && this.#pins.has(cluster);
      if (pinned || this.#refcounts.getIn(block, cluster) !== 0) start = cluster + 1;
    }
    this.#checkFree(start * clusterBytes, count * clusterBytes);
    for (let cluster = start; cluster < start + count; cluster++) this.#refcounts.takeIn(block, cluster);
    return this.#taken(start, count);
  }

  #taken(start: number, count: number): HostRun {
    const { clusterBytes } = this.#layout;
    const offsetBytes = start * clusterBytes;
    this.#firstFree = start + count;
    const fresh = this.#file.takeFresh(offsetBytes, count * clusterBytes);
    return { offsetBytes, clusters: count, fresh };
  }

  /** Takes room for compressed data, if it can in a cluster that has such already. */
  async allocateBytes(lengthBytes: number): Promise<number> {
    const { clusterBytes, refcountOrder } = this.#layout;
    const shared = this.#shared;
    await this.#file.event("cluster_alloc_bytes");
    if (shared !== undefined && shared.usedBytes + lengthBytes <= clusterBytes) {
      const uses = await this.#refcounts.get(shared.cluster);
      // Nobody shares a cluster that cannot be counted more often, or that is nobody's any more.
      if (shared === this.#shared && uses < maxRefcount(refcountOrder)) {
        await this.#refcounts.change(shared.cluster, 1);
        const at = shared.cluster * clusterBytes + shared.usedBytes;
        shared.usedBytes += lengthBytes;
        return at;
      }
    }
    const { offsetBytes } = await this.allocate(1);
    this.#shared = { cluster: offsetBytes / clusterBytes, usedBytes: lengthBytes };
    return offsetBytes;
  }

  /** One use less of each cluster that the range touches. The file may forget those that are free then. */
  async release(offsetBytes: number, lengthBytes: number, reason: FreeReason = "other"): Promise<void> {
    const { clusterBytes } = this.#layout;
    await this.#file.event("cluster_free");
    const passes = reason === "resize" || this.#passDiscards[reason];
    const first = Math.floor(offsetBytes / clusterBytes);
    const last = Math.floor((offsetBytes + lengthBytes - 1) / clusterBytes);
    let freeFrom = first;
    for (let cluster = first; cluster <= last; cluster++) {
      const left = await this.#refcounts.change(cluster, -1);
      if (left > 0) {
        if (passes) await this.#discardClusters(freeFrom, cluster);
        freeFrom = cluster + 1;
        continue;
      }
      if (cluster < this.#firstFree) this.#firstFree = cluster;
      if (cluster === this.#shared?.cluster) this.#shared = undefined;
    }
    if (passes) await this.#discardClusters(freeFrom, last + 1);
  }

  /** What clusters hold is not needed any more, by whomever they are had. */
  discard(offsetBytes: number, lengthBytes: number, reason: keyof PassedDiscards): Promise<void> {
    const { clusterBytes } = this.#layout;
    if (!this.#passDiscards[reason]) return Promise.resolve();
    return this.#discardClusters(offsetBytes / clusterBytes, (offsetBytes + lengthBytes) / clusterBytes);
  }

  /** Up to `end`, but those that a request is still at: their bytes are what it is to read. */
  async #discardClusters(first: number, end: number): Promise<void> {
    const { clusterBytes } = this.#layout;
    let from = first;
    for (let cluster = first; cluster <= end; cluster++) {
      if (cluster < end && !this.#pins.has(cluster)) continue;
      if (cluster > from) await this.#file.discard(from * clusterBytes, (cluster - from) * clusterBytes);
      from = cluster + 1;
    }
  }

  /** Until the request has ended nobody is given the clusters that it is at. */
  async pin(offsetBytes: number, lengthBytes: number, request: Promise<void>): Promise<void> {
    const { clusterBytes } = this.#layout;
    const first = Math.floor(offsetBytes / clusterBytes);
    const last = Math.floor((offsetBytes + lengthBytes - 1) / clusterBytes);
    for (let cluster = first; cluster <= last; cluster++) this.#pins.set(cluster, (this.#pins.get(cluster) ?? 0) + 1);
    try {
      await request;
    } finally {
      for (let cluster = first; cluster <= last; cluster++) {
        const left = this.#pins.get(cluster)! - 1;
        if (left === 0) this.#pins.delete(cluster);
        else this.#pins.set(cluster, left);
      }
    }
  }
}

// Counts what a qcow2 image uses, and compares that with its refcounts: docs/reference/persistence-migration.md §1.3.

import { Pacer, systemClock } from "../../../base/clock.ts";
import { bitmapRanges } from "./bitmap-ranges.ts";
import { ClusterCounts } from "./cluster-counts.ts";
import { ClusterMapping } from "./cluster-mapping.ts";
import { entryOffset, hasReservedL1Bits, viewOf } from "./format.ts";
import { hex, type Qcow2Image } from "./image.ts";
import { readSnapshots } from "./snapshots.ts";
import { StoredCounts } from "./stored-counts.ts";
import type { CachedTable } from "./table-cache.ts";

/** Findings that are told; more are only counted. */
const MAX_TOLD = 1000;
/** That are kept for who repairs; all of them are counted. */
export const MAX_WRONG_COUNTS: number = 1 << 20;
/** Clusters that are compared before others get their turn. */
const PACE_CLUSTERS = 1024;
/** L1 tables of snapshots, in bytes, all together. */
const MAX_SNAPSHOT_L1_BYTES = 1 << 30;

export interface WrongCount {
  readonly cluster: number;
  readonly stored: number;
  readonly used: number;
}

export interface CheckResult {
  /** Where tables contradict themselves; the first of them. */
  readonly damage: readonly string[];
  /** In order, and the first of them if there are very many. A count that is too low is damage to come, one that is too high a leak. */
  readonly wrongCounts: readonly WrongCount[];
  readonly leaks: number;
  readonly corruptions: number;
  /** Behind the last cluster that is used. */
  readonly endCluster: number;
  /** Behind the last cluster that is used or counted. */
  readonly endOffsetBytes: number;
  readonly clusters: ClusterStatistics;
}

/** Of the disk's clusters, without those of snapshots. */
export interface ClusterStatistics {
  readonly total: number;
  readonly allocated: number;
  /** Allocated, and not behind the one before; compressed ones always are. */
  readonly fragmented: number;
  readonly compressed: number;
}

export interface CheckOptions {
  /** Whether entries say that a cluster is theirs alone where its refcount is 1; true by default. Useless where counts are known to be wrong. */
  readonly copiedFlags?: boolean;
}

/**
 * Looks at all of an image whose tables are in the file or in memory. For who holds the mutex. Fails with a `BlockError` where the
 * image is too large, or the table of snapshots, the bitmap directory or a bitmap's table is such that the image cannot be opened.
 */
export async function checkImage(image: Qcow2Image, { copiedFlags = true }: CheckOptions = {}): Promise<CheckResult> {
  const check = new ImageCheck(image, copiedFlags);
  await check.count();
  return check.compare();
}

class ImageCheck {
  readonly #image: Qcow2Image;
  readonly #mapping: ClusterMapping;
  readonly #copiedFlags: boolean;
  readonly #counts = new ClusterCounts();
  readonly #damage: string[] = [];
  readonly #pacer = new Pacer(systemClock);
  /** L2 tables, by how many L1 entries point to them. */
  readonly #tables = new Map<number, number>();
  /** Of those the ones of the active L1 table. */
  readonly #active = new Set<number>();
  readonly #stored: StoredCounts;
  readonly #statistics = { allocated: 0, fragmented: 0, compressed: 0 };
  /** Behind the data cluster that was looked at last in a table. */
  #nextHost = 0;
  #corruptions = 0;
  #endCluster = 0;

  constructor(image: Qcow2Image, copiedFlags: boolean) {
    this.#image = image;
    this.#copiedFlags = copiedFlags;
    this.#mapping = new ClusterMapping(image.layout);
    this.#stored = new StoredCounts(image);
  }

  async count(): Promise<void> {
    const { layout, l1, refcounts } = this.#image;
    const { clusterBytes } = layout;
    this.#use(0, clusterBytes, 1, "header");
    this.#use(l1.offsetBytes, l1.entries * 8, 1, "L1 table");
    this.#countL1(l1.grown(l1.entries), true);
    await this.#countSnapshots();
    this.#use(refcounts.tableOffset, refcounts.tableBytes, 1, "refcount table");
    for (let i = 0; i < refcounts.blocks; i++) {
      const offset = refcounts.blockOffset(i);
      if (refcounts.hasReservedBits(i)) this.#tell(`refcount table entry ${i} has reserved bits set`);
      else if (offset % clusterBytes !== 0) this.#tell(`refcount block offset ${hex(offset)} unaligned`);
      else if (offset !== 0) this.#use(offset, clusterBytes, 1, "refcount block");
    }
    for await (const { offsetBytes, lengthBytes } of bitmapRanges(this.#image)) {
      this.#use(offsetBytes, lengthBytes, 1, "bitmap");
      if (this.#pacer.step()) await this.#pacer.yield();
    }
    if (this.#copiedFlags) await this.#checkL1Flags();
    for (const [offset, times] of this.#tables) {
      if (this.#pacer.step()) await this.#pacer.yield();
      if (offset % clusterBytes === 0) await this.#countL2(offset, times);
    }
  }

  async compare(): Promise<CheckResult> {
    const { layout, file, header } = this.#image;
    const wrongCounts: WrongCount[] = [];
    const { clusterBytes } = layout;
    const clusters = Math.max(Math.ceil(file.lengthBytes / clusterBytes), this.#endCluster);
    let leaks = 0;
    let end = 0;
    for (let cluster = 0; cluster < clusters; cluster++) {
      if (cluster % PACE_CLUSTERS === 0 && this.#pacer.step()) await this.#pacer.yield();
      if (!this.#stored.has(cluster)) await this.#stored.load(cluster);
      const stored = this.#stored.of(cluster);
      const used = this.#counts.get(cluster);
      if (stored !== 0 || used !== 0) end = cluster + 1;
      if (stored === used) continue;
      if (stored > used) leaks++;
      else this.#corruptions++;
      if (wrongCounts.length < MAX_WRONG_COUNTS) wrongCounts.push({ cluster, stored, used });
    }
    return {
      damage: this.#damage,
      wrongCounts,
      leaks,
      corruptions: this.#corruptions,
      endCluster: this.#endCluster,
      endOffsetBytes: end * clusterBytes,
      clusters: { total: Math.ceil(header.sizeBytes / clusterBytes), ...this.#statistics },
    };
  }

  /** Counts what something takes of the file; false, and told, where that is behind its end. */
  #use(offset: number, length: number, times: number, what: string): boolean {
    const { layout, file } = this.#image;
    if (length === 0) return true;
    const first = Math.floor(offset / layout.clusterBytes);
    const last = Math.floor((offset + length - 1) / layout.clusterBytes);
    if (offset + length - file.lengthBytes >= layout.clusterBytes) {
      this.#tell(`${what} at ${hex(offset)} is behind the end of the file`);
      return false;
    }
    for (let cluster = first; cluster <= last; cluster++) this.#counts.add(cluster, times);
    if (last >= this.#endCluster) this.#endCluster = last + 1;
    return true;
  }

  #tell(finding: string): void {
    this.#corruptions++;
    if (this.#damage.length < MAX_TOLD) this.#damage.push(finding);
  }

  #countL1(bytes: Uint8Array, active: boolean): void {
    const { clusterBytes } = this.#image.layout;
    const view = viewOf(bytes);
    for (let at = 0; at + 8 <= bytes.length; at += 8) {
      const [high, low] = [view.getUint32(at), view.getUint32(at + 4)];
      const offset = entryOffset(high, low);
      if (offset === 0) continue;
      if (hasReservedL1Bits(high, low)) this.#tell(`L1 entry ${at / 8} has reserved bits set`);
      if (offset % clusterBytes !== 0) this.#tell(`L2 table offset ${hex(offset)} unaligned`);
      if (!this.#use(offset, clusterBytes, 1, "L2 table")) continue;
      this.#tables.set(offset, (this.#tables.get(offset) ?? 0) + 1);
      if (active) this.#active.add(offset);
    }
  }

  async #countSnapshots(): Promise<void> {
    const { file, header } = this.#image;
    if (header.snapshotCount === 0) return;
    const { snapshots, tableBytes } = await readSnapshots(file, header);
    this.#use(header.snapshotsOffset, tableBytes, 1, "snapshot table");
    let total = 0;
    for (const [index, { l1Offset, l1Entries, complete }] of snapshots.entries()) {
      if (!complete) this.#tell(`snapshot table entry ${index} is incomplete`);
      total += l1Entries * 8;
      if (total > MAX_SNAPSHOT_L1_BYTES) return this.#tell("snapshots have too many L1 entries");
      this.#use(l1Offset, l1Entries * 8, 1, "snapshot's L1 table");
      this.#countL1(await file.readBytes(l1Offset, l1Entries * 8), false);
    }
  }

  async #checkL1Flags(): Promise<void> {
    const { l1, layout } = this.#image;
    for (let index = 0; index < l1.entries; index++) {
      const offset = l1.l2Offset(index);
      if (offset !== 0) await this.#checkFlag(Math.floor(offset / layout.clusterBytes), l1.copied(index), "L2 table");
      if (this.#pacer.step()) await this.#pacer.yield();
    }
  }

  async #countL2(offset: number, times: number): Promise<void> {
    const { clusterBytes, l2Entries, extended } = this.#image.layout;
    const active = this.#active.has(offset);
    this.#nextHost = 0;
    const table = await this.#image.wholeL2(offset);
    for (let index = 0; index < l2Entries; index++) {
      if (this.#mapping.isCompressed(table, index)) {
        const { offsetBytes, lengthBytes } = this.#mapping.compressedRange(table, index);
        this.#use(offsetBytes, lengthBytes, times, "compressed cluster");
        if (this.#copiedFlags && active && this.#mapping.isCopied(table, index))
          this.#tell(`compressed cluster at ${hex(offsetBytes)} has the COPIED flag`);
        if (active) this.#noteCompressed();
        continue;
      }
      const host = this.#mapping.hostCluster(table, index);
      if (this.#mapping.hasReservedBits(table, index))
        this.#tell(`L2 entry ${index} at ${hex(offset)} has reserved bits set`);
      if (extended) this.#checkSubclusters(table, index, host);
      if (host === 0) continue;
      if (host % clusterBytes !== 0) this.#tell(`data cluster ${hex(host)} is not aligned`);
      this.#use(host, clusterBytes, times, "data cluster");
      if (!active) continue;
      this.#noteData(host);
      if (!this.#copiedFlags) continue;
      const cluster = Math.floor(host / clusterBytes);
      const copied = this.#mapping.isCopied(table, index);
      if (this.#stored.has(cluster)) this.#compareFlag(cluster, copied, "data cluster");
      else await this.#checkFlag(cluster, copied, "data cluster");
    }
  }

  /** A subcluster either holds data or reads as zeroes, and data are somewhere. */
  #checkSubclusters(table: CachedTable, index: number, host: number): void {
    const allocated = this.#mapping.allocatedBits(table, index);
    const both = (allocated & this.#mapping.zeroBits(table, index)) !== 0;
    if (both || (allocated !== 0 && host === 0))
      this.#tell(`subclusters of L2 entry ${index} at ${hex(table.offsetBytes)} are none`);
  }

  async #checkFlag(cluster: number, copied: boolean, what: string): Promise<void> {
    await this.#stored.load(cluster);
    this.#compareFlag(cluster, copied, what);
  }

  #compareFlag(cluster: number, copied: boolean, what: string): void {
    const refcount = this.#stored.of(cluster);
    if (copied === (refcount === 1)) return;
    const at = hex(cluster * this.#image.layout.clusterBytes);
    this.#tell(`${what} at ${at} has ${copied ? "the" : "no"} COPIED flag, and refcount ${refcount}`);
  }

  #noteData(host: number): void {
    const statistics = this.#statistics;
    statistics.allocated++;
    if (this.#nextHost !== 0 && host !== this.#nextHost) statistics.fragmented++;
    this.#nextHost = host + this.#image.layout.clusterBytes;
  }

  #noteCompressed(): void {
    const statistics = this.#statistics;
    statistics.allocated++;
    statistics.compressed++;
    statistics.fragmented++;
  }
}

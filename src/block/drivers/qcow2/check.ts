// Counts what a qcow2 image uses, and compares that with its refcounts: docs/reference/persistence-migration.md §1.3.

import { Pacer, systemClock } from "../../../base/clock.ts";
import { bitmapRanges } from "./bitmap-ranges.ts";
import { ClusterCounts } from "./cluster-counts.ts";
import { ClusterMapping } from "./cluster-mapping.ts";
import { entryOffset, OFLAG_COPIED_HIGH, viewOf } from "./format.ts";
import { hex, type Qcow2Image } from "./image.ts";
import { readSnapshots } from "./snapshots.ts";
import { CachedTable } from "./table-cache.ts";

/** Findings that are told; more are only counted. */
const MAX_TOLD = 1000;
/** L1 tables of snapshots, in bytes, all together. */
const MAX_SNAPSHOT_L1_BYTES = 1 << 30;

export interface WrongCount {
  readonly cluster: number;
  readonly stored: number;
  readonly used: number;
}

export interface CheckResult {
  /** Where tables contradict themselves. */
  readonly damage: readonly string[];
  /** In order. A count that is too low is damage to come, one that is too high a leak. */
  readonly wrongCounts: readonly WrongCount[];
  readonly leaks: number;
  readonly corruptions: number;
  /** Behind the last cluster that is used. */
  readonly endCluster: number;
}

/** Looks at all of an image whose tables are in the file or in memory. For who holds the mutex. */
export async function checkImage(image: Qcow2Image): Promise<CheckResult> {
  const check = new ImageCheck(image);
  await check.count();
  return check.compare();
}

class ImageCheck {
  readonly #image: Qcow2Image;
  readonly #mapping: ClusterMapping;
  readonly #counts = new ClusterCounts();
  readonly #damage: string[] = [];
  readonly #pacer = new Pacer(systemClock);
  /** L2 tables, by how many L1 entries point to them; and those of the active L1 table, with its flag. */
  readonly #tables = new Map<number, number>();
  readonly #active = new Map<number, boolean>();
  #corruptions = 0;
  #endCluster = 0;

  constructor(image: Qcow2Image) {
    this.#image = image;
    this.#mapping = new ClusterMapping(image.layout);
  }

  async count(): Promise<void> {
    const { file, header, layout, l1, refcounts } = this.#image;
    const { clusterBytes } = layout;
    this.#use(0, clusterBytes, 1, "header");
    this.#use(l1.offsetBytes, l1.entries * 8, 1, "L1 table");
    this.#countL1(l1.grown(l1.entries), true);
    await this.#countSnapshots();
    this.#use(refcounts.tableOffset, refcounts.tableBytes, 1, "refcount table");
    for (let i = 0; i < refcounts.blocks; i++) {
      const offset = refcounts.blockOffset(i);
      if (offset !== 0) this.#use(offset, clusterBytes, 1, "refcount block");
    }
    for (const { offsetBytes, lengthBytes } of await bitmapRanges(file, header))
      this.#use(offsetBytes, lengthBytes, 1, "bitmap");
    for (const [offset, times] of this.#tables) {
      if (this.#pacer.step()) await this.#pacer.yield();
      if (offset % clusterBytes === 0) await this.#countL2(offset, times);
    }
  }

  async compare(): Promise<CheckResult> {
    const { refcounts, layout } = this.#image;
    const wrongCounts: WrongCount[] = [];
    const { refcountsPerBlock } = layout;
    let leaks = 0;
    const note = (cluster: number, stored: number, used: number): void => {
      if (stored === used) return;
      if (stored > used) leaks++;
      else this.#corruptions++;
      wrongCounts.push({ cluster, stored, used });
    };
    for (let index = 0; index < refcounts.blocks; index++) {
      if (refcounts.blockOffset(index) === 0) continue;
      const start = index * refcountsPerBlock;
      for (let cluster = start; cluster < start + refcountsPerBlock; cluster++) {
        const block = await refcounts.blockOf(cluster);
        const end = Math.min(start + refcountsPerBlock, cluster + 4096);
        for (; cluster < end; cluster++) note(cluster, refcounts.getIn(block!, cluster), this.#counts.get(cluster));
        cluster--;
        if (this.#pacer.step()) await this.#pacer.yield();
      }
    }
    for (const [cluster, used] of this.#counts)
      if (refcounts.blockOffset(Math.floor(cluster / refcountsPerBlock)) === 0) note(cluster, 0, used);
    return {
      damage: this.#damage,
      wrongCounts,
      leaks,
      corruptions: this.#corruptions,
      endCluster: this.#endCluster,
    };
  }

  #use(offset: number, length: number, times: number, what: string): void {
    const { layout, file } = this.#image;
    if (length === 0) return;
    const first = Math.floor(offset / layout.clusterBytes);
    const last = Math.floor((offset + length - 1) / layout.clusterBytes);
    if (offset >= Math.max(file.lengthBytes, 1) + layout.l2Reach) {
      this.#tell(`${what} at ${hex(offset)} is behind the end of the file`);
      return;
    }
    for (let cluster = first; cluster <= last; cluster++) this.#counts.add(cluster, times);
    if (last >= this.#endCluster) this.#endCluster = last + 1;
  }

  #tell(finding: string): void {
    this.#corruptions++;
    if (this.#damage.length < MAX_TOLD) this.#damage.push(finding);
  }

  #countL1(bytes: Uint8Array, active: boolean): void {
    const { clusterBytes } = this.#image.layout;
    const view = viewOf(bytes);
    for (let at = 0; at + 8 <= bytes.length; at += 8) {
      const offset = entryOffset(view.getUint32(at), view.getUint32(at + 4));
      if (offset === 0) continue;
      if (offset % clusterBytes !== 0) this.#tell(`L2 table offset ${hex(offset)} unaligned`);
      this.#use(offset, clusterBytes, 1, "L2 table");
      this.#tables.set(offset, (this.#tables.get(offset) ?? 0) + 1);
      if (active) this.#active.set(offset, (view.getUint32(at) & OFLAG_COPIED_HIGH) !== 0);
    }
  }

  async #countSnapshots(): Promise<void> {
    const { file, header } = this.#image;
    if (header.snapshotCount === 0) return;
    const { snapshots, tableBytes } = await readSnapshots(file, header);
    this.#use(header.snapshotsOffset, tableBytes, 1, "snapshot table");
    let total = 0;
    for (const { l1Offset, l1Entries } of snapshots) {
      total += l1Entries * 8;
      if (total > MAX_SNAPSHOT_L1_BYTES) return this.#tell("snapshots have too many L1 entries");
      this.#use(l1Offset, l1Entries * 8, 1, "snapshot's L1 table");
      this.#countL1(await file.readBytes(l1Offset, l1Entries * 8), false);
    }
  }

  async #countL2(offset: number, times: number): Promise<void> {
    const { file, layout, l2 } = this.#image;
    const { clusterBytes, l2Entries } = layout;
    // A table that only the check reads is not kept.
    const table = l2.peek(offset) ?? new CachedTable(offset, await file.readBytes(offset, clusterBytes));
    for (let index = 0; index < l2Entries; index++) {
      if (this.#mapping.isCompressed(table, index)) {
        const { offsetBytes, lengthBytes } = this.#mapping.compressedRange(table, index);
        this.#use(offsetBytes, lengthBytes, times, "compressed cluster");
        continue;
      }
      const host = this.#mapping.hostCluster(table, index);
      if (host === 0) continue;
      if (host % clusterBytes !== 0) this.#tell(`data cluster ${hex(host)} is not aligned`);
      this.#use(host, clusterBytes, times, "data cluster");
    }
  }
}

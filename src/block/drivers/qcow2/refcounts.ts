// How often each cluster of a qcow2 file is used: the refcount table and its blocks. docs/reference/persistence-migration.md §1.2.

import { BlockError } from "../../../base/errors.ts";
import { entryOffset, type Layout, MAX_REFCOUNT_TABLE_BYTES, roundUp, setUint64, viewOf } from "./format.ts";
import type { Qcow2File } from "./image-file.ts";
import { getRefcount, maxRefcount, setRefcount } from "./refcount-block.ts";
import { type CachedTable, TableCache } from "./table-cache.ts";

const SECTOR = 512;

/** Where the refcount table is now; the header is to say so, and be on stable storage. */
export type TableMoved = (offsetBytes: number, clusters: number) => Promise<void>;

export interface RefcountsOptions {
  readonly file: Qcow2File;
  readonly layout: Layout;
  readonly tableOffset: number;
  readonly table: Uint8Array;
  readonly cacheTables: number;
  readonly tableMoved: TableMoved;
  /** There is a block at this offset from now on. */
  readonly blockAdded: (offsetBytes: number) => void;
  /** Clusters at this offset are nobody's any more. */
  readonly freed: (offsetBytes: number, lengthBytes: number) => Promise<void>;
}

/**
 * Counts are changed in memory, by one task at a time. Blocks may be written in any order, for a count that is too high does no harm;
 * the table points to a block on disk only when the block is on stable storage: `writeOut`.
 */
export class Refcounts {
  readonly cache: TableCache;
  readonly #file: Qcow2File;
  readonly #layout: Layout;
  readonly #tableMoved: TableMoved;
  readonly #blockAdded: (offsetBytes: number) => void;
  readonly #freed: RefcountsOptions["freed"];
  #tableOffset: number;
  #table: Uint8Array;
  #view: DataView;
  readonly #dirtySectors = new Set<number>();

  constructor(options: RefcountsOptions) {
    const { file, layout, tableOffset, table, cacheTables, tableMoved } = options;
    this.#blockAdded = options.blockAdded;
    this.#freed = options.freed;
    this.#file = file;
    this.#layout = layout;
    this.#tableOffset = tableOffset;
    this.#table = table;
    this.#view = viewOf(table);
    this.#tableMoved = tableMoved;
    this.cache = new TableCache({
      file,
      tableBytes: layout.clusterBytes,
      capacity: cacheTables,
      loadEvent: "refblock_load",
      updateEvent: "refblock_update_part",
      wholeEvents: ["refblock_alloc_write", "refblock_update"],
    });
  }

  /** Entries of the table. */
  get blocks(): number {
    return this.#table.length / 8;
  }

  get tableOffset(): number {
    return this.#tableOffset;
  }

  get tableBytes(): number {
    return this.#table.length;
  }

  get dirty(): boolean {
    return this.#dirtySectors.size > 0 || this.cache.dirty;
  }

  /** Where a block is; 0 for none: all of its counts are 0. */
  blockOffset(index: number): number {
    if (index >= this.blocks) return 0;
    return entryOffset(this.#view.getUint32(index * 8), this.#view.getUint32(index * 8 + 4));
  }

  hasReservedBits(index: number): boolean {
    return (this.#view.getUint32(index * 8 + 4) & 0x1ff) !== 0;
  }

  /** The block that counts a cluster; undefined where there is none. Fails with EIO where the table is damaged. */
  async blockOf(cluster: number): Promise<CachedTable | undefined> {
    const offset = this.blockOffset(Math.floor(cluster / this.#layout.refcountsPerBlock));
    if (offset === 0) return undefined;
    if (offset % this.#layout.clusterBytes !== 0) throw new BlockError("EIO", "Refblock offset unaligned");
    const there = this.cache.peek(offset);
    if (there !== undefined) return there;
    if (this.cache.crowded) await this.cache.writeOut();
    return this.cache.load(offset);
  }

  /** As `blockOf`, and undefined also where the block is not in memory. */
  peekBlock(cluster: number): CachedTable | undefined {
    const offset = this.blockOffset(Math.floor(cluster / this.#layout.refcountsPerBlock));
    return offset === 0 ? undefined : this.cache.peek(offset);
  }

  async get(cluster: number): Promise<number> {
    const block = await this.blockOf(cluster);
    return block === undefined ? 0 : this.getIn(block, cluster);
  }

  /** In a block that the caller has from `blockOf`. */
  getIn(block: CachedTable, cluster: number): number {
    return getRefcount(block, this.#layout.refcountOrder, cluster % this.#layout.refcountsPerBlock);
  }

  /** The count of a cluster that was free is 1, in a block that the caller has. */
  takeIn(block: CachedTable, cluster: number): void {
    setRefcount(block, this.#layout.refcountOrder, cluster % this.#layout.refcountsPerBlock, 1);
  }

  /** Adds `by`, which may be negative, to the count of a cluster that has a block. Returns the new count. */
  async change(cluster: number, by: number): Promise<number> {
    const block = await this.blockOf(cluster);
    const { refcountOrder, refcountsPerBlock } = this.#layout;
    const slot = cluster % refcountsPerBlock;
    const count = (block === undefined ? 0 : getRefcount(block, refcountOrder, slot)) + by;
    if (block === undefined || count < 0 || count > maxRefcount(refcountOrder))
      throw new BlockError("EINVAL", `Refcount of cluster ${cluster} cannot become ${count}`);
    setRefcount(block, refcountOrder, slot, count);
    return count;
  }

  /**
   * Makes a block for the clusters around `cluster`, in the cluster `place`, which is free and counted already unless it is `cluster`
   * itself. True if the table was moved to do so: then `cluster` and some behind it are in use, and `place` is still free.
   */
  async addBlock(cluster: number, place: number): Promise<boolean> {
    const { clusterBytes, refcountsPerBlock } = this.#layout;
    const index = Math.floor(cluster / refcountsPerBlock);
    if (index >= this.blocks) {
      await this.#growTable(cluster, index);
      return true;
    }
    await this.#file.event("refblock_alloc");
    await this.insertBlock(index, place * clusterBytes);
    await this.change(place, 1);
    return false;
  }

  /** Makes the block number `index`, all of whose counts are 0, at a place that nobody uses. EFBIG where the table ends before. */
  async insertBlock(index: number, offsetBytes: number): Promise<CachedTable> {
    const { clusterBytes } = this.#layout;
    if (index >= this.blocks) throw new BlockError("EFBIG");
    if (this.cache.crowded) await this.cache.writeOut();
    const counts = new Uint8Array(clusterBytes);
    // It has its room from now on, also on a disk that is full by the next flush.
    await this.#file.writeBytes(offsetBytes, counts);
    this.#file.takeFresh(offsetBytes, clusterBytes);
    this.#setEntry(index, offsetBytes);
    this.#blockAdded(offsetBytes);
    return this.cache.add(offsetBytes, counts);
  }

  /** Some block lies within the range. */
  blockWithin(start: number, end: number): boolean {
    const { clusterBytes } = this.#layout;
    for (let index = 0, { blocks } = this; index < blocks; index++) {
      const offset = this.blockOffset(index);
      if (offset !== 0 && offset < end && start < offset + clusterBytes) return true;
    }
    return false;
  }

  /** Writes everything. New blocks are on stable storage before the table has them. */
  async writeOut(): Promise<void> {
    await this.cache.writeOut();
    if (this.#dirtySectors.size === 0) return;
    await this.#file.flush();
    for (const sector of [...this.#dirtySectors].sort((a, b) => a - b)) {
      await this.#file.event("refblock_alloc_hookup");
      await this.#file.event("reftable_update");
      const from = sector * SECTOR;
      await this.#file.writeBytes(this.#tableOffset + from, this.#table.slice(from, from + SECTOR));
      this.#dirtySectors.delete(sector);
    }
  }

  #setEntry(index: number, offsetBytes: number): void {
    setUint64(this.#view, index * 8, offsetBytes);
    this.#dirtySectors.add(Math.floor((index * 8) / SECTOR));
  }

  /**
   * A longer table, in clusters from `first` on, where nothing is: the blocks for its own clusters, then itself. The old one's
   * clusters are free when the header says where the new one is.
   */
  async #growTable(first: number, firstIndex: number): Promise<void> {
    const { clusterBytes, refcountsPerBlock, refcountOrder } = this.#layout;
    await this.#file.event("reftable_grow");
    let newBlocks = 1;
    let tableClusters: number;
    for (;;) {
      const entries = Math.max(firstIndex + newBlocks + 1, Math.ceil(this.blocks * 1.5));
      tableClusters = Math.ceil((entries * 8) / clusterBytes);
      const lastCluster = first + newBlocks + tableClusters - 1;
      const needed = Math.floor(lastCluster / refcountsPerBlock) - firstIndex + 1;
      if (needed <= newBlocks) break;
      newBlocks = needed;
    }
    if (tableClusters * clusterBytes > MAX_REFCOUNT_TABLE_BYTES) throw new BlockError("EFBIG");
    const table = new Uint8Array(tableClusters * clusterBytes);
    table.set(this.#table);
    const view = viewOf(table);
    const added: CachedTable[] = [];
    for (let i = 0; i < newBlocks; i++) {
      const offset = (first + i) * clusterBytes;
      added.push(this.cache.add(offset, new Uint8Array(clusterBytes)));
      setUint64(view, (firstIndex + i) * 8, offset);
      this.#blockAdded(offset);
    }
    const total = newBlocks + tableClusters;
    for (let cluster = first; cluster < first + total; cluster++)
      setRefcount(
        added[Math.floor(cluster / refcountsPerBlock) - firstIndex]!,
        refcountOrder,
        cluster % refcountsPerBlock,
        1,
      );
    this.#file.takeFresh(first * clusterBytes, total * clusterBytes);
    const offset = (first + newBlocks) * clusterBytes;
    await this.#file.event("refblock_alloc_write_blocks");
    await this.cache.writeOut();
    await this.#file.event("refblock_alloc_write_table");
    await this.#file.writeBytes(offset, table);
    await this.#file.flush();
    await this.#file.event("refblock_alloc_switch_table");
    await this.#tableMoved(offset, tableClusters);
    const old = { offset: this.#tableOffset, clusters: roundUp(this.#table.length, clusterBytes) / clusterBytes };
    this.#tableOffset = offset;
    this.#table = table;
    this.#view = view;
    this.#dirtySectors.clear();
    for (let i = 0; i < old.clusters; i++) await this.change(old.offset / clusterBytes + i, -1);
    await this.#freed(old.offset, old.clusters * clusterBytes);
  }
}

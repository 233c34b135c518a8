// An open qcow2 image: its header and tables, and the order in which they reach the file.

import { BlockError } from "../../../base/errors.ts";
import { tracePoint } from "../../../base/trace.ts";
import type { DamagedRange, ImageDamage } from "../../image-damage.ts";
import { ClusterAllocator, type FreeReason } from "./allocator.ts";
import { AsyncMutex, ClusterLocks } from "./async-mutex.ts";
import type { ListedBitmap } from "./bitmap-directory.ts";
import { ClusterMapping } from "./cluster-mapping.ts";
import { INCOMPAT_CORRUPT, INCOMPAT_DIRTY } from "./feature-table.ts";
import { type Layout, slicedLayout } from "./format.ts";
import { type Qcow2Header, serialiseHeader } from "./header.ts";
import type { Qcow2File } from "./image-file.ts";
import { L1Table } from "./l1-table.ts";
import { MetadataGuard, type SnapshotTables } from "./metadata-guard.ts";
import { Refcounts } from "./refcounts.ts";
import type { RuntimeSettings } from "./runtime-options.ts";
import type { Snapshot } from "./snapshots.ts";
import { CachedTable, TableCache } from "./table-cache.ts";

const imageCorrupted = tracePoint("qcow2_signal_corruption");

/** Ranges that wait for being free before they are made free early. */
const MAX_PENDING_FREES = 1024;

export interface ImageParts {
  readonly file: Qcow2File;
  readonly header: Qcow2Header;
  readonly layout: Layout;
  readonly l1: Uint8Array;
  readonly refcountTable: Uint8Array;
  readonly settings: RuntimeSettings;
  /** Undefined where there are no snapshots. */
  readonly snapshots: SnapshotTables | undefined;
}

/**
 * Tables change in memory, by whoever holds `mutex`, and go to the file together: `commit`. The order is such that at any moment the
 * file is right but for clusters that are counted and not used:
 *
 *     refcounts, data ─flush─▶ L2 tables ─flush─▶ L1 table ─flush─▶ clusters given up become free
 *
 * so that nothing on stable storage points to a cluster that is not counted, to data or a table that is not there yet, or to a
 * cluster that is another's. With lazy refcounts the first step is left out until the image is closed, and a bit in the header says so.
 */
export class Qcow2Image {
  readonly file: Qcow2File;
  readonly header: Qcow2Header;
  readonly layout: Layout;
  readonly l1: L1Table;
  readonly l2: TableCache;
  readonly refcounts: Refcounts;
  readonly allocator: ClusterAllocator;
  readonly mapping: ClusterMapping;
  /** Of tables, counts and header. */
  readonly mutex: AsyncMutex = new AsyncMutex();
  /** Of where guest clusters are. */
  readonly locks: ClusterLocks = new ClusterLocks();
  /** Refcounts need not be right on disk while the image is marked dirty. */
  readonly lazyRefcounts: boolean;
  /** A discarded cluster keeps its place. */
  readonly discardNoUnref: boolean;
  /** Tables that nobody has used for so long are given up; 0 for never. */
  readonly cacheCleanMs: number;
  /** As the directory in the file has them, when it was last read or written. */
  listedBitmaps: readonly ListedBitmap[] = [];
  /** Internal snapshots, which stay as they are. */
  readonly snapshots: readonly Snapshot[];
  #pendingFrees: { offsetBytes: number; lengthBytes: number; reason: FreeReason }[] = [];
  #corrupt = false;
  #toldDamage = false;
  readonly #guard: MetadataGuard;

  constructor(parts: ImageParts) {
    const { file, header, settings } = parts;
    const layout = slicedLayout(parts.layout, settings.l2SliceBytes);
    this.file = file;
    this.header = header;
    this.snapshots = parts.snapshots?.snapshots ?? [];
    this.layout = layout;
    this.lazyRefcounts = settings.lazyRefcounts;
    this.discardNoUnref = settings.discardNoUnref;
    this.cacheCleanMs = settings.cacheCleanMs;
    this.l1 = new L1Table(header.l1Offset, parts.l1);
    this.l2 = new TableCache({
      file,
      tableBytes: layout.sliceBytes,
      capacity: settings.l2CacheSlices,
      loadEvent: "l2_load",
      updateEvent: "l2_update",
    });
    this.refcounts = new Refcounts({
      file,
      layout,
      tableOffset: header.refcountTableOffset,
      table: parts.refcountTable,
      cacheTables: settings.refcountCacheTables,
      blockAdded: (offsetBytes) => this.#guard.addTable(offsetBytes),
      freed: (offset, length) => this.allocator.discard(offset, length, "other"),
      tableMoved: (offsetBytes, clusters) => {
        header.refcountTableOffset = offsetBytes;
        header.refcountTableClusters = clusters;
        return this.writeHeader();
      },
    });
    this.#guard = new MetadataGuard({
      ...{ header, layout, l1: this.l1, refcounts: this.refcounts },
      checks: settings.overlapChecks,
      snapshots: parts.snapshots,
    });
    this.mapping = new ClusterMapping(layout);
    this.allocator = new ClusterAllocator({
      file,
      layout,
      refcounts: this.refcounts,
      checkFree: (offset, length) => this.checkFree(offset, length),
      passDiscards: settings.passDiscards,
    });
  }

  /** The image was found damaged; it is neither read nor written any more. */
  get corrupt(): boolean {
    return this.#corrupt;
  }

  get dirty(): boolean {
    return this.l1.dirty || this.refcounts.dirty || this.#pendingFrees.length > 0 || this.l2.dirty;
  }

  l1Index(offsetBytes: number): number {
    return Math.floor(offsetBytes / this.layout.l2Reach);
  }

  /** Where the slice of the L2 table is that has an offset; 0 for none. Throws where that can be no table. */
  l2OffsetFor(offsetBytes: number): number {
    const { sliceBytes, clusterBytes } = this.layout;
    const table = this.#l2TableFor(offsetBytes);
    return table === 0 || sliceBytes === clusterBytes ? table : table + this.#sliceStart(offsetBytes);
  }

  /** Of an offset: where its slice begins in its table. */
  #sliceStart(offsetBytes: number): number {
    const { sliceBytes, sliceReach, l2Reach } = this.layout;
    return Math.floor((offsetBytes % l2Reach) / sliceReach) * sliceBytes;
  }

  #l2TableFor(offsetBytes: number): number {
    const index = this.l1Index(offsetBytes);
    const offset = this.l1.l2Offset(index);
    if (offset % this.layout.clusterBytes !== 0)
      throw this.damaged(`L2 table offset ${hex(offset)} unaligned (L1 index: ${hex(index)})`);
    return offset;
  }

  /** The slice of an offset, for who holds the mutex and is about to change it: its table made, or made the active image's own. */
  async l2ForChange(offsetBytes: number): Promise<CachedTable> {
    const index = this.l1Index(offsetBytes);
    const offset = this.#l2TableFor(offsetBytes);
    if (this.l2.crowded) await this.#commit();
    if (offset !== 0 && this.l1.copied(index)) return this.l2.load(offset + this.#sliceStart(offsetBytes));
    const { clusterBytes, sliceBytes } = this.layout;
    const bytes = await this.#copyOfL2(offset);
    const { offsetBytes: own } = await this.allocator.allocate(1);
    try {
      await this.file.event("l2_alloc_write");
      // At once, so that a disk that is full by the next flush has its room: else all that the table maps were lost.
      await this.file.writeBytes(own, bytes);
    } catch (error) {
      await this.allocator.release(own, clusterBytes);
      throw error;
    }
    for (let at = 0; at < clusterBytes; at += sliceBytes) this.l2.add(own + at, bytes.slice(at, at + sliceBytes));
    this.l1.set(index, own);
    this.#guard.addTable(own);
    if (offset !== 0) {
      this.#guard.removeTable(offset);
      this.freeLater(offset, clusterBytes);
    }
    return this.l2.peek(own + this.#sliceStart(offsetBytes))!;
  }

  /** L1 entries from `first` on have no tables any more, where nothing in those is in use. Within the mutex. */
  async dropL2Tables(first: number): Promise<void> {
    const { clusterBytes, l2Reach } = this.layout;
    await this.file.event("l1_shrink_write_table");
    for (let index = first; index < this.l1.entries; index++) {
      const offset = this.#l2TableFor(index * l2Reach);
      if (offset === 0) continue;
      await this.beginChange();
      this.l1.set(index, 0);
      this.#guard.removeTable(offset);
      this.freeLater(offset, clusterBytes, "resize");
    }
    await this.file.event("l1_shrink_free_l2_clusters");
    await this.#commit();
  }

  /** What a table says that others may share; an empty one where there is none. */
  async #copyOfL2(offsetBytes: number): Promise<Uint8Array> {
    if (offsetBytes === 0) return new Uint8Array(this.layout.clusterBytes);
    await this.file.event("l2_alloc_cow_read");
    return (await this.wholeL2(offsetBytes)).bytes.slice();
  }

  /** A table as it is now, in one piece, that is not kept where it was not in memory. Not to be changed. */
  async wholeL2(offsetBytes: number): Promise<CachedTable> {
    const { clusterBytes, sliceBytes } = this.layout;
    const there = this.l2.peek(offsetBytes);
    if (there !== undefined && sliceBytes === clusterBytes) return there;
    const bytes = await this.file.readBytes(offsetBytes, clusterBytes);
    for (let at = 0; at < clusterBytes; at += sliceBytes) {
      const slice = this.l2.peek(offsetBytes + at);
      if (slice !== undefined) bytes.set(slice.bytes, at);
    }
    return new CachedTable(offsetBytes, bytes);
  }

  /** A use of a range ends when what the tables say now is on stable storage. */
  freeLater(offsetBytes: number, lengthBytes: number, reason: FreeReason = "other"): void {
    const last = this.#pendingFrees.at(-1);
    const follows = last?.reason === reason && last.offsetBytes + last.lengthBytes === offsetBytes;
    if (follows && offsetBytes % this.layout.clusterBytes === 0) last.lengthBytes += lengthBytes;
    else this.#pendingFrees.push({ offsetBytes, lengthBytes, reason });
  }

  /** As much waits in memory as may. */
  get crowded(): boolean {
    return this.#pendingFrees.length >= MAX_PENDING_FREES || this.l2.crowded;
  }

  /** After a change, while the mutex is held: keeps what waits in memory within its limits. */
  async settleIfCrowded(): Promise<void> {
    if (this.crowded) await this.#commit();
  }

  /** All that was changed is on stable storage when it is done. */
  flush(): void | Promise<void> {
    if (!this.dirty) return this.file.flush();
    return this.mutex.run(() => this.#commit());
  }

  /** As `flush`, for who holds the mutex. */
  async commitWithin(): Promise<void> {
    await this.#commit();
  }

  /** As `flush`, with nothing left to be done: counts are exact, and the header says so. */
  settle(): Promise<void> {
    return this.mutex.run(() => this.settleWithin());
  }

  /** As `settle`, for who holds the mutex. */
  async settleWithin(): Promise<void> {
    if (this.dirty) await this.#commit();
    if (this.refcounts.dirty) await this.refcounts.writeOut();
    await this.file.flush();
    if ((this.header.incompatible & INCOMPAT_DIRTY) === 0n || this.#corrupt) return;
    this.header.incompatible &= ~INCOMPAT_DIRTY;
    await this.writeHeader();
  }

  /** What `beginChange` does is done. */
  get changing(): boolean {
    return !this.#corrupt && (!this.lazyRefcounts || (this.header.incompatible & INCOMPAT_DIRTY) !== 0n);
  }

  /** Before the first count changes: with lazy refcounts the header says that counts may be wrong. Within the mutex. */
  async beginChange(): Promise<void> {
    if (this.#corrupt) throw new BlockError("EIO");
    if (this.changing) return;
    this.header.incompatible |= INCOMPAT_DIRTY;
    await this.writeHeader();
  }

  /** Writes the header, and flushes it. Within the mutex. */
  async writeHeader(): Promise<void> {
    await this.file.writeBytes(0, serialiseHeader(this.header));
    await this.file.flush();
  }

  /**
   * The image contradicts itself. One that may be written to is marked so that nobody writes to it, and every request fails from now
   * on; of one that is only read, what is not damaged can be read all the same.
   */
  damaged(reason: string, range?: DamagedRange): BlockError {
    if (imageCorrupted.enabled) imageCorrupted.emit({ node: this.file.node.name, reason });
    const fatal = this.isWritable();
    if (!this.#corrupt && (fatal || !this.#toldDamage)) {
      this.#toldDamage = true;
      this.#corrupt = fatal;
      this.onDamage?.({ reason, fatal, range });
    }
    return new BlockError("EIO", `qcow2: ${reason}`);
  }

  /** Called once, when damage is found. */
  onDamage: ((damage: ImageDamage) => void) | undefined;
  /** As the driver says; until there is one, as the file is. */
  isWritable: () => boolean = () => !this.file.node.readOnly;

  /** Sets the corrupt bit, where version and permissions allow that. */
  async markCorrupt(): Promise<void> {
    if (this.layout.version < 3 || this.file.node.readOnly) return;
    this.header.incompatible |= INCOMPAT_CORRUPT;
    await this.mutex.run(() => this.writeHeader());
  }

  /** An L2 entry means nothing. */
  invalidEntry(table: CachedTable, index: number): BlockError {
    const host = this.mapping.hostCluster(table, index);
    const { clusterBytes, l2EntryBytes } = this.layout;
    const before = table.offsetBytes % clusterBytes;
    const where = `(L2 offset: ${hex(table.offsetBytes - before)}, L2 index: ${hex(before / l2EntryBytes + index)})`;
    const unaligned = host % clusterBytes !== 0;
    return this.damaged(
      unaligned ? `Cluster allocation offset ${hex(host)} unaligned ${where}` : `Invalid cluster entry found ${where}`,
    );
  }

  /** Throws where a range is not for data, for who is about to write data there. */
  checkFree(offsetBytes: number, lengthBytes: number): void {
    const found = this.#guard.metadataIn(offsetBytes, lengthBytes);
    // Whatever is checked: no entry can point to where the header is.
    if (found === undefined && offsetBytes === 0)
      throw this.damaged("Preventing invalid allocation of a cluster at offset 0", { offsetBytes, lengthBytes });
    if (found === undefined) return;
    throw this.damaged(`Preventing invalid write on metadata (overlaps with ${found})`, { offsetBytes, lengthBytes });
  }

  /** Writes everything that changed, in the order that is told above. */
  async #commit(): Promise<void> {
    if (this.#corrupt) throw new BlockError("EIO");
    if (!this.lazyRefcounts) await this.refcounts.writeOut();
    await this.file.flush();
    const tables = this.l2.dirty;
    if (tables) await this.l2.writeOut();
    if (this.l1.dirty) {
      if (tables) await this.file.flush();
      await this.l1.writeOut(this.file);
      await this.file.flush();
    } else if (tables) await this.file.flush();
    const frees = this.#pendingFrees;
    this.#pendingFrees = [];
    for (const { offsetBytes, lengthBytes, reason } of frees)
      await this.allocator.release(offsetBytes, lengthBytes, reason);
  }
}

export function hex(value: number): string {
  return value === 0 ? "0" : `0x${value.toString(16)}`;
}

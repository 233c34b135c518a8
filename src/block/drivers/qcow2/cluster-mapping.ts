// From an offset of the disk to what the image has for it: L2 entries, standard and extended. docs/reference/persistence-migration.md §1.2.

import {
  entryOffset,
  highWord,
  type Layout,
  lowWord,
  OFLAG_COMPRESSED_HIGH,
  OFLAG_COPIED_HIGH,
  OFLAG_ZERO_LOW,
  SUBCLUSTERS,
} from "./format.ts";
import type { CachedTable } from "./table-cache.ts";

/** Nothing of its own: what is below shows. */
export const UNALLOCATED = 0;
/** Reads as zeroes, whatever is below. */
export const ZERO = 1;
/** Data at a host offset. */
export const NORMAL = 2;
export const COMPRESSED = 3;
/** No entry means that: the image is damaged. */
export const INVALID = 4;
export type ClusterKind = typeof UNALLOCATED | typeof ZERO | typeof NORMAL | typeof COMPRESSED | typeof INVALID;

const ALL_SUBCLUSTERS = 0xffff_ffff;

/** What L2 tables of one image say. Made once per image; the fields are the answer of the latest question. */
export class ClusterMapping {
  readonly #layout: Layout;
  /** Of `find`. */
  kind: ClusterKind = UNALLOCATED;
  /** Of `find`: where the first byte is, of NORMAL data; 0 otherwise. */
  hostOffset = 0;
  /** Of `find`: bytes from the offset on that are of the same kind, and in one piece if NORMAL. */
  lengthBytes = 0;
  /** Of `find`: data that may be overwritten where they are. */
  writable = false;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  indexOf(offsetBytes: number): number {
    return Math.floor(offsetBytes / this.#layout.clusterBytes) % this.#layout.sliceEntries;
  }

  /** Looks up to `maxBytes` from `offsetBytes` on, as far as one table says. `writable` data end where others begin. */
  find(table: CachedTable, offsetBytes: number, maxBytes: number): void {
    const { clusterBytes, unitBytes, sliceEntries } = this.#layout;
    const inUnit = offsetBytes % unitBytes;
    let index = this.indexOf(offsetBytes);
    let unit = ((offsetBytes % clusterBytes) - inUnit) / unitBytes;
    const kind = this.#classify(table, index, unit);
    const host = this.hostOffset;
    const writable = this.writable;
    const unitsPerCluster = clusterBytes / unitBytes;
    let length = unitBytes - inUnit;
    let nextHost = host + unitBytes;
    while (length < maxBytes && kind !== COMPRESSED && kind !== INVALID) {
      if (++unit === unitsPerCluster) {
        unit = 0;
        if (++index === sliceEntries) break;
      }
      if (this.#classify(table, index, unit) !== kind) break;
      if (kind === NORMAL && (this.hostOffset !== nextHost || this.writable !== writable)) break;
      length += unitBytes;
      nextHost += unitBytes;
    }
    this.kind = kind;
    this.hostOffset = kind === NORMAL ? host + inUnit : 0;
    this.writable = writable;
    this.lengthBytes = Math.min(length, maxBytes);
    if (kind === COMPRESSED) this.lengthBytes = Math.min(clusterBytes - (offsetBytes % clusterBytes), maxBytes);
  }

  /** The kind of one unit; sets `hostOffset`, of its first byte, and `writable`. */
  #classify(table: CachedTable, index: number, unit: number): ClusterKind {
    const { extended, l2EntryBytes, unitBytes, version, clusterBytes } = this.#layout;
    const at = index * l2EntryBytes;
    const high = table.view.getUint32(at);
    const low = table.view.getUint32(at + 4);
    this.hostOffset = 0;
    this.writable = false;
    if ((high & OFLAG_COMPRESSED_HIGH) !== 0) return COMPRESSED;
    const host = entryOffset(high, low);
    if (extended) {
      const allocated = bit(table.view.getUint32(at + 12), unit);
      const zero = bit(table.view.getUint32(at + 8), unit);
      if (host % clusterBytes !== 0 || (allocated && (zero || host === 0))) return INVALID;
      if (zero) return ZERO;
      if (!allocated) return UNALLOCATED;
    } else {
      if (version >= 3 && (low & OFLAG_ZERO_LOW) !== 0) return host % clusterBytes === 0 ? ZERO : INVALID;
      if (host === 0) return UNALLOCATED;
      if (host % clusterBytes !== 0) return INVALID;
    }
    this.hostOffset = host + unit * unitBytes;
    this.writable = (high & OFLAG_COPIED_HIGH) !== 0;
    return NORMAL;
  }

  /** The cluster that an entry has, whatever it holds; 0 for none, and of compressed ones. */
  hostCluster(table: CachedTable, index: number): number {
    const at = index * this.#layout.l2EntryBytes;
    const high = table.view.getUint32(at);
    return (high & OFLAG_COMPRESSED_HIGH) !== 0 ? 0 : entryOffset(high, table.view.getUint32(at + 4));
  }

  isCompressed(table: CachedTable, index: number): boolean {
    return (table.view.getUint32(index * this.#layout.l2EntryBytes) & OFLAG_COMPRESSED_HIGH) !== 0;
  }

  /** Of an entry that is not compressed: bits that mean nothing in any version. */
  hasReservedBits(table: CachedTable, index: number): boolean {
    const at = index * this.#layout.l2EntryBytes;
    return (table.view.getUint32(at) & 0x3f00_0000) !== 0 || (table.view.getUint32(at + 4) & 0x1fe) !== 0;
  }

  /** The cluster is this entry's alone. */
  isCopied(table: CachedTable, index: number): boolean {
    return (table.view.getUint32(index * this.#layout.l2EntryBytes) & OFLAG_COPIED_HIGH) !== 0;
  }

  /** The low and high halves of an extended entry's bitmap: subclusters that hold data, and that read as zeroes. */
  allocatedBits(table: CachedTable, index: number): number {
    return table.view.getUint32(index * 16 + 12);
  }

  zeroBits(table: CachedTable, index: number): number {
    return table.view.getUint32(index * 16 + 8);
  }

  /** Of a compressed cluster: where its data begin, and how many bytes its sectors have from there on. */
  compressedRange(table: CachedTable, index: number): { offsetBytes: number; lengthBytes: number } {
    const entry = table.view.getBigUint64(index * this.#layout.l2EntryBytes);
    const shift = BigInt(62 - (this.#layout.clusterBits - 8));
    const offsetBytes = Number(entry & ((1n << shift) - 1n));
    const sectors = Number((entry & ((1n << 62n) - 1n)) >> shift) + 1;
    return { offsetBytes, lengthBytes: sectors * 512 - (offsetBytes % 512) };
  }

  /** Makes an entry point to a cluster of its own that holds data: all of it, or the subclusters in `allocated`. */
  setHost(table: CachedTable, index: number, host: number, bits?: { allocated: number; zero: number }): void {
    this.#write(table, index, (highWord(host) | OFLAG_COPIED_HIGH) >>> 0, lowWord(host));
    if (this.#layout.extended) this.#writeBits(table, index, bits?.allocated ?? ALL_SUBCLUSTERS, bits?.zero ?? 0);
  }

  setCompressed(table: CachedTable, index: number, offsetBytes: number, lengthBytes: number): void {
    const shift = BigInt(62 - (this.#layout.clusterBits - 8));
    const sectors = Math.floor((offsetBytes + lengthBytes - 1) / 512) - Math.floor(offsetBytes / 512);
    const entry = (1n << 62n) | (BigInt(sectors) << shift) | BigInt(offsetBytes);
    this.#write(table, index, Number(entry >> 32n), Number(entry & 0xffff_ffffn));
    if (this.#layout.extended) this.#writeBits(table, index, 0, 0);
  }

  /** Nothing of its own any more. */
  clear(table: CachedTable, index: number): void {
    this.#write(table, index, 0, 0);
    if (this.#layout.extended) this.#writeBits(table, index, 0, 0);
  }

  /** All of the cluster reads as zeroes. The cluster that it has it keeps, or not. */
  setZero(table: CachedTable, index: number, keepHost: boolean): void {
    const at = index * this.#layout.l2EntryBytes;
    const high = keepHost ? table.view.getUint32(at) : 0;
    const low = keepHost ? table.view.getUint32(at + 4) : 0;
    this.#write(table, index, high, this.#layout.extended ? low : (low | OFLAG_ZERO_LOW) >>> 0);
    if (this.#layout.extended) this.#writeBits(table, index, 0, ALL_SUBCLUSTERS);
  }

  /** Subclusters `from` to `to` - 1 of an extended entry read as zeroes, or have nothing of their own. */
  setSubclusters(table: CachedTable, index: number, from: number, to: number, zero: boolean): void {
    const mask = maskOf(from, to);
    const zeroes = this.zeroBits(table, index);
    this.#writeBits(
      table,
      index,
      (this.allocatedBits(table, index) & ~mask) >>> 0,
      (zero ? zeroes | mask : zeroes & ~mask) >>> 0,
    );
  }

  #write(table: CachedTable, index: number, high: number, low: number): void {
    const at = index * this.#layout.l2EntryBytes;
    table.view.setUint32(at, high);
    table.view.setUint32(at + 4, low);
    table.markDirty(at, at + 8);
  }

  #writeBits(table: CachedTable, index: number, allocated: number, zero: number): void {
    const at = index * 16;
    table.view.setUint32(at + 8, zero);
    table.view.setUint32(at + 12, allocated);
    table.markDirty(at, at + 16);
  }
}

/** Bits `from` to `to` - 1, of 32. */
export function maskOf(from: number, to: number): number {
  if (to <= from) return 0;
  const upTo = to >= SUBCLUSTERS ? ALL_SUBCLUSTERS : 2 ** to - 1;
  return (upTo & ~(2 ** from - 1)) >>> 0;
}

function bit(bits: number, index: number): boolean {
  return ((bits >>> index) & 1) !== 0;
}

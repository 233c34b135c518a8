// The shapes and limits of a qcow2 image: docs/reference/persistence-migration.md §1, and the public qcow2 specification it follows.

/** `QFI\xfb`. */
export const QCOW2_MAGIC = 0x514649fb;
/** Subclusters are no smaller than a sector. */
export const MIN_EXTENDED_CLUSTER_BITS = 14;
export const MAX_REFCOUNT_ORDER = 6;
/** Of the active L1 table, in bytes. */
export const MAX_L1_BYTES: number = 32 << 20;
export const MAX_REFCOUNT_TABLE_BYTES: number = 8 << 20;
export const MAX_SNAPSHOTS = 65536;
export const MAX_BACKING_NAME_BYTES = 1023;

/** Of L1 and standard L2 entries, in the upper of two 32-bit words: the refcount of what it points to is exactly 1. */
export const OFLAG_COPIED_HIGH = 0x8000_0000;
/** Of L2 entries, in the upper word. */
export const OFLAG_COMPRESSED_HIGH = 0x4000_0000;
/** Of L2 entries, in the lower word: version 3, and not of extended ones. */
export const OFLAG_ZERO_LOW = 1;
/** Bits 9 to 55. */
const OFFSET_HIGH = 0x00ff_ffff;
const OFFSET_LOW = 0xffff_fe00;

export const SUBCLUSTERS = 32;

/** Where host data end at the most: bit 56 of an entry is not an offset's. */
export const MAX_HOST_BYTES: number = 2 ** 53;

/** How an image divides its bytes. */
export interface Layout {
  readonly version: number;
  readonly clusterBits: number;
  readonly clusterBytes: number;
  /** 8, or 16 of extended L2 tables. */
  readonly l2EntryBytes: number;
  /** Clusters that one L2 table maps. */
  readonly l2Entries: number;
  /** Guest bytes that one L2 table maps. */
  readonly l2Reach: number;
  /** L2 tables are read and kept in slices of so many bytes, a table by default; */
  readonly sliceBytes: number;
  /** which map so many clusters, */
  readonly sliceEntries: number;
  /** and so many guest bytes. */
  readonly sliceReach: number;
  readonly extended: boolean;
  /** The unit that is allocated or not: a subcluster, or a cluster. */
  readonly unitBytes: number;
  readonly refcountOrder: number;
  /** Clusters that one refcount block counts. */
  readonly refcountsPerBlock: number;
}

export function layoutOf(options: {
  version: number;
  clusterBits: number;
  extended: boolean;
  refcountOrder: number;
}): Layout {
  const { version, clusterBits, extended, refcountOrder } = options;
  const clusterBytes = 2 ** clusterBits;
  const l2EntryBytes = extended ? 16 : 8;
  const l2Entries = clusterBytes / l2EntryBytes;
  return {
    version,
    clusterBits,
    clusterBytes,
    l2EntryBytes,
    l2Entries,
    l2Reach: l2Entries * clusterBytes,
    ...slicesOf(clusterBytes, l2EntryBytes, clusterBytes),
    extended,
    unitBytes: extended ? clusterBytes / SUBCLUSTERS : clusterBytes,
    refcountOrder,
    refcountsPerBlock: (clusterBytes * 8) / 2 ** refcountOrder,
  };
}

/** The layout of an image whose L2 tables are kept in slices of that size. */
export function slicedLayout(layout: Layout, sliceBytes: number): Layout {
  return { ...layout, ...slicesOf(sliceBytes, layout.l2EntryBytes, layout.clusterBytes) };
}

function slicesOf(
  sliceBytes: number,
  entryBytes: number,
  clusterBytes: number,
): Pick<Layout, "sliceBytes" | "sliceEntries" | "sliceReach"> {
  const sliceEntries = sliceBytes / entryBytes;
  return { sliceBytes, sliceEntries, sliceReach: sliceEntries * clusterBytes };
}

/** Of an entry of an L1 table: all bits but the offset's and the flag. */
export function hasReservedL1Bits(high: number, low: number): boolean {
  return (high & 0x7f00_0000) !== 0 || (low & 0x1ff) !== 0;
}

/** The offset in an L1, L2 or refcount table entry: exact, for its low nine bits are none of it. */
export function entryOffset(high: number, low: number): number {
  return (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);
}

export function highWord(value: number): number {
  return Math.floor(value / 2 ** 32);
}

export function lowWord(value: number): number {
  return value % 2 ** 32;
}

/** A 64-bit number; inexact beyond 2^53, which no valid image has. */
export function getUint64(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}

export function setUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, highWord(value));
  view.setUint32(at + 4, lowWord(value));
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

export function roundDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}

// What of a qcow2 file no data may be written to, as far as the node's `overlap-check` says so.

import { BlockError } from "../../../base/errors.ts";
import { bitmapsExtension } from "./bitmap-extension.ts";
import { ClusterRanges } from "./cluster-ranges.ts";
import { entryOffset, type Layout, viewOf } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import type { Qcow2File } from "./image-file.ts";
import type { L1Table } from "./l1-table.ts";
import { MetadataMap } from "./metadata-map.ts";
import type { OverlapChecks } from "./overlap-checks.ts";
import type { Refcounts } from "./refcounts.ts";
import type { Snapshot } from "./snapshots.ts";

/** The tables of internal snapshots, which stay where they are. */
export interface SnapshotTables {
  readonly snapshots: readonly Snapshot[];
  readonly tableBytes: number;
  readonly l1: ClusterRanges;
  readonly l2: ClusterRanges;
}

/** L1 entries of all snapshots that are read to know their L2 tables. */
const MAX_INACTIVE_ENTRIES = 1 << 22;
const PIECE_BYTES = 1 << 20;

/** Reads the L1 tables of the snapshots if they are to tell of L2 tables. EFBIG where those are too many to be kept in mind. */
export async function readSnapshotTables(
  file: Qcow2File,
  { clusterBytes }: Layout,
  checks: OverlapChecks,
  { snapshots, tableBytes }: { readonly snapshots: readonly Snapshot[]; readonly tableBytes: number },
): Promise<SnapshotTables> {
  const l1 = snapshots.map(({ l1Offset, l1Entries }) => ({ offsetBytes: l1Offset, lengthBytes: l1Entries * 8 }));
  const tables = new Set<number>();
  if (checks.inactiveL2) {
    if (snapshots.reduce((sum, { l1Entries }) => sum + l1Entries, 0) > MAX_INACTIVE_ENTRIES)
      throw new BlockError("EFBIG", "The snapshots have too many L2 tables for overlap-check=all");
    for (const { offsetBytes, lengthBytes } of l1)
      for (let done = 0; done < lengthBytes; done += PIECE_BYTES) {
        const piece = viewOf(await file.readBytes(offsetBytes + done, Math.min(PIECE_BYTES, lengthBytes - done)));
        for (let at = 0; at < piece.byteLength; at += 8)
          tables.add(entryOffset(piece.getUint32(at), piece.getUint32(at + 4)));
      }
    tables.delete(0);
  }
  const l2 = [...tables].map((offsetBytes) => ({ offsetBytes, lengthBytes: clusterBytes }));
  return { snapshots, tableBytes, l1: new ClusterRanges(l1), l2: new ClusterRanges(l2) };
}

/** Knows where the tables are at any moment. */
export class MetadataGuard {
  readonly #header: Qcow2Header;
  readonly #clusterBytes: number;
  readonly #l1: L1Table;
  readonly #refcounts: Refcounts;
  readonly #checks: OverlapChecks;
  readonly #snapshots: SnapshotTables | undefined;
  /** L2 tables and refcount blocks. */
  readonly #tables: MetadataMap;

  constructor(options: {
    header: Qcow2Header;
    layout: Layout;
    l1: L1Table;
    refcounts: Refcounts;
    checks: OverlapChecks;
    /** Undefined where there are none. */
    snapshots: SnapshotTables | undefined;
  }) {
    const { header, layout, l1, refcounts, checks, snapshots } = options;
    this.#header = header;
    this.#clusterBytes = layout.clusterBytes;
    this.#l1 = l1;
    this.#refcounts = refcounts;
    this.#checks = checks;
    this.#snapshots = snapshots;
    this.#tables = new MetadataMap(layout.clusterBytes);
    for (let i = 0; i < l1.entries; i++) this.#note(l1.l2Offset(i));
    for (let i = 0; i < refcounts.blocks; i++) this.#note(refcounts.blockOffset(i));
  }

  /** There is an L2 table or a refcount block from now on. */
  addTable(offsetBytes: number): void {
    this.#tables.add(offsetBytes);
  }

  removeTable(offsetBytes: number): void {
    this.#tables.remove(offsetBytes);
  }

  /** Why nobody may write to the range as to data or a new table; undefined where one may. */
  metadataIn(offsetBytes: number, lengthBytes: number): string | undefined {
    const checks = this.#checks;
    const end = offsetBytes + lengthBytes;
    const { tableOffset, tableBytes } = this.#refcounts;
    if (checks.mainHeader && overlap(offsetBytes, end, 0, this.#clusterBytes)) return "qcow2_header";
    if (checks.activeL1 && overlap(offsetBytes, end, this.#l1.offsetBytes, this.#l1.entries * 8))
      return "active L1 table";
    if (checks.refcountTable && overlap(offsetBytes, end, tableOffset, tableBytes)) return "refcount table";
    if (checks.bitmapDirectory) {
      const bitmaps = bitmapsExtension(this.#header);
      if (bitmaps !== undefined && overlap(offsetBytes, end, bitmaps.directoryOffset, bitmaps.directoryBytes))
        return "bitmap directory";
    }
    if (this.#snapshots !== undefined) {
      const found = this.#snapshotTableIn(this.#snapshots, offsetBytes, end);
      if (found !== undefined) return found;
    }
    if (this.#tables.overlaps(offsetBytes, lengthBytes) === false) return undefined;
    if (checks.activeL2 && this.#l1.overlapping(offsetBytes, end, this.#clusterBytes) !== undefined)
      return "active L2 table";
    if (checks.refcountBlock && this.#refcounts.blockWithin(offsetBytes, end)) return "refcount block";
    return undefined;
  }

  #snapshotTableIn(tables: SnapshotTables, start: number, end: number): string | undefined {
    const { snapshotsOffset } = this.#header;
    const inTable = start < snapshotsOffset + tables.tableBytes && snapshotsOffset < end;
    if (this.#checks.snapshotTable && inTable) return "snapshot table";
    if (this.#checks.inactiveL1 && tables.l1.overlaps(start, end)) return "inactive L1 table";
    if (this.#checks.inactiveL2 && tables.l2.overlaps(start, end)) return "inactive L2 table";
    return undefined;
  }

  #note(offsetBytes: number): void {
    if (offsetBytes !== 0) this.#tables.add(offsetBytes);
  }
}

/** `[start, end)` and `length` bytes from `offset` on have some in common. */
function overlap(start: number, end: number, offset: number, length: number): boolean {
  return offset < end && start < offset + length;
}

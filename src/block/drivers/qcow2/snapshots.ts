// The internal snapshots of a qcow2 image, which are kept as they are: what they share with the disk is counted more than once.

import { BlockError } from "../../../base/errors.ts";
import { getUint64, MAX_HOST_BYTES, MAX_L1_BYTES, viewOf } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import type { Qcow2File } from "./image-file.ts";

const ENTRY_BYTES = 40;
const MAX_TABLE_BYTES = 64 << 20;
const MAX_EXTRA_BYTES = 1024;
/** The size of the machine's state in 64 bits, and that of the disk. */
const COMPLETE_EXTRA_BYTES = 16;
/** In place of a count of instructions. */
const NO_COUNT = 2n ** 64n - 1n;
/** Names are read together with what stands around them. */
const PIECE_BYTES = 64 << 10;

/** A snapshot: what of it there is to count, and what there is to tell. */
export interface Snapshot {
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** It has what each snapshot of version 3 has. */
  readonly complete: boolean;
  readonly id: string;
  readonly name: string;
  /** When it was taken: seconds since 1970, and nanoseconds. */
  readonly dateSeconds: number;
  readonly dateNanoseconds: number;
  /** How long the machine had run by then, in nanoseconds. */
  readonly vmClock: bigint;
  readonly vmStateBytes: bigint;
  /** Instructions that the machine had carried out; undefined where nobody counted. */
  readonly instructionCount: bigint | undefined;
}

/** The table, with how many bytes it has. Throws a `BlockError` where it is damaged. */
export async function readSnapshots(
  file: Qcow2File,
  header: Qcow2Header,
): Promise<{ readonly snapshots: readonly Snapshot[]; readonly tableBytes: number }> {
  const { snapshotCount, snapshotsOffset, clusterBits } = header;
  const snapshots: Snapshot[] = [];
  let at = 0;
  for (let i = 0; i < snapshotCount; i++) {
    const start = snapshotsOffset + at;
    if (at > MAX_TABLE_BYTES) throw new BlockError("EFBIG", "Snapshot table is too big");
    if (start + ENTRY_BYTES > file.lengthBytes) throw new BlockError("EINVAL", "Could not read snapshots");
    const bytes = await file.readBytes(start, ENTRY_BYTES);
    const view = viewOf(bytes);
    const extra = view.getUint32(36);
    const idBytes = view.getUint16(12);
    const nameBytes = view.getUint16(14);
    if (extra > MAX_EXTRA_BYTES) throw new BlockError("EINVAL", "Too much extra metadata in snapshot table entry");
    const more = viewOf(await file.readBytes(start + ENTRY_BYTES, extra));
    const names = await file.readBytes(start + ENTRY_BYTES + extra, Math.min(idBytes + nameBytes, 2 * PIECE_BYTES));
    const count = extra >= 24 ? more.getBigUint64(16) : NO_COUNT;
    const snapshot: Snapshot = {
      l1Offset: getUint64(view, 0),
      l1Entries: view.getUint32(8),
      complete: header.version < 3 || extra >= COMPLETE_EXTRA_BYTES,
      id: new TextDecoder().decode(names.subarray(0, idBytes)),
      name: new TextDecoder().decode(names.subarray(idBytes)),
      dateSeconds: view.getUint32(16),
      dateNanoseconds: view.getUint32(20),
      vmClock: view.getBigUint64(24),
      vmStateBytes: extra >= 8 ? more.getBigUint64(0) : BigInt(view.getUint32(32)),
      instructionCount: count === NO_COUNT ? undefined : count,
    };
    const aligned = snapshot.l1Offset % 2 ** clusterBits === 0 && snapshot.l1Offset < MAX_HOST_BYTES;
    if (snapshot.l1Entries * 8 > MAX_L1_BYTES) throw new BlockError("EFBIG", "Snapshot L1 table too large");
    if (!aligned) throw new BlockError("EINVAL", "Snapshot L1 table offset invalid");
    snapshots.push(snapshot);
    at += Math.ceil((ENTRY_BYTES + extra + idBytes + nameBytes) / 8) * 8;
  }
  return { snapshots, tableBytes: at };
}

// Backups to and from qcow2 beside a real QEMU's: rows 10 and 12 of docs/performance.md.

import { join } from "node:path";
import { compareBackups } from "./backup-comparison.ts";
import { GIB, inFolder, MIB, makeFullImage } from "./images.ts";
import { makeQcow2Image } from "./qcow2-images.ts";
import type { BenchTable } from "./report.ts";

const ROUNDS = 5;
const SPARSE_BYTES = 8 * GIB;
const SPARSE_PIECES = 64;

/** In a folder below `parent`, which has room for 2 GiB. */
export async function qcow2BackupBenchmarks(parent: string): Promise<BenchTable[]> {
  return [await inFolder(parent, fullToQcow2), await inFolder(parent, topOfQcow2)];
}

/** Row 10. */
function fullToQcow2(folder: string): Promise<BenchTable> {
  makeFullImage(join(folder, "source.img"), GIB);
  const title = "Full backup of 1 GiB, raw to qcow2 (row 10); all of the source cached";
  const comparison = { title, folder, targetBytes: GIB, targetFormat: "qcow2", rounds: ROUNDS } as const;
  return compareBackups(comparison, (peer) => peer.backUp({ sync: "full" }));
}

/** Row 12, from qcow2. */
async function topOfQcow2(folder: string): Promise<BenchTable> {
  await makeQcow2Image(join(folder, "base.img"), SPARSE_BYTES);
  const content = { backingFile: "base.img", pieces: SPARSE_PIECES, pieceBytes: MIB };
  await makeQcow2Image(join(folder, "source.img"), SPARSE_BYTES, content);
  const title = "Top image of a chain, 8 GiB with 64 MiB of data, qcow2 to qcow2 (row 12)";
  const formats = { sourceFormat: "qcow2", targetFormat: "qcow2" } as const;
  return compareBackups({ title, folder, targetBytes: SPARSE_BYTES, ...formats }, (peer) =>
    peer.backUp({ sync: "top" }),
  );
}

// Backups that have little to copy: what a bitmap holds (row 11 of docs/performance.md), and a sparse image (row 12).

import { join } from "node:path";
import { compareBackups } from "./backup-comparison.ts";
import type { BlockPeer } from "./block-peer.ts";
import { GIB, inFolder, MIB, makeFullImage, makeSparseImage, shuffled } from "./images.ts";
import type { BenchTable } from "./report.ts";

const CLUSTER_BYTES = 65536;
const SPARSE_BYTES = 8 * GIB;
const SPARSE_PIECES = 64;

/** Row 11. In a folder below `parent`, which has room for 1.2 GiB. */
export function incrementalBenchmarks(parent: string): Promise<BenchTable[]> {
  return inFolder(parent, async (folder) => {
    makeFullImage(join(folder, "source.img"), GIB);
    const run = async (percent: number): Promise<BenchTable> => {
      const clusters = Math.round(((GIB / CLUSTER_BYTES) * percent) / 100);
      const title = `Incremental backup, ${percent} % of 1 GiB dirty in random clusters of 64 KiB (row 11)`;
      return compareBackups({ title, folder, targetBytes: GIB }, (peer) =>
        incremental(peer, shuffled(GIB / CLUSTER_BYTES, clusters)),
      );
    };
    return [await run(1), await run(10)];
  });
}

/** Row 12, from raw. In a folder below `parent`, which has room for 200 MiB and for files of 8 GiB. */
export function sparseBenchmarks(parent: string): Promise<BenchTable[]> {
  return inFolder(parent, async (folder) => {
    makeSparseImage(join(folder, "source.img"), SPARSE_BYTES, SPARSE_PIECES, MIB);
    const title = "Full backup of 8 GiB with 64 MiB of data, sparse raw to raw (row 12)";
    return [
      await compareBackups({ title, folder, targetBytes: SPARSE_BYTES }, (peer) => peer.backUp({ sync: "full" })),
    ];
  });
}

async function incremental(peer: BlockPeer, clusters: readonly number[]): Promise<number> {
  const bitmap = { node: "source", name: "changes", granularity: CLUSTER_BYTES };
  await peer.qmp.execute("block-dirty-bitmap-add", bitmap);
  for (const cluster of clusters) await peer.write("source", cluster * CLUSTER_BYTES, CLUSTER_BYTES);
  return peer.backUp({ sync: "incremental", bitmap: "changes" });
}

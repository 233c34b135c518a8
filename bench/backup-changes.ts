// Backups that have little to copy: what a bitmap holds (row 11 of docs/performance.md), and a sparse image (row 12).

import { statSync } from "node:fs";
import { join } from "node:path";
import { type BlockPeer, OURS, QEMUS, withPeers } from "./block-peer.ts";
import { GIB, inFolder, MIB, makeEmptyImage, makeFullImage, makeSparseImage, shuffled } from "./images.ts";
import { type BenchTable, median, ms, ratioOf } from "./report.ts";

const ROUNDS = 7;
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
      return compare(title, folder, GIB, (peer) => incremental(peer, shuffled(GIB / CLUSTER_BYTES, clusters)));
    };
    return [await run(1), await run(10)];
  });
}

/** Row 12, from raw. In a folder below `parent`, which has room for 200 MiB and for files of 8 GiB. */
export function sparseBenchmarks(parent: string): Promise<BenchTable[]> {
  return inFolder(parent, async (folder) => {
    makeSparseImage(join(folder, "source.img"), SPARSE_BYTES, SPARSE_PIECES, MIB);
    const title = "Full backup of 8 GiB with 64 MiB of data, sparse raw to raw (row 12)";
    return [await compare(title, folder, SPARSE_BYTES, (peer) => peer.backUp({ sync: "full" }))];
  });
}

async function incremental(peer: BlockPeer, clusters: readonly number[]): Promise<number> {
  const bitmap = { node: "source", name: "changes", granularity: CLUSTER_BYTES };
  await peer.qmp.execute("block-dirty-bitmap-add", bitmap);
  for (const cluster of clusters) await peer.write("source", cluster * CLUSTER_BYTES, CLUSTER_BYTES);
  return peer.backUp({ sync: "incremental", bitmap: "changes" });
}

function compare(
  title: string,
  folder: string,
  targetBytes: number,
  backUp: (peer: BlockPeer) => Promise<number>,
): Promise<BenchTable> {
  return withPeers([OURS, ...QEMUS], async (peers) => {
    const target = join(folder, "target.img");
    const times = peers.map((): number[] => []);
    const allocated = peers.map(() => 0);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, peer] of peers.entries()) {
        makeEmptyImage(target, targetBytes);
        await peer.add("source", join(folder, "source.img"));
        await peer.add("target", target);
        times[i]!.push(await backUp(peer));
        allocated[i] = statSync(target).blocks * 512;
        for (const node of ["source", "target"]) await peer.remove(node);
      }
    }
    return {
      title,
      columns: ["who", "median", "best", "worst", "target holds", "virtio-blk is"],
      rows: peers.map(({ name }, i) => {
        const all = times[i]!;
        const size = `${Math.round(allocated[i]! / MIB).toLocaleString("en-US")} MiB`;
        const figures = [median(all), Math.min(...all), Math.max(...all)].map(ms);
        return [name, ...figures, size, `${ratioOf(all, times[0]!)} as fast`];
      }),
    };
  });
}

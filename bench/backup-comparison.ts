// One backup done by each peer in turn, several times, from the same image to a new one.

import { statSync } from "node:fs";
import { join } from "node:path";
import { type BlockPeer, type ImageFormat, OURS, QEMUS, withPeers } from "./block-peer.ts";
import { MIB, makeEmptyImage } from "./images.ts";
import { makeQcow2Image } from "./qcow2-images.ts";
import { type BenchTable, median, ms, ratioOf } from "./report.ts";

const ROUNDS = 7;

export interface BackupComparison {
  readonly title: string;
  /** Holds `source.img`, and gets `target.img`. */
  readonly folder: string;
  readonly targetBytes: number;
  /** Raw by default. */
  readonly sourceFormat?: ImageFormat;
  readonly targetFormat?: ImageFormat;
  readonly rounds?: number;
}

/** `backUp` is told which peer has a `source` and a `target` now, and resolves with milliseconds. */
export function compareBackups(
  comparison: BackupComparison,
  backUp: (peer: BlockPeer) => Promise<number>,
): Promise<BenchTable> {
  const { title, folder, targetBytes, sourceFormat = "raw", targetFormat = "raw", rounds = ROUNDS } = comparison;
  return withPeers([OURS, ...QEMUS], async (peers) => {
    const target = join(folder, "target.img");
    const times = peers.map((): number[] => []);
    const allocated = peers.map(() => 0);
    for (let round = 0; round < rounds; round++) {
      for (const [i, peer] of peers.entries()) {
        if (targetFormat === "raw") makeEmptyImage(target, targetBytes);
        else await makeQcow2Image(target, targetBytes);
        await peer.add("source", join(folder, "source.img"), false, sourceFormat);
        await peer.add("target", target, false, targetFormat);
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

// What memory a full backup of 1 GiB takes: row 14 of docs/performance.md. From /proc, so on Linux alone.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BlockPeer, OURS, type PeerKind, QEMUS } from "./block-peer.ts";
import { GIB, inFolder, MIB, makeEmptyImage, makeFullImage } from "./images.ts";
import { type BenchTable, median } from "./report.ts";

const ROUNDS = 5;

interface Growth {
  readonly beforeBytes: number;
  readonly peakBytes: number;
}

/** In a folder below `parent`, which has room for 2 GiB. Each figure is a new process's: the second backup finds what the first left. */
export function backupMemoryBenchmarks(parent: string): Promise<BenchTable[]> {
  return inFolder(parent, async (folder) => {
    makeFullImage(join(folder, "source.img"), GIB);
    const kinds = [OURS, ...QEMUS];
    const growths = kinds.map((): Growth[] => []);
    for (let round = 0; round < ROUNDS; round++)
      for (const [i, kind] of kinds.entries()) growths[i]!.push(await measure(kind, folder));
    return [
      {
        title: "Resident memory of a process during its first full backup of 1 GiB (row 14), in MiB",
        columns: ["who", "before", "at most", "more by", "at least", "at most more"],
        rows: kinds.map(({ name }, i) => {
          const of = (figure: (growth: Growth) => number): number[] => growths[i]!.map(figure);
          const more = of(({ beforeBytes, peakBytes }) => peakBytes - beforeBytes);
          const before = of(({ beforeBytes }) => beforeBytes);
          const peak = of(({ peakBytes }) => peakBytes);
          return [name, ...[median(before), median(peak), median(more), Math.min(...more), Math.max(...more)].map(mib)];
        }),
      },
    ];
  });
}

async function measure(kind: PeerKind, folder: string): Promise<Growth> {
  const target = join(folder, "target.img");
  makeEmptyImage(target, GIB);
  const peer = await BlockPeer.start(kind);
  try {
    await peer.add("source", join(folder, "source.img"), true);
    await peer.add("target", target);
    writeFileSync(`/proc/${peer.qmp.pid}/clear_refs`, "5"); // the peak begins anew
    const beforeBytes = memoryBytes(peer.qmp.pid, "VmRSS");
    await peer.backUp({ sync: "full" });
    return { beforeBytes, peakBytes: memoryBytes(peer.qmp.pid, "VmHWM") };
  } finally {
    await peer.end();
  }
}

function memoryBytes(pid: number, field: "VmRSS" | "VmHWM"): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "latin1"));
  if (match === null) throw new Error(`/proc/${pid}/status has no ${field}`);
  return Number(match[1]) * 1024;
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}

// A full backup of 1 GiB, raw to raw, beside cp, qemu-img convert and a real QEMU's blockdev-backup: row 9 of docs/performance.md.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { FileDriver } from "../src/block/drivers/file/file-driver.ts";
import { RawDriver } from "../src/block/drivers/raw.ts";
import { BlockNode } from "../src/block/node.ts";
import { startBackup } from "../src/job/backup-action.ts";
import { JobList } from "../src/job/job-list.ts";
import { BlockPeer, isInstalled, type PeerKind, QEMUS } from "./block-peer.ts";
import { GIB, inFolder, makeEmptyImage, makeFullImage } from "./images.ts";
import { type BenchTable, median, ms } from "./report.ts";

const ROUNDS = 5;

interface Contender {
  readonly name: string;
  /** Copies `source` to `target`, which is there and empty; resolves with the milliseconds that the copying took. */
  copy(source: string, target: string): Promise<number>;
  end?(): Promise<void>;
}

/** Runs all contenders in turn, `ROUNDS` times, in a folder below `parent`, which has room for 2 GiB. */
export function backupBenchmarks(parent: string): Promise<BenchTable[]> {
  return inFolder(parent, async (folder) => {
    const contenders = await makeContenders();
    try {
      return [await compare(contenders, folder)];
    } finally {
      for (const contender of contenders) await contender.end?.();
    }
  });
}

async function compare(contenders: readonly Contender[], folder: string): Promise<BenchTable> {
  const source = join(folder, "source.img");
  const target = join(folder, "target.img");
  makeFullImage(source, GIB);
  const times = new Map(contenders.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const contender of contenders) {
      makeEmptyImage(target, GIB);
      times.get(contender.name)!.push(await contender.copy(source, target));
    }
  }
  const ours = median(times.get("virtio-blk")!);
  return {
    title: "Full backup of 1 GiB, raw to raw (row 9); all of the source cached",
    columns: ["who", "median", "best", "worst", "virtio-blk is"],
    rows: contenders.map(({ name }) => {
      const all = times.get(name)!;
      const ratio = median(all) / ours;
      return [name, ms(median(all)), ms(Math.min(...all)), ms(Math.max(...all)), `${ratio.toFixed(2)}x as fast`];
    }),
  };
}

async function makeContenders(): Promise<Contender[]> {
  const contenders: Contender[] = [
    { name: "virtio-blk", copy: backUp },
    { name: "cp", copy: (source, target) => runTool("cp", ["--sparse=never", "--reflink=never", source, target]) },
  ];
  if (isInstalled("qemu-img")) {
    const args = ["convert", "-n", "-f", "raw", "-O", "raw"];
    contenders.push({
      name: "qemu-img convert",
      copy: (source, target) => runTool("qemu-img", [...args, source, target]),
    });
  }
  for (const kind of QEMUS) contenders.push(await qemuContender(kind));
  return contenders;
}

async function backUp(source: string, target: string): Promise<number> {
  const open = async (path: string, readOnly: boolean): Promise<[BlockNode, BlockNode]> => {
    const file = new BlockNode({ name: `${path}-file`, driver: await FileDriver.open({ path, readOnly }) });
    return [new BlockNode({ name: path, driver: new RawDriver({ file }) }), file];
  };
  const nodes = [await open(source, true), await open(target, false)] as const;
  const startedMs = performance.now();
  const backup = await startBackup(new JobList(), { id: "job0", source: nodes[0][0], target: nodes[1][0] });
  const outcome = await backup.job.untilConcluded();
  const elapsedMs = performance.now() - startedMs;
  if (outcome.kind !== "completed") throw new Error(`backup: ${outcome.kind}`);
  for (const node of nodes.flat()) await node.close();
  return elapsedMs;
}

/** One QEMU for all rounds: its start is not what is measured. */
async function qemuContender(kind: PeerKind): Promise<Contender> {
  const qemu = await BlockPeer.start(kind);
  return {
    name: `${kind.name}: blockdev-backup`,
    async copy(source, target) {
      await qemu.add("source", source, true);
      await qemu.add("target", target);
      const elapsedMs = await qemu.backUp({ sync: "full" });
      for (const node of ["source", "target"]) await qemu.remove(node);
      return elapsedMs;
    },
    end: () => qemu.end(),
  };
}

async function runTool(program: string, args: readonly string[]): Promise<number> {
  const startedMs = performance.now();
  const { status, error } = spawnSync(program, args, { stdio: "inherit" });
  if (status !== 0) throw error ?? new Error(`${program}: status ${status}`);
  return performance.now() - startedMs;
}

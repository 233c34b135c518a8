// A full backup of 1 GiB, raw to raw, beside cp, qemu-img convert and a real QEMU's blockdev-backup: row 9 of docs/performance.md.

import { spawnSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { FileDriver } from "../src/block/drivers/file/file-driver.ts";
import { RawDriver } from "../src/block/drivers/raw.ts";
import { BlockNode } from "../src/block/node.ts";
import { startBackup } from "../src/job/backup-action.ts";
import { JobList } from "../src/job/job-list.ts";
import { QmpClient } from "./qmp-client.ts";
import { type BenchTable, median } from "./report.ts";

const GIB = 2 ** 30;
const ROUNDS = 5;
const QEMU = "qemu-system-aarch64";
/** QEMU gives its buffers back to the system at each turn unless told not to: half its time. */
const TUNED = { MALLOC_TRIM_THRESHOLD_: "1073741824", MALLOC_MMAP_THRESHOLD_: "1073741824" };

interface Contender {
  readonly name: string;
  /** Copies `source` to `target`, which is there and empty; resolves with the milliseconds that the copying took. */
  copy(source: string, target: string): Promise<number>;
  end?(): Promise<void>;
}

/** Runs all contenders in turn, `ROUNDS` times, in a folder below `parent`, which has room for 2 GiB. */
export async function backupBenchmarks(parent: string): Promise<BenchTable[]> {
  const folder = mkdtempSync(join(parent, "vblk-bench-"));
  const contenders = await makeContenders();
  try {
    const source = join(folder, "source.img");
    const target = join(folder, "target.img");
    fill(source);
    const times = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < ROUNDS; round++) {
      for (const contender of contenders) {
        rmSync(target, { force: true });
        writeFileSync(target, "");
        truncateSync(target, GIB);
        times.get(contender.name)!.push(await contender.copy(source, target));
      }
    }
    const ours = median(times.get("virtio-blk")!);
    return [
      {
        title: "Full backup of 1 GiB, raw to raw (row 9); all of the source cached",
        columns: ["who", "median", "best", "worst", "virtio-blk is"],
        rows: contenders.map(({ name }) => {
          const all = times.get(name)!;
          const ratio = median(all) / ours;
          return [name, ms(median(all)), ms(Math.min(...all)), ms(Math.max(...all)), `${ratio.toFixed(2)}x as fast`];
        }),
      },
    ];
  } finally {
    for (const contender of contenders) await contender.end?.();
    rmSync(folder, { recursive: true });
  }
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
  if (isInstalled(QEMU)) {
    contenders.push(await qemuContender("QEMU blockdev-backup", {}));
    contenders.push(await qemuContender("QEMU blockdev-backup, malloc tuned", TUNED));
  }
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
async function qemuContender(name: string, environment: NodeJS.ProcessEnv): Promise<Contender> {
  const qemu = await QmpClient.start(QEMU, environment);
  return {
    name,
    async copy(source, target) {
      for (const [node, filename, readOnly] of [
        ["source", source, true],
        ["target", target, false],
      ] as const) {
        const file = { driver: "file", filename, "read-only": readOnly };
        await qemu.execute("blockdev-add", { "node-name": node, driver: "raw", "read-only": readOnly, file });
      }
      const completed = qemu.event("BLOCK_JOB_COMPLETED");
      const startedMs = performance.now();
      await qemu.execute("blockdev-backup", { "job-id": "job0", device: "source", target: "target", sync: "full" });
      const { error } = await completed;
      const elapsedMs = performance.now() - startedMs;
      if (error !== undefined) throw new Error(`${name}: ${String(error)}`);
      // The job leaves its nodes a moment after its event.
      while (((await qemu.execute("query-jobs")) as unknown[]).length > 0);
      for (const node of ["source", "target"]) await qemu.execute("blockdev-del", { "node-name": node });
      return elapsedMs;
    },
    end: () => qemu.quit(),
  };
}

async function runTool(program: string, args: readonly string[]): Promise<number> {
  const startedMs = performance.now();
  const { status, error } = spawnSync(program, args, { stdio: "inherit" });
  if (status !== 0) throw error ?? new Error(`${program}: status ${status}`);
  return performance.now() - startedMs;
}

function isInstalled(program: string): boolean {
  return spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;
}

/** Data without zeroes, as dense as data gets. */
function fill(path: string): void {
  const piece = randomFillSync(new Uint8Array(16 << 20));
  const file = openSync(path, "w");
  for (let at = 0; at < GIB; at += piece.length) writeSync(file, piece);
  closeSync(file);
}

function ms(value: number): string {
  return `${value.toFixed(0)} ms`;
}

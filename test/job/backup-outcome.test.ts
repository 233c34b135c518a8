// What becomes of the bitmap: every mode with every end (docs/reference/backup.md §3.1).
import { beforeEach, describe, expect, it } from "vitest";
import type { HierarchicalBitmap } from "../../src/bitmap/hierarchical-bitmap.ts";
import type { BackupOptions } from "../../src/job/backup-options.ts";
import { CLUSTER, same } from "../support/copy-pair.ts";
import { Simulation } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";

const CLUSTERS = 8;
/** Before the job. */
const P = [1, 2, 5];
/** During the job; 2 is copied for the guest then, if it is of the copy. */
const W = [2, 6];
/** The job copies nothing from here on before it fails or is cancelled. */
const FAILS_FROM = 4;

type End = "success" | "failure" | "cancel" | "cancel in pending";

let bench: BackupBench;
beforeEach(() => {
  bench = new BackupBench(new Simulation(1), { lengthBytes: CLUSTERS * CLUSTER });
});

function clusters(bits: HierarchicalBitmap): number[] {
  return [...Array(CLUSTERS).keys()].filter((i) => bits.get(i * CLUSTER));
}

function union(...sets: readonly number[][]): number[] {
  return [...new Set(sets.flat())].sort((a, b) => a - b);
}

async function write(cluster: number): Promise<void> {
  await bench.simulation.run(Promise.resolve(bench.write(cluster * CLUSTER + 512, 512, 0xaa)));
}

/** One chunk a time, each of which waits for the test, but for the first. */
async function runBackup(options: Partial<BackupOptions>, end: End): Promise<void> {
  const { simulation, source } = bench;
  const bitmap = source.bitmaps.get("b");
  const backup = await bench.start({
    ...options,
    bitmap: "b",
    speed: 1,
    maxWorkers: 1,
    maxChunkBytes: CLUSTER,
    autoFinalize: end !== "cancel in pending",
  });
  await simulation.run(simulation.after(1));
  expect(bitmap).toMatchObject({ busy: true, recording: true, enabled: false });
  expect(clusters(bitmap.bits), "stands still").toEqual(P);
  for (const cluster of W) await write(cluster);
  expect(clusters(bitmap.bits), "stands still").toEqual(P);
  expect(clusters(bitmap.successor!.bits)).toEqual(W);
  const { job } = backup;
  if (end === "failure")
    bench.targetDriver.fault = ({ offsetBytes, lengthBytes }) =>
      offsetBytes + lengthBytes > FAILS_FROM * CLUSTER ? "EIO" : undefined;
  if (end === "cancel") job.cancel();
  else job.setSpeed(0);
  if (end === "cancel in pending") {
    await simulation.run(simulation.after(100));
    expect(job.status).toBe("pending");
    expect(bitmap.busy, "until it is finalised").toBe(true);
    job.cancel();
  }
  const outcome = await simulation.run(job.untilConcluded());
  expect(outcome.kind).toBe(end === "success" ? "completed" : end === "failure" ? "failed" : "cancelled");
}

const modes = [
  { sync: "bitmap", bitmapMode: "on-success" },
  { sync: "bitmap", bitmapMode: "always" },
  { sync: "bitmap", bitmapMode: "never" },
  { sync: "incremental", bitmapMode: undefined },
  { sync: "incremental", bitmapMode: "on-success" },
  { sync: "full", bitmapMode: "on-success" },
  { sync: "full", bitmapMode: "always" },
  { sync: "top", bitmapMode: "on-success" },
  { sync: "top", bitmapMode: "always" },
] as const;
const ends: readonly End[] = ["success", "failure", "cancel", "cancel in pending"];
const cells = modes.flatMap((mode) => ends.map((end) => ({ ...mode, end })));

/** Clusters that were not copied: the guest has had 2 and 6 copied where they belong to the copy. */
function remaining(sync: string, end: End): number[] {
  const all = sync === "bitmap" || sync === "incremental" ? P : [...Array(CLUSTERS).keys()];
  if (end === "success" || end === "cancel in pending") return [];
  const byLoop = end === "failure" ? all.filter((i) => i < FAILS_FROM) : all.slice(0, 1);
  return all.filter((i) => !byLoop.includes(i) && !W.includes(i));
}

describe("A backup's bitmap", () => {
  it.each(cells)("with sync=$sync and bitmap-mode=$bitmapMode after $end", async ({ sync, bitmapMode, end }) => {
    const before = bench.source.bitmaps.count;
    for (const cluster of P) await write(cluster);
    await runBackup(bitmapMode === undefined ? { sync } : { sync, bitmapMode }, end);
    const expected =
      end === "success"
        ? bitmapMode === "never"
          ? union(P, W)
          : W
        : bitmapMode === "always"
          ? union(remaining(sync, end), W)
          : union(P, W);
    const bitmap = bench.source.bitmaps.get("b");
    expect(clusters(bitmap.bits)).toEqual(expected);
    expect(bitmap).toMatchObject({ busy: false, enabled: true, successor: undefined });
    expect(bench.source.bitmaps.count).toBe(before);
    expect(bench.traces).toEqual(NO_TRACES);
    await write(7);
    expect(clusters(bitmap.bits)).toEqual(union(expected, [7]));
  });

  it.each(["on-success", "always", "never"] as const)(
    "that is disabled records nothing, before and after (%s)",
    async (bitmapMode) => {
      for (const cluster of P) await write(cluster);
      bench.source.bitmaps.disable("b");
      const backup = await bench.start({ sync: "bitmap", bitmap: "b", bitmapMode, autoFinalize: false });
      await write(0);
      await bench.simulation.run(bench.simulation.after(50));
      backup.job.finalize();
      const bitmap = bench.source.bitmaps.get("b");
      expect(clusters(bitmap.bits)).toEqual(bitmapMode === "never" ? P : []);
      expect(bitmap).toMatchObject({ busy: false, enabled: false });
    },
  );

  it("of a finer or coarser granularity stands for the clusters that it touches", async () => {
    for (const granularityBytes of [512, 4 * CLUSTER]) {
      const name = `g${granularityBytes}`;
      bench.source.bitmaps.add({ name, granularityBytes });
      await write(5);
      const backup = await bench.start({ sync: "incremental", bitmap: name, speed: 1, maxChunkBytes: CLUSTER });
      expect(backup.progress).toEqual({ current: 0, total: granularityBytes === 512 ? CLUSTER : 4 * CLUSTER });
      backup.job.cancel();
      await bench.simulation.run(backup.job.untilConcluded());
    }
  });

  it("that is empty makes a job that is complete at once, whatever its speed", async () => {
    const backup = await bench.start({ sync: "incremental", bitmap: "b", speed: 1 });
    expect(await bench.simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(backup.progress).toEqual({ current: 0, total: 0 });
    expect(bench.targetDriver.calls).toEqual([]);
  });

  it("chains: each target of a series of incrementals completes the one before", async () => {
    const image = bench.before.slice();
    const stages: Uint8Array[] = [];
    for (let round = 1; round <= 3; round++) {
      const value = round;
      await bench.simulation.run(Promise.resolve(bench.write(round * CLUSTER, 2 * CLUSTER, value)));
      image.fill(value, round * CLUSTER, (round + 2) * CLUSTER);
      stages.push(bench.sourceDriver.bytes.slice());
      const backup = await bench.start({ id: `j${round}`, sync: "incremental", bitmap: "b", autoFinalize: false });
      await bench.simulation.run(bench.simulation.after(50));
      backup.job.finalize();
      expect(
        same(
          stages.at(-1)!.subarray(round * CLUSTER, (round + 2) * CLUSTER),
          bench.targetDriver.bytes.subarray(round * CLUSTER, (round + 2) * CLUSTER),
        ),
      ).toBe(true);
    }
    expect(same(image, bench.sourceDriver.bytes)).toBe(true);
  });
});

// What each sync mode copies, and the checks of their arguments (docs/reference/backup.md §2.2, §3, §4.4).
import { beforeEach, describe, expect, it } from "vitest";
import { QmpError } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { MemoryOverlayDriver } from "../../src/block/drivers/memory-overlay.ts";
import { BlockNode } from "../../src/block/node.ts";
import { startBackup } from "../../src/job/backup-action.ts";
import type { BackupOptions } from "../../src/job/backup-options.ts";
import { JobList } from "../../src/job/job-list.ts";
import { CLUSTER, MIB, same } from "../support/copy-pair.ts";
import { FaultyDriver } from "../support/faulty-driver.ts";
import { Simulation } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";

const STALE = 0xee;

let simulation: Simulation;
let bench: BackupBench;
beforeEach(() => {
  simulation = new Simulation(1);
  bench = new BackupBench(simulation, { lengthBytes: 8 * CLUSTER });
});

const pass = (ms: number): Promise<void> => simulation.run(simulation.after(ms));
const write = (at: number, length: number, value = 0xaa): Promise<void> =>
  simulation.run(Promise.resolve(bench.write(at, length, value)));

/** Clusters of the target that hold T0; all others must be as they were. */
function copied(before: Uint8Array, target: Uint8Array): number[] {
  const clusters: number[] = [];
  for (let at = 0; at < before.length; at += CLUSTER) {
    const [was, is] = [before.subarray(at, at + CLUSTER), target.subarray(at, at + CLUSTER)];
    if (same(was, is)) clusters.push(at / CLUSTER);
    else if (!is.every((byte) => byte === STALE)) expect.fail(`cluster ${at / CLUSTER} is neither old nor new`);
  }
  return clusters;
}

describe("Backup with sync=bitmap", () => {
  it("copies the clusters of the bitmap, as they were, and protects no others", async () => {
    await write(CLUSTER, 512);
    await write(5 * CLUSTER - 512, 1024);
    const before = bench.sourceDriver.bytes.slice();
    using section = await bench.source.drain();
    const backup = await bench.start({ sync: "incremental", bitmap: "b" });
    expect(backup.progress).toEqual({ current: 0, total: 3 * CLUSTER });
    await simulation.run(Promise.resolve(bench.source.writeZeroes(4 * CLUSTER, 512)));
    await simulation.run(Promise.resolve(bench.source.writeZeroes(6 * CLUSTER, 512)));
    expect(backup.progress).toEqual({ current: CLUSTER, total: 3 * CLUSTER });
    section[Symbol.dispose]();
    await simulation.run(backup.job.untilConcluded());
    expect(copied(before, bench.targetDriver.bytes)).toEqual([1, 4, 5]);
    expect(backup.progress).toEqual({ current: 3 * CLUSTER, total: 3 * CLUSTER });
  });
});

describe("Backup with sync=none", () => {
  it("copies what guests change, once, and serves them until it is cancelled", async () => {
    const backup = await bench.start({ sync: "none" });
    expect(backup.job.query()).toMatchObject({
      status: "running",
      busy: false,
      progress: { current: 0, total: 8 * CLUSTER },
    });
    await write(CLUSTER, 512);
    await write(CLUSTER + 512, 512);
    await write(5 * CLUSTER - 512, 1024);
    expect(bench.guest.discard(7 * CLUSTER, CLUSTER)).toBeUndefined();
    await pass(100_000);
    expect(backup.job.query()).toMatchObject({
      status: "running",
      progress: { current: 3 * CLUSTER, total: 8 * CLUSTER },
    });
    expect(copied(bench.before, bench.targetDriver.bytes)).toEqual([1, 4, 5]);
    backup.job.cancel();
    await simulation.run(backup.job.untilConcluded());
    expect(bench.events.slice(4)).toEqual(["aborting", "CANCELLED", "concluded", "null"]);
    await write(0, 512);
    expect(copied(bench.before, bench.targetDriver.bytes)).toEqual([1, 4, 5]);
    expect(bench.traces).toEqual(NO_TRACES);
  });

  it("pauses for drained sections and users, and serves guests while the user has paused it", async () => {
    const backup = await bench.start({ sync: "none" });
    backup.job.pause();
    await pass(1);
    expect(backup.job.status).toBe("paused");
    await write(CLUSTER, 512);
    expect(copied(bench.before, bench.targetDriver.bytes)).toEqual([1]);
    const section = await simulation.run(bench.source.drain());
    backup.job.resume();
    expect(backup.job.status).toBe("paused");
    section[Symbol.dispose]();
    expect(backup.job.status).toBe("running");
    const again = await simulation.run(bench.target.drain());
    expect(backup.job.status).toBe("paused");
    again[Symbol.dispose]();
    backup.job.pause();
    backup.job.cancel();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "cancelled" });
  });
});

describe("Backup with sync=top", () => {
  let base: FaultyDriver;
  let top: BlockNode;
  let guest: BlockBackend;
  let before: Uint8Array;

  /** An overlay of 20 clusters and a bit, in units of 4 KiB: all of cluster 1, a piece of 3, zeroes in 7, the end. */
  beforeEach(async () => {
    base = new FaultyDriver({ simulation, bytes: new Uint8Array(20 * CLUSTER + 512).fill(0x11) });
    const backing = new BlockNode({ name: "base", driver: base });
    top = new BlockNode({ name: "top", driver: new MemoryOverlayDriver({ backing, clusterSizeBytes: 4096 }) });
    guest = new BlockBackend({ name: "drive1", node: top });
    const fill = (at: number, length: number): unknown => top.write(at, IoVector.of(new Uint8Array(length).fill(0x22)));
    await Promise.all([fill(CLUSTER, CLUSTER), fill(4 * CLUSTER - 4096, 4096), fill(20 * CLUSTER, 512)]);
    await top.writeZeroes(7 * CLUSTER, CLUSTER);
    before = new Uint8Array(top.lengthBytes);
    await top.read(0, IoVector.of(before));
    bench = new BackupBench(simulation, { lengthBytes: top.lengthBytes });
  });

  const start = (options: Partial<BackupOptions> = {}) => bench.start({ source: top, sync: "top", ...options });

  it("copies what the top layer holds any part of, and the length shrinks to that", async () => {
    const backup = await start();
    expect(backup.progress).toEqual({ current: 0, total: 21 * CLUSTER });
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(copied(before, bench.targetDriver.bytes)).toEqual([1, 3, 7, 20]);
    expect(backup.progress).toEqual({ current: 4 * CLUSTER, total: 4 * CLUSTER });
    expect(bench.targetDriver.calls.filter(({ kind }) => kind === "write-zeroes")).toMatchObject([
      { offsetBytes: 7 * CLUSTER, lengthBytes: CLUSTER },
    ]);
  });

  it("drops what a guest writes first and the top layer does not hold, before the scan comes to it", async () => {
    using section = await top.drain();
    const backup = await start();
    const write = (at: number): unknown => top.write(at, IoVector.of(new Uint8Array(512).fill(0x33)));
    await write(10 * CLUSTER);
    expect(backup.progress).toEqual({ current: 0, total: 20 * CLUSTER });
    expect(bench.targetDriver.calls).toEqual([]);
    await write(3 * CLUSTER);
    expect(backup.progress).toEqual({ current: CLUSTER, total: 20 * CLUSTER });
    section[Symbol.dispose]();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    // By now the top layer holds cluster 10, but it is of the copy no more.
    expect(copied(before, bench.targetDriver.bytes)).toEqual([1, 3, 7, 20]);
  });

  it("copies nothing if the top layer holds nothing", async () => {
    const backing = new BlockNode({ name: "base2", driver: new FaultyDriver({ simulation, bytes: before.slice() }) });
    const empty = new BlockNode({ name: "empty", driver: new MemoryOverlayDriver({ backing }) });
    const backup = await bench.start({ source: empty, sync: "top" });
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(backup.progress).toEqual({ current: 0, total: 0 });
    expect(bench.targetDriver.calls).toEqual([]);
  });

  it("fails when the layer cannot tell what it holds, whatever the policies, without a word of an error", async () => {
    const other = new BackupBench(simulation, {
      lengthBytes: 4 * MIB,
      source: { fault: ({ kind }) => (kind === "status" ? "EIO" : undefined) },
    });
    const backup = await other.start({ sync: "top", onSourceError: "ignore", onTargetError: "ignore" });
    expect((await simulation.run(backup.job.untilConcluded())).kind).toBe("failed");
    expect(other.events.slice(4)).toEqual(["aborting", "COMPLETED Input/output error", "concluded", "null"]);
    expect(other.traces).toEqual(NO_TRACES);
  });

  it("pauses and is cancelled within its scan", async () => {
    const backup = await start();
    const section = await simulation.run(top.drain());
    expect(backup.job.status).toBe("paused");
    section[Symbol.dispose]();
    backup.job.cancel();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "cancelled" });
    expect(bench.targetDriver.calls).toEqual([]);
    guest.close();
  });
});

describe("Backup to an overlay of its source", () => {
  it("with sync=none lets others read there what the source was, at any time", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      simulation = new Simulation(seed);
      bench = new BackupBench(simulation, { lengthBytes: 8 * CLUSTER, source: { delayed: 1, maxDelayMs: 5 } });
      const target = new BlockNode({ name: "view", driver: new MemoryOverlayDriver({ backing: bench.source }) });
      const backup = await bench.start({ target, sync: "none" });
      const read = async (): Promise<void> => {
        for (let i = 0; i < 10; i++) {
          const seen = new Uint8Array(target.lengthBytes);
          await target.read(0, IoVector.of(seen));
          expect(same(seen, bench.before), `seed ${seed}, read ${i}`).toBe(true);
        }
      };
      const change = async (): Promise<void> => {
        for (let cluster = 0; cluster < 8; cluster++) {
          await simulation.after(simulation.random.below(10));
          await bench.write(cluster * CLUSTER, CLUSTER, 0xaa);
        }
      };
      const drain = async (): Promise<void> => {
        for (const node of [bench.source, target, bench.source]) {
          await simulation.after(8);
          using _section = await node.drain();
          expect(bench.sourceDriver.inFlight).toEqual([]);
          await simulation.after(3);
          expect(bench.sourceDriver.inFlight).toEqual([]);
        }
      };
      await simulation.run(Promise.all([read(), change()]));
      await simulation.run(Promise.all([change(), drain()]));
      backup.job.cancel();
      await simulation.run(backup.job.untilConcluded());
      expect([...target.parents]).toEqual([]);
      expect(bench.source.beforeWrite.count).toBe(0);
    }
  });
});

describe("Backup's progress", () => {
  it.each([
    { sync: "full", current: 983040, total: 64 * MIB },
    { sync: "bitmap", current: 65536, total: 393216 },
  ] as const)("after a read error with sync=$sync is that of QEMU's own test 257", async ({ sync, current, total }) => {
    const bytes = new Uint8Array(64 * MIB);
    const status = (offset: number, length: number) => {
      const data = (at: number): boolean => bytes[at] !== 0;
      let end = offset + CLUSTER;
      while (end < offset + length && data(end) === data(offset)) end += CLUSTER;
      return { lengthBytes: Math.min(end - offset, length), allocated: true, data: data(offset), zero: !data(offset) };
    };
    const source = new FaultyDriver({ simulation, bytes, status });
    const node = new BlockNode({ name: "disk", driver: source });
    node.bitmaps.add({ name: "bm", granularityBytes: CLUSTER });
    const groups = sync === "bitmap" ? [0, 15, 16, 31, 32, 33] : [0, 15, 16];
    for (const group of groups) await node.write(group * CLUSTER, IoVector.of(new Uint8Array(CLUSTER).fill(1)));
    source.fault = ({ kind, offsetBytes }) => (kind === "read" && offsetBytes === 15 * CLUSTER ? "EIO" : undefined);
    const { target } = new BackupBench(simulation, { lengthBytes: 64 * MIB });
    const options = {
      id: "j0",
      source: node,
      target,
      sync,
      maxWorkers: 1,
      bitmap: "bm",
      bitmapMode: "on-success" as const,
    };
    const backup = await simulation.run(startBackup(new JobList(), options, simulation));
    await simulation.run(backup.job.untilConcluded());
    expect(backup.progress).toEqual({ current, total });
  });
});

describe("Backup whose copy for a guest fails", () => {
  it("with on-cbw-error=break-snapshot lets the guest go on, then and later, and goes on itself", async () => {
    for (const delayed of [0, 1]) {
      bench = new BackupBench(simulation, { lengthBytes: 8 * CLUSTER, target: { delayed } });
      const backup = await bench.start({ sync: "none", onCbwError: "break-snapshot" });
      await write(0, 512);
      bench.targetDriver.fault = () => "ENOSPC";
      await write(CLUSTER, 512);
      bench.targetDriver.fault = undefined;
      const calls = bench.targetDriver.calls.length;
      await write(2 * CLUSTER, 512);
      expect(bench.targetDriver.calls.length).toBe(calls);
      expect([0, CLUSTER, 2 * CLUSTER].map((at) => bench.sourceDriver.bytes[at])).toEqual([0xaa, 0xaa, 0xaa]);
      expect(backup.job.query()).toMatchObject({ status: "running", ioStatus: "ok", progress: { current: CLUSTER } });
      backup.job.cancel();
      await simulation.run(backup.job.untilConcluded());
    }
  });
});

describe("Backup's checks of modes and names", () => {
  const mode = (text: string) => `Bitmap sync mode ${text}`;
  const cases: readonly {
    options: Partial<BackupOptions>;
    message: string;
    events?: readonly string[];
    /** The source has no drive. */
    bare?: boolean;
  }[] = [
    { options: { sync: "bitmap" }, message: "must provide a valid bitmap name for 'bitmap' sync mode" },
    {
      options: { sync: "incremental", bitmapMode: "never" },
      message: "must provide a valid bitmap name for 'incremental' sync mode",
    },
    {
      options: { sync: "incremental", bitmap: "missing", bitmapMode: "always" },
      message: mode("must be 'on-success' when using sync mode 'incremental'"),
    },
    { options: { sync: "bitmap", bitmap: "missing" }, message: "Bitmap 'missing' could not be found" },
    { options: { sync: "full", bitmap: "" }, message: "Bitmap '' could not be found" },
    { options: { sync: "none", bitmap: "b" }, message: mode("must be given when providing a bitmap") },
    {
      options: { sync: "none", bitmap: "busy", bitmapMode: "always" },
      message: "Bitmap 'busy' is currently in use by another operation and cannot be used",
    },
    {
      options: { sync: "full", bitmap: "inconsistent", bitmapMode: "never" },
      message: "Bitmap 'inconsistent' is inconsistent and cannot be used",
    },
    {
      options: { sync: "none", bitmap: "b", bitmapMode: "on-success" },
      message: "sync mode 'none' does not produce meaningful bitmap outputs",
    },
    ...(["full", "top"] as const).map((sync) => ({
      options: { sync, bitmap: "b", bitmapMode: "never" as const },
      message: mode(`'never' has no meaningful effect when combined with sync mode '${sync}'`),
    })),
    { options: { sync: "full", bitmapMode: "never" }, message: "Cannot specify bitmap sync mode without a bitmap" },
    { options: { compress: true, maxWorkers: 0 }, message: "Compression is not supported for this drive " },
    {
      options: { sync: "bitmap", bitmap: "readonly", bitmapMode: "always" },
      message: "Bitmap 'readonly' is readonly and cannot be modified",
    },
    {
      options: { minClusterSizeBytes: 2 ** 63 },
      message: "min-cluster-size too large: 9223372036854775808 > 9223372036854775807",
    },
    {
      options: { filterNodeName: "target" },
      message: "Could not create node: Duplicate nodes with node-name='target'",
    },
    { options: { speed: -1 }, message: "Parameter 'speed' expects a non-negative value", events: ["created", "null"] },
    { options: { id: undefined }, bare: true, message: "Invalid job ID ''" },
  ];

  it.each(cases)("refuse $options: $message", async ({ options, message, events = [], bare = false }) => {
    const { source, target } = bench;
    for (const name of ["busy", "inconsistent", "readonly"]) source.bitmaps.add({ name });
    source.bitmaps.get("busy").setBusy(true);
    source.bitmaps.get("inconsistent").setInconsistent();
    await write(0, 512);
    source.bitmaps.get("readonly").setReadonly(true);
    const names = new Set(["source", "target"]);
    const jobs = new JobList({
      take(name = "#block000") {
        if (names.has(name)) throw new QmpError(`Duplicate nodes with node-name='${name}'`);
        names.add(name);
        return name;
      },
      release: (name) => names.delete(name),
    });
    const heard: string[] = [];
    jobs.listen((_job, event) => heard.push(event.kind === "status-change" ? event.status : event.kind));
    const other = new BlockNode({
      name: "other",
      driver: new FaultyDriver({ simulation, bytes: bench.before.slice() }),
    });
    const state = (): unknown => [
      ...[...source.bitmaps].map((b) => [b.name, b.busy, b.enabled, b.recording, b.countBytes]),
      bench.traces,
      [...names],
    ];
    const before = state();
    const whole = { id: "j0", target, ...options, source: bare ? other : source };
    await expect(simulation.run(startBackup(jobs, whole, simulation))).rejects.toEqual(new QmpError(message));
    expect(heard).toEqual(events);
    expect(state()).toEqual(before);
    expect([...jobs]).toEqual([]);
  });

  it("give a job the drive's id, and refuse a second one by the drive, though not by the node", async () => {
    const { source, target } = bench;
    const first = await bench.start({ id: undefined, sync: "none" });
    expect(first.job.id).toBe("drive0");
    const sourceDrive = bench.guest.asParent;
    const reason = "block device is in use by block job: backup";
    const other = new BackupBench(simulation, { lengthBytes: 8 * CLUSTER }).target;
    await expect(bench.start({ sourceDrive, target: other })).rejects.toEqual(
      new QmpError(`Node 'drive0' is busy: ${reason}`),
    );
    await expect(bench.start({ sync: "none" })).rejects.toEqual(new QmpError(`Node 'target' is busy: ${reason}`));
    await expect(bench.start({ source: target, target: other })).rejects.toEqual(
      new QmpError(`Node 'target' is busy: ${reason}`),
    );
    const second = await bench.start({ id: "second", target: other, sync: "none" });
    await simulation.run(bench.jobs.cancelAll());
    expect([first.job.status, second.job.status]).toEqual(["null", "null"]);
    expect(source.beforeWrite.count).toBe(0);
    expect(bench.traces).toEqual(NO_TRACES);
  });
});

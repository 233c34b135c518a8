// The backup job under control: checks before it begins, drained sections, cancel, finalize.
import { beforeEach, describe, expect, it } from "vitest";
import { QmpError } from "../../src/base/errors.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { BlockNode } from "../../src/block/node.ts";
import type { BackupOptions } from "../../src/job/backup-options.ts";
import { CLUSTER, MIB, same } from "../support/copy-pair.ts";
import { Simulation, settle } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";
import { ScriptedJob } from "./scripted-job.ts";

const SLOW = { delayed: 1 } as const;

let simulation: Simulation;
beforeEach(() => {
  simulation = new Simulation(1);
});

describe("Backup's checks", () => {
  const copyStateFailed = "Could not create node: Cannot create block-copy-state";
  const cases: readonly {
    what: string;
    options: (bench: BackupBench) => Partial<BackupOptions>;
    message: string;
    /** What is heard of a job that there was for a moment. */
    events?: readonly string[];
  }[] = [
    {
      what: "the target is the source",
      options: ({ source }) => ({ target: source }),
      message: "Source and target cannot be the same",
    },
    {
      what: "there are no workers",
      options: () => ({ maxWorkers: 0 }),
      message: "max-workers must be between 1 and 2147483647",
    },
    {
      what: "there is half a worker",
      options: () => ({ maxWorkers: 1.5 }),
      message: "max-workers must be between 1 and 2147483647",
    },
    {
      what: "there are too many workers",
      options: () => ({ maxWorkers: 2 ** 31 }),
      message: "max-workers must be between 1 and 2147483647",
    },
    {
      what: "the chunk is negative",
      options: () => ({ maxChunkBytes: -1 }),
      message: "max-chunk must be zero (which means no limit) or positive",
    },
    {
      what: "the target is shorter",
      options: () => ({ target: new BackupBench(simulation, { lengthBytes: MIB - 512 }).target }),
      message: "Source and target image have different sizes",
    },
    {
      what: "the target is longer",
      options: () => ({ target: new BackupBench(simulation, { lengthBytes: MIB + 512 }).target }),
      message: "Source and target image have different sizes",
    },
    {
      what: "the target is read-only",
      options: () => ({ target: new BackupBench(simulation, { lengthBytes: MIB, target: { readOnly: true } }).target }),
      message: "Could not create node: Block node is read-only",
    },
    {
      what: "the source stands on the target",
      options: ({ target }) => ({ source: new BlockNode({ name: "above", driver: new RawDriver({ file: target }) }) }),
      message:
        "Permission conflict on node 'target': permissions 'write' are both required by node '#block0' (uses node 'target' as 'target' child) and unshared by node 'above' (uses node 'target' as 'file' child).",
      events: ["created", "null"],
    },
    {
      what: "the target stands on the source",
      options: ({ source }) => ({ target: new BlockNode({ name: "above", driver: new RawDriver({ file: source }) }) }),
      message:
        "Could not replace node: Permission conflict on node 'source': permissions 'write' are both required by node 'above' (uses node 'source' as 'file' child) and unshared by node '#block0' (uses node 'source' as 'file' child).",
    },
    {
      what: "the cluster size is no power of two",
      options: () => ({ minClusterSizeBytes: 98304 }),
      message: `${copyStateFailed}: min-cluster-size needs to be a power of 2`,
    },
    {
      what: "the chunk is smaller than a cluster",
      options: () => ({ maxChunkBytes: 65535 }),
      message: "Required max-chunk (65535) is less than backup cluster size (65536)",
    },
    { what: "the id is none", options: () => ({ id: "0" }), message: "Invalid job ID '0'" },
    { what: "the id is in use", options: () => ({ id: "j9" }), message: "Job ID 'j9' already in use" },
  ];

  it.each(cases)("refuse it when $what, and nothing has happened", async ({ options, message, events = [] }) => {
    const bench = new BackupBench(simulation, { lengthBytes: MIB });
    const running = bench.jobs.create({ id: "j9", driver: new ScriptedJob([]) });
    bench.events.length = 0;
    const asked = options(bench);
    const traces = bench.traces;
    await expect(bench.start(asked)).rejects.toEqual(new QmpError(message));
    expect([...bench.jobs]).toEqual([running]);
    expect(bench.events).toEqual(events);
    expect(bench.traces).toEqual(traces);
    expect([...(asked.target?.parents ?? [])].map((parent) => parent.parentName)).not.toContain("backup job 'j0'");
    expect(bench.targetDriver.calls).toEqual([]);
    expect(bench.write(0, 512, 1)).toBeUndefined();
  });
});

describe("Backup in drained sections", () => {
  it("pauses for one of the source, with nothing in flight, and goes on after it", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: 8 * MIB, source: SLOW, target: SLOW });
    const backup = await bench.start();
    await simulation.run(simulation.after(5));
    const section = await simulation.run(bench.source.drain());
    expect(backup.job.status).toBe("paused");
    expect([...bench.sourceDriver.inFlight, ...bench.targetDriver.inFlight]).toEqual([]);
    const { current } = backup.progress;
    expect(current).toBeGreaterThan(0);
    await simulation.run(simulation.after(100));
    expect(backup.progress.current).toBe(current);
    section[Symbol.dispose]();
    expect(backup.job.status).toBe("running");
    await simulation.run(backup.job.untilConcluded());
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
    expect(bench.events.slice(2, 6)).toEqual(["paused", "running", "paused", "running"]);
  });

  it("holds guests for one of the target, as their writes go there", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: 8 * MIB, source: SLOW, target: SLOW });
    const backup = await bench.start();
    const early = bench.write(7 * MIB, 512, 1);
    const section = await simulation.run(bench.target.drain());
    await simulation.run(Promise.resolve(early));
    expect(backup.job.status).toBe("paused");
    const late = bench.write(6 * MIB, 512, 2);
    const calls = bench.targetDriver.calls.length;
    await simulation.run(simulation.after(100));
    expect(bench.targetDriver.calls.length).toBe(calls);
    expect(bench.targetDriver.inFlight).toEqual([]);
    section[Symbol.dispose]();
    await simulation.run(Promise.all([late, backup.job.untilConcluded()]));
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
    expect(bench.sourceDriver.bytes[6 * MIB]).toBe(2);
  });

  it("survives sections of both nodes that overlap in any way", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: 24 * MIB, source: SLOW, target: SLOW });
    const backup = await bench.start();
    for (let i = 0; i < 6; i++) {
      const first = await simulation.run(i % 2 === 0 ? bench.source.drain() : bench.target.drain());
      const second = await simulation.run(i % 3 === 0 ? bench.source.drain() : bench.target.drain());
      expect(backup.job.status).toBe("paused");
      (i % 2 === 0 ? first : second)[Symbol.dispose]();
      await simulation.run(simulation.after(5));
      expect(backup.job.status).toBe("paused");
      (i % 2 === 0 ? second : first)[Symbol.dispose]();
      await simulation.run(simulation.after(5));
    }
    await simulation.run(backup.job.untilConcluded());
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
    expect(bench.traces).toEqual(NO_TRACES);
  });
});

describe("Backup that is cancelled", () => {
  it("ends with nothing in flight, and guests go on", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: 8 * MIB, source: SLOW, target: SLOW });
    const backup = await bench.start();
    await simulation.run(simulation.after(5));
    const writing = bench.write(7 * MIB, 512, 1);
    backup.job.cancel();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "cancelled" });
    expect(bench.targetDriver.inFlight).toEqual([]);
    expect(bench.traces).toEqual(NO_TRACES);
    await bench.target.close();
    await simulation.run(Promise.resolve(writing));
    expect(bench.sourceDriver.bytes[7 * MIB]).toBe(1);
    expect(bench.events.slice(4)).toEqual(["aborting", "CANCELLED", "concluded", "null"]);
  });

  it("ends also in a drained section, in which it stays quiet", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: 8 * MIB, source: SLOW, target: SLOW });
    const backup = await bench.start();
    using _section = await simulation.run(bench.target.drain());
    const calls = bench.targetDriver.calls.length;
    backup.job.cancel();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "cancelled" });
    expect(bench.targetDriver.calls.length).toBe(calls);
    expect(bench.traces).toEqual(NO_TRACES);
    await simulation.run(Promise.resolve(bench.write(0, 512, 1)));
  });

  it("lets a guest's write of many chunks go on without copying the rest", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: 32 * MIB, target: SLOW });
    const section = await bench.source.drain();
    const backup = await bench.start();
    const zeroing = Promise.resolve(bench.source.writeZeroes(0, 32 * MIB));
    await settle();
    backup.job.cancel();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "cancelled" });
    await simulation.run(zeroing);
    expect(bench.targetDriver.calls.length).toBeLessThanOrEqual(2);
    section[Symbol.dispose]();
    expect(bench.traces).toEqual(NO_TRACES);
    expect(bench.sourceDriver.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it("ends at once while it is pending, and before it was started", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: MIB });
    const backup = await bench.start({ autoFinalize: false });
    await simulation.run(simulation.after(10));
    expect(backup.job.status).toBe("pending");
    expect(bench.traces.notifiers).toBe(1);
    expect(bench.write(CLUSTER, 512, 1)).toBeUndefined();
    backup.job.cancel();
    expect(bench.events.slice(4)).toEqual([
      "waiting",
      "pending",
      "PENDING",
      "aborting",
      "CANCELLED",
      "concluded",
      "null",
    ]);
    expect(bench.traces).toEqual(NO_TRACES);
  });
});

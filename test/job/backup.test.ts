// The backup job: point in time, guests' writes, events, pauses, and what is left when it is over.
import { beforeEach, describe, expect, it } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import { CLUSTER, KIB, MIB, same } from "../support/copy-pair.ts";
import { Simulation } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";

const SLOW = { delayed: 1 } as const;
const START = ["created", "running", "paused", "running"];
const SUCCESS = ["waiting", "pending", "COMPLETED", "concluded", "null"];

let simulation: Simulation;
beforeEach(() => {
  simulation = new Simulation(1);
});

describe("Backup", () => {
  it("copies the disk as it was, and lets go of everything", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: 3 * MIB + 512 });
    const backup = await bench.start();
    expect(bench.events).toEqual(START);
    expect(bench.traces).toEqual({
      source: ["block device 'drive0'", "node '#block0'", "backup job 'j0'"],
      target: ["node '#block0'", "backup job 'j0'"],
      notifiers: 1,
    });
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
    expect(bench.events.slice(4)).toEqual(SUCCESS);
    expect(backup.progress).toEqual({ current: 3 * MIB + CLUSTER, total: 3 * MIB + CLUSTER });
    expect(backup.clustersCopied).toEqual({ background: 49, guest: 0 });
    expect(bench.traces).toEqual(NO_TRACES);
    expect([...bench.jobs]).toEqual([]);
    await bench.target.close();
  });

  it("begins when what the guest has in flight is on the disk, and that belongs to it", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: MIB, source: SLOW });
    const early = bench.write(0, 512, 0xaa);
    const starting = bench.start();
    const late = bench.write(0, 512, 0xbb);
    const backup = await starting;
    await simulation.run(Promise.all([early, late, backup.job.untilConcluded()]));
    bench.before.fill(0xaa, 0, 512);
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
    expect(bench.sourceDriver.bytes[0]).toBe(0xbb);
  });

  it.each([0, 1])(
    "puts the old data on the target before a guest's write, once per cluster (delayed: %d)",
    async (delayed) => {
      const slow = { delayed };
      const bench = new BackupBench(simulation, { lengthBytes: MIB, source: slow, target: slow });
      const backup = await bench.start();
      const write = (at: number, length: number, value: number): Promise<void> =>
        Promise.resolve(bench.write(at, length, value));
      await simulation.run(Promise.all([write(CLUSTER - 512, 1024, 1), write(10 * CLUSTER, 512, 2)]));
      await simulation.run(write(10 * CLUSTER, 1024, 3));
      expect(bench.dirtyBytes).toBe(3 * CLUSTER);
      await simulation.run(backup.job.untilConcluded());
      expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
      const { background, guest } = backup.clustersCopied;
      expect(background + guest).toBe(16);
      expect(backup.progress).toEqual({ current: MIB, total: MIB });
      expect([CLUSTER - 1, CLUSTER, 10 * CLUSTER].map((at) => bench.sourceDriver.bytes[at])).toEqual([1, 1, 3]);
    },
  );

  it("drops discards until it is gone, and lets write-zeroes deallocate nothing", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: MIB, target: SLOW });
    const backup = await bench.start({ autoFinalize: false });
    expect(bench.guest.discard(0, MIB)).toBeUndefined();
    expect(bench.dirtyBytes).toBe(0);
    await simulation.run(Promise.resolve(bench.guest.writeZeroes(0, 512, { mayUnmap: true })));
    expect(bench.sourceDriver.calls.at(-1)).toMatchObject({ kind: "write-zeroes", mayUnmap: false });
    expect(bench.dirtyBytes).toBe(CLUSTER);
    await simulation.run(simulation.after(1000));
    expect(backup.job.status).toBe("pending");
    expect(bench.guest.discard(CLUSTER, CLUSTER)).toBeUndefined();
    backup.job.finalize();
    expect(bench.sourceDriver.calls.some((call) => call.kind === "discard")).toBe(false);
    expect(bench.guest.discard(CLUSTER, CLUSTER)).toBeUndefined();
    expect(bench.sourceDriver.calls.at(-1)).toMatchObject({ kind: "discard", offsetBytes: CLUSTER });
    expect(bench.dirtyBytes).toBe(2 * CLUSTER);
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
  });

  it("tells how far it has come, guests' copies included, in whole clusters", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: MIB + 512, target: { ...SLOW, maxDelayMs: 0 } });
    using _held = await bench.source.drain();
    const backup = await bench.start();
    expect(backup.progress).toEqual({ current: 0, total: MIB + CLUSTER });
    await simulation.run(Promise.resolve(bench.source.writeZeroes(MIB, 512)));
    expect(backup.progress).toEqual({ current: CLUSTER, total: MIB + CLUSTER });
    expect(backup.clustersCopied).toEqual({ background: 0, guest: 1 });
    expect(backup.job.query()).toMatchObject({ status: "paused", busy: false, paused: true, type: "backup" });
  });

  it("copies in larger clusters and smaller chunks when asked to", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: MIB + 512 });
    const backup = await bench.start({ minClusterSizeBytes: 128 * KIB, maxChunkBytes: 200 * KIB, maxWorkers: 1 });
    expect(backup.clusterSizeBytes).toBe(128 * KIB);
    await simulation.run(backup.job.untilConcluded());
    expect(backup.progress.total).toBe(MIB + 128 * KIB);
    expect(
      bench.sourceDriver.calls.filter((call) => call.kind === "status").map((call) => call.lengthBytes / KIB),
    ).toEqual([256, 256, 256, 256, 0.5]);
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
  });

  it("of an empty disk is complete at once", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: 0 });
    const backup = await bench.start();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(backup.progress).toEqual({ current: 0, total: 0 });
  });

  it("of one disk may run twice at once, each from its own moment", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: MIB, source: SLOW, target: SLOW });
    const other = new BackupBench(simulation, { lengthBytes: MIB, target: SLOW });
    const first = await bench.start();
    await simulation.run(Promise.resolve(bench.write(5 * CLUSTER, 512, 0xaa)));
    const second = await bench.start({ id: "j1", target: other.target });
    await simulation.run(Promise.resolve(bench.write(5 * CLUSTER, 512, 0xbb)));
    await simulation.run(Promise.all([first.job.untilConcluded(), second.job.untilConcluded()]));
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
    bench.before.fill(0xaa, 5 * CLUSTER, 5 * CLUSTER + 512);
    expect(same(other.targetDriver.bytes, bench.before)).toBe(true);
    expect(bench.traces).toEqual(NO_TRACES);
  });
});

describe("Backup that meets errors", () => {
  it.each([
    { side: "source", kind: "read", operation: "read" },
    { side: "target", kind: "write", operation: "write" },
  ] as const)("fails by an error of a $side's $kind, and lets go of everything", async ({ side, kind, operation }) => {
    for (const delayed of [0, 1]) {
      const bench = new BackupBench(simulation, { lengthBytes: 4 * MIB, source: { delayed }, target: { delayed } });
      const driver = side === "source" ? bench.sourceDriver : bench.targetDriver;
      driver.fault = (call) => (call.kind === kind && call.offsetBytes >= 2 * MIB ? "ENOSPC" : undefined);
      const backup = await bench.start({ autoDismiss: false });
      const outcome = await simulation.run(backup.job.untilConcluded());
      expect(outcome).toEqual({ kind: "failed", error: new BlockError("ENOSPC") });
      expect(bench.events.slice(4)).toEqual([
        `ERROR ${operation} report`,
        "aborting",
        "COMPLETED No space left on device",
        "concluded",
      ]);
      expect(backup.progress.current).toBe(2 * MIB);
      expect(backup.progress.total).toBe(4 * MIB);
      expect(backup.job.query().error).toBe("No space left on device");
      expect(bench.traces).toEqual(NO_TRACES);
      driver.fault = undefined;
      const writing = Promise.resolve(bench.write(3 * MIB, 512, 1));
      await simulation.run(writing);
      expect(bench.sourceDriver.bytes[3 * MIB]).toBe(1);
      await bench.target.close();
    }
  });

  it("fails the guest's write whose old data cannot be copied, and goes on itself", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: MIB });
    const section = await bench.source.drain();
    const backup = await bench.start();
    bench.targetDriver.fault = () => "EIO";
    expect(() => bench.source.writeZeroes(0, 512)).toThrow(new BlockError("EIO"));
    expect(bench.dirtyBytes).toBe(0);
    expect(bench.sourceDriver.calls.some((call) => call.kind === "write-zeroes")).toBe(false);
    bench.targetDriver.fault = undefined;
    section[Symbol.dispose]();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(bench.events).toEqual([...START, ...SUCCESS]);
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
  });

  it("ends when what guests have in flight has ended", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: 4 * MIB, target: SLOW });
    const backup = await bench.start();
    bench.targetDriver.fault = (call) => (call.offsetBytes === 0 ? "EIO" : undefined);
    const late: Promise<void>[] = [];
    bench.jobs.listen((_job, event) => {
      if (event.kind === "error") late.push(Promise.resolve(bench.write(3 * MIB, CLUSTER, 0xaa)));
    });
    expect((await simulation.run(backup.job.untilConcluded())).kind).toBe("failed");
    expect(bench.targetDriver.inFlight).toEqual([]);
    expect(bench.traces).toEqual(NO_TRACES);
    expect(late).toHaveLength(1);
    await simulation.run(Promise.all(late));
    expect(bench.sourceDriver.bytes[3 * MIB]).toBe(0xaa);
  });

  it("fails when the source shrinks under it, and keeps its moment when the source grows", async () => {
    for (const lengthBytes of [MIB, 4 * MIB]) {
      const bench = new BackupBench(simulation, { lengthBytes: 2 * MIB + 512, target: SLOW });
      const backup = await bench.start();
      await simulation.run(bench.source.resize(lengthBytes));
      await simulation.run(Promise.resolve(bench.write(lengthBytes - 512, 512, 0xaa)));
      const outcome = await simulation.run(backup.job.untilConcluded());
      if (lengthBytes === MIB) expect(outcome).toEqual({ kind: "failed", error: new BlockError("EIO") });
      else expect(outcome).toEqual({ kind: "completed" });
      expect(same(bench.targetDriver.bytes, bench.before)).toBe(lengthBytes > MIB);
      expect(bench.traces).toEqual(NO_TRACES);
    }
  });
});

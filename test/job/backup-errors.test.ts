// Every I/O request of a backup fails once, with each policy; and errors under a limit of speed (backup.md §1.10, corrections.md B8, B15).
import { beforeEach, describe, expect, it } from "vitest";
import type { Errno } from "../../src/base/errors.ts";
import type { ErrorPolicy } from "../../src/block/error-policy.ts";
import type { BackupOptions } from "../../src/job/backup-options.ts";
import { CLUSTER, same } from "../support/copy-pair.ts";
import type { DriverCall } from "../support/faulty-driver.ts";
import { Simulation } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";

const CLUSTERS = 10;
const ZEROES = new Uint8Array(4096);
/** Written before the backup, and so in the bitmap; the last of them is half a cluster of zeroes, the first all zeroes. */
const DIRTY = [0, 2, 3, 7];

type Mode = "full" | "top" | "bitmap" | "none";

interface Run {
  readonly bench: BackupBench;
  readonly before: Uint8Array;
  /** What the job asked of the drivers. */
  readonly calls: readonly { side: "source" | "target"; call: DriverCall }[];
}

/** A backup whose I/O request number `failing` fails with `errno`. Zeroes are known as such. */
async function run(mode: Mode, policy: ErrorPolicy, errno: Errno, failing: number, delayed: number): Promise<Run> {
  const simulation = new Simulation(failing + 1);
  const calls: { side: "source" | "target"; call: DriverCall }[] = [];
  let counting = false;
  const faultOf = (side: "source" | "target") => (call: DriverCall) => {
    if (!counting || (side === "source" && call.kind !== "read" && call.kind !== "status")) return undefined;
    calls.push({ side, call });
    return calls.length - 1 === failing ? errno : undefined;
  };
  const status = (offset: number, length: number) => {
    const zero = (at: number): boolean => same(bench.sourceDriver.bytes.subarray(at, at + 4096), ZEROES);
    let end = offset + 4096;
    while (end < offset + length && zero(end) === zero(offset)) end += 4096;
    return { lengthBytes: Math.min(end - offset, length), allocated: true, data: !zero(offset), zero: zero(offset) };
  };
  const bench = new BackupBench(simulation, {
    lengthBytes: CLUSTERS * CLUSTER,
    source: { delayed, status, fault: faultOf("source") },
    target: { delayed, fault: faultOf("target") },
  });
  await simulation.run(Promise.resolve(bench.guest.writeZeroes(0, CLUSTER)));
  for (const cluster of DIRTY.slice(1))
    await simulation.run(Promise.resolve(bench.write(cluster * CLUSTER, CLUSTER, cluster)));
  await simulation.run(Promise.resolve(bench.guest.writeZeroes(7 * CLUSTER, CLUSTER / 2)));
  const before = bench.sourceDriver.bytes.slice();
  counting = true;
  const options: Partial<BackupOptions> = {
    sync: mode,
    onSourceError: policy,
    onTargetError: policy,
    maxChunkBytes: 2 * CLUSTER,
  };
  const bitmap = mode === "none" ? {} : { bitmap: "b", bitmapMode: "on-success" as const };
  const backup = await bench.start({ ...options, ...bitmap });
  if (mode === "none") {
    await serve(bench);
    backup.job.cancel();
  }
  for (let status = ""; status !== "null"; status = backup.job.status) {
    await simulation.run(simulation.after(20));
    if (backup.job.userPaused) {
      expect(backup.job.query()).toMatchObject({
        status: "paused",
        ioStatus: errno === "ENOSPC" ? "nospace" : "failed",
      });
      backup.job.resume();
    }
  }
  return { bench, before, calls };
}

/** A guest whose writes fail where their copy does, and who then tries again. */
async function serve(bench: BackupBench): Promise<void> {
  for (const cluster of DIRTY) {
    const write = async (): Promise<void> => bench.write(cluster * CLUSTER + 512, 512, 0xaa);
    await bench.simulation.run(write().catch(write));
  }
}

function action(policy: ErrorPolicy, errno: Errno): "report" | "ignore" | "stop" {
  if (policy === "enospc" || policy === "auto") return errno === "ENOSPC" ? "stop" : "report";
  return policy;
}

/** Whatever the mode covers holds T0. */
function covered(mode: Mode, { bench, before }: Run): boolean {
  const clusters = mode === "full" || mode === "top" ? [...Array(CLUSTERS).keys()] : DIRTY;
  return clusters.every((i) =>
    same(
      bench.targetDriver.bytes.subarray(i * CLUSTER, (i + 1) * CLUSTER),
      before.subarray(i * CLUSTER, (i + 1) * CLUSTER),
    ),
  );
}

const policies: readonly ErrorPolicy[] = ["report", "ignore", "stop", "enospc", "auto"];
const modes: readonly Mode[] = ["full", "top", "bitmap", "none"];
const cells = modes.flatMap((mode) => policies.map((policy) => ({ mode, policy })));

describe("A backup of which one I/O request fails", () => {
  it.each(cells)("sync=$mode, policy $policy", async ({ mode, policy }) => {
    for (const delayed of [0, 1]) {
      for (const errno of ["EIO", "ENOSPC"] as const) {
        let failing = 0;
        for (; ; failing++) {
          const result = await run(mode, policy, errno, failing, delayed);
          const { bench, calls } = result;
          const { events } = bench;
          expect(bench.traces).toEqual(NO_TRACES);
          expect(bench.source.bitmaps.get("b")).toMatchObject({ busy: false, successor: undefined, enabled: true });
          expect(events.at(-1)).toBe("null");
          const failed = calls[failing];
          const errors = events.filter((event) => event.startsWith("ERROR"));
          if (mode === "none") {
            expect(errors).toEqual([]);
            expect(events).toContain("CANCELLED");
            expect(covered(mode, result)).toBe(true);
          } else if (failed === undefined || (failed.call.kind === "status" && mode !== "top")) {
            // A status that nobody knows is data.
            expect(errors).toEqual([]);
            expect(events).toContain("COMPLETED");
            expect(covered(mode, result)).toBe(true);
            expect(bench.dirtyBytes).toBe(0);
          } else if (failed.call.kind === "status") {
            // Of the scan, which has no policy, or of the copy.
            expect(errors).toEqual([]);
          } else {
            const done = action(policy, errno);
            expect(errors).toEqual([`ERROR ${failed.side === "source" ? "read" : "write"} ${done}`]);
            if (done === "report") {
              expect(events.some((event) => event.startsWith("COMPLETED "))).toBe(true);
              expect(bench.dirtyBytes).toBe(DIRTY.length * CLUSTER);
            } else {
              expect(events).toContain("COMPLETED");
              expect(covered(mode, result)).toBe(true);
              expect(bench.dirtyBytes).toBe(0);
            }
          }
          if (failed === undefined) break;
        }
        expect(failing, "requests of the job").toBeGreaterThanOrEqual(8);
      }
    }
  });
});

describe("A backup under a limit of speed", () => {
  let simulation: Simulation;
  let bench: BackupBench;
  beforeEach(() => {
    simulation = new Simulation(1);
  });

  const pass = (ms: number): Promise<void> => simulation.run(simulation.after(ms));
  const SLOWEST = { speed: 1, maxWorkers: 1, maxChunkBytes: CLUSTER } as const;

  /** Its first chunk, or one that is named, has failed, once. */
  async function start(options: Partial<BackupOptions> = {}, failing = 0, delayed = 0) {
    let failed = false;
    bench = new BackupBench(simulation, {
      lengthBytes: 4 * CLUSTER,
      source: { delayed },
      target: {
        delayed,
        fault: ({ offsetBytes }) => {
          if (failed || offsetBytes !== failing * CLUSTER) return undefined;
          failed = true;
          return "EIO";
        },
      },
    });
    const backup = await bench.start({ ...SLOWEST, ...options });
    await pass(50);
    expect(bench.events.slice(4)).toEqual([]);
    expect(backup.job.query()).toMatchObject({
      status: "running",
      busy: false,
      progress: { current: 0, total: 4 * CLUSTER },
    });
    return backup;
  }

  const REPORTED = ["ERROR write report", "aborting", "COMPLETED Input/output error", "concluded", "null"];

  it.each([
    [0, 0],
    [1, 0],
    [0, 1],
    [7, 1],
  ])(
    "says that a chunk failed at the next set-speed, to %i too, before it copies any other",
    async (speed, delayed) => {
      const backup = await start({}, 0, delayed);
      const calls = bench.targetDriver.calls.length;
      backup.job.setSpeed(speed);
      await simulation.run(backup.job.untilConcluded());
      expect(bench.events.slice(4)).toEqual(REPORTED);
      expect(bench.targetDriver.calls.length).toBe(calls);
    },
  );

  it("says so when the wait is over", async () => {
    const backup = await start();
    await simulation.run(backup.job.untilConcluded());
    expect(bench.events.slice(4)).toEqual(REPORTED);
    expect(simulation.nowMs()).toBe(CLUSTER * 100);
  });

  it.each(["user", "source", "target"])("forgets it in a pause by %s, and copies the chunk again", async (by) => {
    const backup = await start();
    if (by === "user") {
      backup.job.pause();
      await pass(1);
      backup.job.resume();
    } else {
      const section = await simulation.run((by === "source" ? bench.source : bench.target).drain());
      section[Symbol.dispose]();
    }
    await pass(1);
    backup.job.setSpeed(0);
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(bench.events.slice(4)).toEqual([
      "paused",
      "running",
      "waiting",
      "pending",
      "COMPLETED",
      "concluded",
      "null",
    ]);
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
  });

  it("never says so when it is cancelled before", async () => {
    const backup = await start();
    backup.job.cancel();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "cancelled" });
    expect(bench.events.slice(4)).toEqual(["aborting", "CANCELLED", "concluded", "null"]);
  });

  it("lets a guest copy the chunk meanwhile", async () => {
    const backup = await start();
    await simulation.run(Promise.resolve(bench.write(512, 512, 0xaa)));
    expect(backup.progress).toEqual({ current: CLUSTER, total: 4 * CLUSTER });
  });

  it("says so at once when it was the last chunk", async () => {
    bench = new BackupBench(simulation, { lengthBytes: CLUSTER, target: { delayed: 1, fault: () => "EIO" } });
    const backup = await bench.start(SLOWEST);
    await simulation.run(backup.job.untilConcluded());
    expect(bench.events.slice(4)).toEqual(REPORTED);
    expect(simulation.nowMs()).toBeLessThan(100);
  });

  it("stops and goes on by resume, which the limit then holds as before", async () => {
    const backup = await start({ onTargetError: "stop" });
    backup.job.setSpeed(1);
    await pass(50);
    expect(bench.events.slice(4)).toEqual(["ERROR write stop", "paused"]);
    backup.job.resume();
    await pass(50);
    expect(backup.job.query()).toMatchObject({ status: "running", busy: false, progress: { current: 0 } });
    backup.job.setSpeed(0);
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
  });

  it("copies one chunk, and then none until the speed is no limit", async () => {
    bench = new BackupBench(simulation, { lengthBytes: 4 * CLUSTER });
    const backup = await bench.start(SLOWEST);
    await pass(1000);
    expect(backup.progress.current).toBe(CLUSTER);
    for (const speed of [1, 2, 1]) {
      backup.job.setSpeed(speed);
      await pass(1000);
      expect(backup.progress.current).toBe(CLUSTER);
    }
    await simulation.run(Promise.resolve(bench.write(3 * CLUSTER, 512, 0xaa)));
    expect(backup.progress.current).toBe(2 * CLUSTER);
    backup.job.setSpeed(0);
    await simulation.run(backup.job.untilConcluded());
    expect(same(bench.targetDriver.bytes, bench.before)).toBe(true);
  });

  it("takes 3.75 seconds for 16 chunks at 256 KiB a second", async () => {
    bench = new BackupBench(simulation, { lengthBytes: 16 * CLUSTER, source: { delayed: 1 }, target: { delayed: 1 } });
    const backup = await bench.start({ speed: 262144, maxChunkBytes: CLUSTER });
    await simulation.run(backup.job.untilConcluded());
    expect(simulation.nowMs()).toBeGreaterThanOrEqual(3750);
    expect(simulation.nowMs()).toBeLessThan(3800);
  });
});

describe("A backup that ignores an error for good", () => {
  it("lets all others have their turn each time, and is cancelled", async () => {
    const simulation = new Simulation(1);
    const bench = new BackupBench(simulation, { lengthBytes: CLUSTER, target: { fault: () => "EIO" } });
    const backup = await bench.start({ onTargetError: "ignore" });
    for (let turn = 0; turn < 100; turn++) await simulation.run(simulation.yield());
    const errors = bench.events.filter((event) => event === "ERROR write ignore").length;
    expect(errors).toBeGreaterThan(10);
    expect(errors).toBeLessThan(400);
    backup.job.cancel();
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "cancelled" });
    expect(bench.traces).toEqual(NO_TRACES);
  });
});

// Each I/O request fails once: of backups with each bitmap mode, alone and in a group, and of the copies that guests wait for. backup.md §1.6, §3.1, §4.4.
import { describe, expect, it } from "vitest";
import { BlockError, type Errno } from "../../src/base/errors.ts";
import type { OnCbwError } from "../../src/block/block-copy-notifier.ts";
import type { ErrorPolicy } from "../../src/block/error-policy.ts";
import { BackupAction } from "../../src/job/backup-action.ts";
import type { BackupOptions, BackupSync, BitmapMode } from "../../src/job/backup-options.ts";
import { runTransaction } from "../../src/job/transaction.ts";
import { CLUSTER, same } from "../support/copy-pair.ts";
import type { DriverCall } from "../support/faulty-driver.ts";
import { Simulation } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";

const CLUSTERS = 6;
const ALL = [...Array(CLUSTERS).keys()];
/** Dirty before the backup: P. */
const BEFORE = [0, 2, 3];
/** Written during the backup: W. */
const DURING = [3, 4];

/** A disk of which P is dirty, whose request number `failing` fails once it counts. */
class Failing {
  readonly bench: BackupBench;
  readonly calls: DriverCall[] = [];
  readonly t0: Uint8Array;
  readonly #failing: number;
  readonly #errno: Errno;
  #counting = false;

  constructor(simulation: Simulation, failing: number, errno: Errno = "EIO", delayed = 1) {
    this.#failing = failing;
    this.#errno = errno;
    const fault = (kinds: readonly string[]) => (call: DriverCall) => this.#fault(call, kinds);
    this.bench = new BackupBench(simulation, {
      lengthBytes: CLUSTERS * CLUSTER,
      source: { delayed, fault: fault(["read"]) },
      target: { delayed, fault: fault(["write", "write-zeroes"]) },
    });
    // A cluster of zeroes, which is written as such.
    this.bench.sourceDriver.bytes.fill(0, 2 * CLUSTER, 3 * CLUSTER);
    for (const cluster of BEFORE) this.bench.source.bitmaps.get("b").set(cluster * CLUSTER, CLUSTER);
    this.t0 = this.bench.sourceDriver.bytes.slice();
  }

  #fault(call: DriverCall, kinds: readonly string[]): Errno | undefined {
    if (!this.#counting || !kinds.includes(call.kind)) return undefined;
    this.calls.push(call);
    return this.calls.length - 1 === this.#failing ? this.#errno : undefined;
  }

  /** From now on, or until now. */
  count(counting = true): void {
    this.#counting = counting;
  }

  get failed(): DriverCall | undefined {
    return this.calls[this.#failing];
  }

  get dirty(): number[] {
    const { bits } = this.bench.source.bitmaps.get("b");
    return ALL.filter((i) => bits.get(i * CLUSTER));
  }

  /** The clusters that the target holds as they were at T0. */
  get copied(): number[] {
    const of = (bytes: Uint8Array, i: number): Uint8Array => bytes.subarray(i * CLUSTER, (i + 1) * CLUSTER);
    return ALL.filter((i) => same(of(this.bench.targetDriver.bytes, i), of(this.t0, i)));
  }

  /** A guest's write to each cluster of W, each when the one before has ended; what becomes of them is theirs. */
  async write(): Promise<void> {
    for (const cluster of DURING) {
      try {
        await this.bench.write(cluster * CLUSTER + 512, 512, 0xaa);
      } catch (error) {
        if (!(error instanceof BlockError)) throw error;
        // It tries again, as guests do.
        await this.bench.write(cluster * CLUSTER + 512, 512, 0xaa);
      }
    }
  }

  expectNothingLeft(): void {
    expect(this.bench.traces).toEqual(NO_TRACES);
    expect(this.bench.source.bitmaps.count).toBe(1);
    expect(this.bench.source.bitmaps.get("b")).toMatchObject({ busy: false, successor: undefined, enabled: true });
    expect([this.bench.source.inFlight, this.bench.target.inFlight, this.bench.guest.inFlight]).toEqual([0, 0, 0]);
  }
}

/** Lets jobs go on that an error has stopped, until all are gone. */
async function attend(simulation: Simulation, benches: readonly BackupBench[]): Promise<void> {
  while (benches.some(({ jobs }) => [...jobs].length > 0)) {
    await simulation.after(10);
    for (const { jobs } of benches) for (const job of [...jobs]) if (job.userPaused) job.resume();
  }
}

function union(...sets: readonly number[][]): number[] {
  return ALL.filter((i) => sets.some((set) => set.includes(i)));
}

interface Mode {
  readonly sync: BackupSync;
  readonly bitmapMode: BitmapMode;
}

const MODES: readonly Mode[] = [
  { sync: "full", bitmapMode: "on-success" },
  { sync: "full", bitmapMode: "always" },
  { sync: "top", bitmapMode: "always" },
  { sync: "bitmap", bitmapMode: "on-success" },
  { sync: "bitmap", bitmapMode: "always" },
  { sync: "bitmap", bitmapMode: "never" },
];

/** §3.1, of a job that has ended. */
function expectBitmap(disk: Failing, { sync, bitmapMode }: Mode, completed: boolean): void {
  const covered = sync === "bitmap" ? BEFORE : ALL;
  if (completed) expect(union(covered, disk.copied)).toEqual(disk.copied);
  if (completed && bitmapMode !== "never") return expect(disk.dirty).toEqual(DURING);
  if (bitmapMode !== "always") return expect(disk.dirty).toEqual(union(BEFORE, DURING));
  // W ∪ R: nothing is lost, and what was copied and not written to since is clean.
  const lost = covered.filter((i) => !disk.copied.includes(i));
  expect(union(lost, DURING, disk.dirty)).toEqual(disk.dirty);
  expect(union(covered, DURING, disk.dirty)).toEqual(union(covered, DURING));
}

function optionsOf({ bench: { source, target } }: Failing, mode: Mode, policy: ErrorPolicy): BackupOptions {
  const policies = { onSourceError: policy, onTargetError: policy };
  return { id: "j0", source, target, bitmap: "b", ...mode, ...policies, maxChunkBytes: CLUSTER };
}

const POLICIES: readonly ErrorPolicy[] = ["report", "ignore", "stop", "enospc", "auto"];

describe.each(MODES)("A backup with sync=$sync and bitmap-mode=$bitmapMode beside a guest", (mode) => {
  it.each(POLICIES)("loses no bit whichever request fails, with policy %s", async (policy) => {
    for (const errno of ["EIO", "ENOSPC"] as const) {
      for (let failing = 0; ; failing++) {
        const simulation = new Simulation(failing + 1);
        const disk = new Failing(simulation, failing, errno);
        const { bench } = disk;
        const { job } = await bench.start(optionsOf(disk, mode, policy));
        disk.count();
        const work = Promise.all([job.untilConcluded(), disk.write(), attend(simulation, [bench])]);
        const [{ kind }] = await simulation.run(work);
        const errors = bench.events.filter((event) => event.startsWith("ERROR"));
        // A guest's own copy fails its write alone.
        expect(kind).toBe(errors.some((event) => event.endsWith("report")) ? "failed" : "completed");
        expectBitmap(disk, mode, kind === "completed");
        disk.expectNothingLeft();
        if (disk.failed === undefined) {
          expect(failing, "requests of the job").toBeGreaterThanOrEqual(5);
          break;
        }
      }
    }
  });

  it("takes the other job of its group with it, or neither, whichever request fails", async () => {
    for (let failing = 0; ; failing++) {
      const simulation = new Simulation(failing + 1);
      const disks = [new Failing(simulation, failing), new Failing(simulation, Number.POSITIVE_INFINITY)] as const;
      const actions = disks.map(
        (disk) =>
          new BackupAction("blockdev-backup", disk.bench.jobs, () => optionsOf(disk, mode, "report"), simulation),
      );
      const nodes = disks.flatMap(({ bench }) => [bench.source, bench.target]);
      await simulation.run(runTransaction({ actions, nodes, completionMode: "grouped" }));
      disks[0].count();
      const jobs = actions.map((action) => action.backup!.job.untilConcluded());
      const attended = attend(
        simulation,
        disks.map(({ bench }) => bench),
      );
      const writes = disks.map((disk) => disk.write());
      const [outcomes] = await simulation.run(Promise.all([Promise.all(jobs), attended, ...writes]));
      const kinds = outcomes.map(({ kind }) => kind);
      const reported =
        disks[0].bench.events.includes("ERROR read report") || disks[0].bench.events.includes("ERROR write report");
      expect(kinds).toEqual(reported ? ["failed", "cancelled"] : ["completed", "completed"]);
      for (const disk of disks) {
        expectBitmap(disk, mode, !reported);
        disk.expectNothingLeft();
      }
      if (disks[0].failed === undefined) break;
    }
  });
});

describe("A copy that a guest's write waits for", () => {
  const errors: readonly OnCbwError[] = ["break-guest-write", "break-snapshot"];

  it.each(errors)(
    "fails once at each of its requests, with on-cbw-error=%s, and the job goes on",
    async (onCbwError) => {
      for (const kind of ["write", "write-zeroes"] as const) {
        let failing = 0;
        for (; ; failing++) {
          const simulation = new Simulation(failing + 1);
          const disk = new Failing(simulation, failing, "ENOSPC");
          const { bench } = disk;
          const { job } = await bench.start({ ...optionsOf(disk, MODES[0]!, "report"), speed: 1, onCbwError });
          job.pause();
          await simulation.run(simulation.after(100));
          const copiedByThen = job.progress.current;
          disk.count();
          const offset = 2 * CLUSTER + 512;
          const length = 3 * CLUSTER;
          const send = async (): Promise<string> => {
            if (kind === "write") await bench.write(offset, length, 0xaa);
            else await bench.guest.writeZeroes(offset, length, { mayUnmap: true });
            return "passes";
          };
          const result = await simulation.run(send().catch((error: BlockError) => error.errno));
          const breaks = disk.failed !== undefined && onCbwError === "break-guest-write";
          expect(result).toBe(breaks ? "ENOSPC" : "passes");
          // A write that never reached the disk has changed no bit of it; B1 of corrections.md.
          const { successor } = bench.source.bitmaps.get("b");
          expect(successor?.countBytes).toBe(breaks ? 0 : 4 * CLUSTER);
          expect(same(bench.sourceDriver.bytes, disk.t0)).toBe(breaks);
          expect(bench.events.filter((event) => event.startsWith("ERROR"))).toEqual([]);
          expect(job.status).toBe("paused");
          if (disk.failed === undefined) expect(job.progress.current).toBeGreaterThan(copiedByThen);
          disk.count(false);
          job.resume();
          job.setSpeed(0);
          expect(await simulation.run(job.untilConcluded())).toEqual({ kind: "completed" });
          if (disk.failed === undefined || breaks) expect(disk.copied).toEqual(ALL);
          disk.expectNothingLeft();
          if (disk.failed === undefined) break;
        }
        expect(failing, "requests of the copy").toBeGreaterThanOrEqual(2);
      }
    },
  );
});

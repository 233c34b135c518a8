// Random guests beside a backup, on drivers that delay, reorder and fail: the target holds T0 or the job reports an error.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Errno } from "../../src/base/errors.ts";
import type { BlockStatus } from "../../src/block/driver.ts";
import { checkCopiedOnce, checkCopyOrder } from "../support/copy-order.ts";
import { same } from "../support/copy-pair.ts";
import type { DriverCall } from "../support/faulty-driver.ts";
import { checkBitmap, GuestProgram, type GuestStep, guestSteps } from "../support/guest-program.ts";
import { Random, Simulation } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";

const RUNS = process.env["VBLK_SOAK"] === undefined ? 2500 : 200_000;
const ERRORS: readonly Errno[] = ["EIO", "ENOSPC", "ETIMEDOUT"];
const MAX_SECTORS = 2100;
const BLOCK_BYTES = 4096;

interface Program {
  readonly seed: number;
  readonly sectors: number;
  readonly minClusterSizeBytes: number;
  readonly maxChunkBytes: number;
  readonly maxWorkers: number;
  readonly sourceDelayed: number;
  readonly targetDelayed: number;
  /** How often a call fails, per call. */
  readonly sourceFaults: number;
  readonly targetFaults: number;
  /** The disk has zeroes, and its driver knows of those in blocks of 4 KiB. */
  readonly zeroes: boolean;
  readonly startMs: number;
  readonly early: readonly GuestStep[];
  readonly steps: readonly GuestStep[];
  /** Drained sections of source and target, and a cancel, at these times. */
  readonly drainsMs: readonly number[];
  readonly cancelMs: number | undefined;
}

const program: fc.Arbitrary<Program> = fc.record({
  seed: fc.nat(0x7fffffff),
  sectors: fc.oneof(fc.integer({ min: 1, max: MAX_SECTORS }), fc.constantFrom(128, 256, 2048)),
  minClusterSizeBytes: fc.constantFrom(0, 65536, 131072),
  maxChunkBytes: fc.constantFrom(0, 131072, 196608),
  maxWorkers: fc.constantFrom(1, 2, 64),
  sourceDelayed: fc.constantFrom(0, 0.5, 1),
  targetDelayed: fc.constantFrom(0, 0.5, 1, 1),
  sourceFaults: fc.constantFrom(0, 0, 0, 0.01, 0.1),
  targetFaults: fc.constantFrom(0, 0, 0, 0.01, 0.1),
  zeroes: fc.boolean(),
  startMs: fc.nat(12),
  early: guestSteps(4, 300),
  steps: guestSteps(24, 300),
  drainsMs: fc.array(fc.nat(60), { maxLength: 3 }),
  cancelMs: fc.option(fc.nat(80), { nil: undefined, freq: 6 }),
});

/** Faults of calls of some kinds, by chance. */
function faults(random: Random, rate: number, kinds: readonly string[]): (call: DriverCall) => Errno | undefined {
  return ({ kind }) => (kinds.includes(kind) && random.chance(rate) ? ERRORS[random.below(ERRORS.length)] : undefined);
}

/** Zeroes part of the disk. */
function punch(bytes: Uint8Array, random: Random): void {
  for (let at = 0; at < bytes.length; ) {
    const length = BLOCK_BYTES * (1 + random.below(60));
    if (random.chance(0.4)) bytes.fill(0, at, at + length);
    at += length;
  }
}

/** What a file system would know: which blocks are zero. */
function statusOf(bytes: Uint8Array, offset: number, length: number): BlockStatus {
  const end = offset + length;
  const isZero = (at: number): boolean => bytes.subarray(at, Math.min(blockEnd(at), end)).every((byte) => byte === 0);
  const zero = isZero(offset);
  let to = Math.min(blockEnd(offset), end);
  while (to < end && isZero(to) === zero) to = Math.min(blockEnd(to), end);
  return { lengthBytes: to - offset, allocated: true, data: !zero, zero };
}

function blockEnd(at: number): number {
  return (Math.floor(at / BLOCK_BYTES) + 1) * BLOCK_BYTES;
}

async function runProgram(plan: Program): Promise<void> {
  const simulation = new Simulation(plan.seed);
  const random = new Random(plan.seed + 1);
  const status = (offset: number, length: number): BlockStatus => statusOf(bench.sourceDriver.bytes, offset, length);
  const bench = new BackupBench(simulation, {
    lengthBytes: plan.sectors * 512,
    source: {
      ...(plan.zeroes ? { status } : {}),
      delayed: plan.sourceDelayed,
      fault: faults(random, plan.sourceFaults, ["read", "write", "write-zeroes", "discard", "status"]),
    },
    target: { delayed: plan.targetDelayed, fault: faults(random, plan.targetFaults, ["write", "write-zeroes"]) },
  });
  if (plan.zeroes) punch(bench.sourceDriver.bytes, random);
  const before = bench.sourceDriver.bytes.slice();

  let t0 = before;
  let from = Number.POSITIVE_INFINITY;
  let until = Number.POSITIVE_INFINITY;
  let leftInFlight: readonly DriverCall[] = [];
  bench.jobs.listen((_job, event) => {
    if (event.kind === "status-change" && event.status === "created") {
      t0 = bench.sourceDriver.bytes.slice();
      from = simulation.order();
    }
    if (event.kind === "status-change" && event.status === "concluded") leftInFlight = bench.targetDriver.inFlight;
    // From its first error on the job is lost, and guests are held up no longer.
    if (event.kind === "error" || event.kind === "completed") until = Math.min(until, simulation.order());
  });

  const guest = new GuestProgram(simulation, bench.guest);
  const early = guest.run(plan.early);
  await simulation.run(simulation.after(plan.startMs));
  const { minClusterSizeBytes, maxChunkBytes, maxWorkers } = plan;
  const backup = await bench.start({ minClusterSizeBytes, maxChunkBytes, maxWorkers });
  const drain = async (ms: number): Promise<void> => {
    await simulation.after(ms);
    using _section = await (ms % 2 === 0 ? bench.source : bench.target).drain();
    // The target of a job that has ended is nobody's: draining it holds no guest.
    const drained = ms % 2 === 0 ? [bench.sourceDriver, bench.targetDriver] : [bench.targetDriver];
    const calls = (): number[] => drained.map((driver) => driver.calls.length);
    const before = calls();
    const inFlight = drained.flatMap((driver) => driver.inFlight);
    expect(inFlight, "quiet in a drained section").toEqual([]);
    await simulation.after(ms % 7);
    expect(calls(), "quiet in a drained section").toEqual(before);
  };
  const cancel = async (): Promise<void> => {
    if (plan.cancelMs === undefined) return;
    await simulation.after(plan.cancelMs);
    if (backup.job.status === "null") return;
    until = Math.min(until, simulation.order());
    backup.job.cancel();
  };
  const all = [early, guest.run(plan.steps), cancel(), ...plan.drainsMs.map(drain)];
  const [outcome] = await simulation.run(Promise.all([backup.job.untilConcluded(), ...all]));

  const { source, sourceDriver, target, targetDriver, events } = bench;
  const { clusterSizeBytes, clustersCopied } = backup;
  const faulty = plan.sourceFaults + plan.targetFaults > 0;
  switch (outcome.kind) {
    case "completed": {
      expect(same(targetDriver.bytes, t0), "the target holds T0").toBe(true);
      const clusters = Math.ceil(bench.before.length / clusterSizeBytes);
      expect(backup.progress).toEqual({ current: clusters * clusterSizeBytes, total: clusters * clusterSizeBytes });
      expect(clustersCopied.background + clustersCopied.guest).toBe(clusters);
      if (!faulty) checkCopiedOnce(targetDriver);
      break;
    }
    case "failed":
      expect(faulty, "nothing failed, and yet the job did").toBe(true);
      expect(ERRORS).toContain(outcome.error.errno);
      expect(events.filter((event) => event.startsWith("ERROR"))).toHaveLength(1);
      break;
    case "cancelled":
      expect(plan.cancelMs).toBeDefined();
      break;
  }
  checkCopyOrder({ source: sourceDriver, target: targetDriver, clusterSizeBytes, from, until });
  guest.checkContents(sourceDriver, before);
  checkBitmap(source.bitmaps.get("b").bits, sourceDriver);
  expect(events.at(-1)).toBe("null");
  expect(leftInFlight, "in flight to the target when the job had ended").toEqual([]);
  expect(bench.traces).toEqual(NO_TRACES);
  expect([source.inFlight, target.inFlight, bench.guest.inFlight]).toEqual([0, 0, 0]);
  expect([sourceDriver.inFlight, targetDriver.inFlight]).toEqual([[], []]);
  await target.close();
}

describe("Backup beside random guests", () => {
  it("leaves T0 on the target or reports an error, loses no write and no bit, and nothing hangs", {
    timeout: RUNS * 100,
  }, async () => {
    await fc.assert(fc.asyncProperty(program, runProgram), { numRuns: RUNS });
  });
});

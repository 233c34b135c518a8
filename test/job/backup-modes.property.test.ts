// Random guests and users beside a backup in any mode, on drivers that delay, reorder and fail, against a flat model.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Errno, QmpError } from "../../src/base/errors.ts";
import type { BlockStatus } from "../../src/block/driver.ts";
import type { ErrorPolicy } from "../../src/block/error-policy.ts";
import type { BackupSync, BitmapMode } from "../../src/job/backup-options.ts";
import type { Job } from "../../src/job/job.ts";
import { checkCopyOrder } from "../support/copy-order.ts";
import { CLUSTER, same } from "../support/copy-pair.ts";
import type { DriverCall, FaultyDriver } from "../support/faulty-driver.ts";
import { GuestProgram, type GuestStep, guestSteps } from "../support/guest-program.ts";
import { Random, Simulation } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";

const RUNS = process.env["VBLK_SOAK"] === undefined ? 1500 : 200_000;
const ERRORS: readonly Errno[] = ["EIO", "ENOSPC"];
const BLOCK_BYTES = 4096;
const ZEROES = new Uint8Array(BLOCK_BYTES);
const STALE = 0xee;

/** What a user does to the job, and when. */
interface UserStep {
  readonly what: "pause" | "resume" | "set-speed" | "drain source" | "drain target";
  readonly afterMs: number;
  readonly speed: number;
}

interface Program {
  readonly seed: number;
  readonly sectors: number;
  readonly mode: { readonly sync: BackupSync; readonly bitmapMode: BitmapMode | undefined };
  readonly policies: readonly [ErrorPolicy, ErrorPolicy];
  readonly maxChunkBytes: number;
  readonly maxWorkers: number;
  readonly speed: number;
  readonly delayed: readonly [number, number];
  /** How often a call fails, per call. */
  readonly faults: readonly [number, number];
  readonly autoFinalize: boolean;
  readonly early: readonly GuestStep[];
  readonly steps: readonly GuestStep[];
  readonly user: readonly UserStep[];
  readonly cancelMs: number | undefined;
}

const SPEEDS = [0, 1_000_000, 4_000_000] as const;
const policy = fc.constantFrom<ErrorPolicy>("report", "ignore", "stop", "enospc", "auto");
const modes = (
  [
    ["full", undefined],
    ["full", "on-success"],
    ["full", "always"],
    ["top", undefined],
    ["top", "on-success"],
    ["top", "always"],
    ["none", undefined],
    ["incremental", undefined],
    ["bitmap", "on-success"],
    ["bitmap", "always"],
    ["bitmap", "never"],
  ] as const
).map(([sync, bitmapMode]) => ({ sync, bitmapMode }));

const program: fc.Arbitrary<Program> = fc.record({
  seed: fc.nat(0x7fffffff),
  sectors: fc.oneof(fc.integer({ min: 1, max: 2100 }), fc.constantFrom(128, 2048)),
  mode: fc.constantFrom(...modes),
  policies: fc.tuple(policy, policy),
  maxChunkBytes: fc.constantFrom(0, 65536, 131073),
  maxWorkers: fc.constantFrom(1, 64),
  speed: fc.constantFrom(...SPEEDS),
  delayed: fc.tuple(fc.constantFrom(0, 0.5, 1), fc.constantFrom(0, 0.5, 1)),
  faults: fc.tuple(fc.constantFrom(0, 0, 0.05), fc.constantFrom(0, 0, 0.05)),
  autoFinalize: fc.boolean(),
  early: guestSteps(4, 300),
  steps: guestSteps(20, 300),
  user: fc.array(
    fc.record({
      what: fc.constantFrom<UserStep["what"]>("pause", "resume", "set-speed", "drain source", "drain target"),
      afterMs: fc.nat(20),
      speed: fc.constantFrom(...SPEEDS),
    }),
    { maxLength: 5 },
  ),
  cancelMs: fc.option(fc.nat(80), { nil: undefined, freq: 3 }),
});

function faults(random: Random, rate: number, kinds: readonly string[]): (call: DriverCall) => Errno | undefined {
  return ({ kind }) => (kinds.includes(kind) && random.chance(rate) ? ERRORS[random.below(ERRORS.length)] : undefined);
}

/** What is zero is not the layer's own: writing zeroes takes it away, writing data brings it back. */
function statusOf(bytes: Uint8Array, offset: number, length: number): BlockStatus {
  const end = offset + length;
  const blockEnd = (at: number): number => Math.min((Math.floor(at / BLOCK_BYTES) + 1) * BLOCK_BYTES, end);
  const hole = (at: number): boolean => isHole(bytes, Math.floor(at / BLOCK_BYTES) * BLOCK_BYTES);
  const zero = hole(offset);
  let to = blockEnd(offset);
  while (to < end && hole(to) === zero) to = blockEnd(to);
  return { lengthBytes: to - offset, allocated: !zero, data: !zero, zero };
}

function isHole(bytes: Uint8Array, block: number): boolean {
  const there = bytes.subarray(block, block + BLOCK_BYTES);
  return same(there, ZEROES.subarray(0, there.length));
}

function punch(bytes: Uint8Array, random: Random): void {
  for (let at = 0; at < bytes.length; ) {
    const length = BLOCK_BYTES * (1 + random.below(60));
    if (random.chance(0.5)) bytes.fill(0, at, at + length);
    at += length;
  }
}

/** Clusters that a driver was asked to change from one moment on and before another. */
function changed({ calls }: FaultyDriver, from: number, until: number): Set<number> {
  const clusters = new Set<number>();
  for (const { kind, offsetBytes, lengthBytes, begun } of calls) {
    if (kind !== "write" && kind !== "write-zeroes" && kind !== "discard") continue;
    if (begun < from || begun >= until) continue;
    for (let i = Math.floor(offsetBytes / CLUSTER); i * CLUSTER < offsetBytes + lengthBytes; i++) clusters.add(i);
  }
  return clusters;
}

const cluster = (bytes: Uint8Array, i: number): Uint8Array => bytes.subarray(i * CLUSTER, (i + 1) * CLUSTER);

/** What a job may refuse, as it comes too late or for a pause that is not there. */
function attempt(verb: () => void): void {
  try {
    verb();
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
  }
}

async function runProgram(plan: Program): Promise<void> {
  const simulation = new Simulation(plan.seed);
  const random = new Random(plan.seed + 1);
  const { sync, bitmapMode } = plan.mode;
  const withBitmap = bitmapMode !== undefined || sync === "incremental";
  // A scan that fails lets guests go on before it is heard of; that has a test of its own.
  const kinds = ["read", "write", "write-zeroes", "discard", ...(sync === "top" ? [] : ["status"])];
  const bench: BackupBench = new BackupBench(simulation, {
    lengthBytes: plan.sectors * 512,
    source: {
      status: (offset, length) => statusOf(bench.sourceDriver.bytes, offset, length),
      delayed: plan.delayed[0],
      fault: faults(random, plan.faults[0], kinds),
    },
    target: { delayed: plan.delayed[1], fault: faults(random, plan.faults[1], ["write", "write-zeroes"]) },
  });
  const { sourceDriver, targetDriver } = bench;
  punch(sourceDriver.bytes, random);
  const before = sourceDriver.bytes.slice();

  let t0 = before;
  let from = Number.POSITIVE_INFINITY;
  let until = Number.POSITIVE_INFINITY;
  let ended = Number.POSITIVE_INFINITY;
  bench.jobs.listen((_job, event) => {
    if (event.kind === "status-change" && event.status === "created") {
      t0 = sourceDriver.bytes.slice();
      from = simulation.order();
    }
    // From then on guests are held up no longer.
    const lost = (event.kind === "error" && event.action === "report") || event.kind === "completed";
    if (lost) until = Math.min(until, simulation.order());
    if (event.kind === "status-change" && event.status === "concluded") ended = simulation.order();
  });

  const guest = new GuestProgram(simulation, bench.guest);
  const early = guest.run(plan.early);
  await simulation.run(simulation.after(random.below(12)));
  const [onSourceError, onTargetError] = plan.policies;
  const { maxChunkBytes, maxWorkers, speed, autoFinalize } = plan;
  const options = { maxChunkBytes, maxWorkers, speed, autoFinalize, sync, onSourceError, onTargetError };
  const backup = await bench.start({ ...options, ...(withBitmap ? { bitmap: "b", bitmapMode } : {}) });
  const { job } = backup;

  const work = Promise.all([early, guest.run(plan.steps), ...plan.user.map((step) => act(step))]);
  async function act({ what, afterMs, speed: newSpeed }: UserStep): Promise<void> {
    await simulation.after(afterMs);
    if (what === "pause") return attempt(() => job.pause());
    if (what === "resume") return attempt(() => job.resume());
    if (what === "set-speed") return attempt(() => job.setSpeed(newSpeed));
    using _section = await (what === "drain source" ? bench.source : bench.target).drain();
    await simulation.after(afterMs % 5);
  }
  /** Sees to the job's end: resumes what has stopped, finalises what is pending, and cancels when the plan says so. */
  async function attend(of: Job): Promise<void> {
    const cancelMs = plan.cancelMs ?? (sync === "none" ? 120 : Number.POSITIVE_INFINITY);
    const startMs = simulation.nowMs();
    while (of.status !== "null") {
      await simulation.after(7);
      if (simulation.nowMs() - startMs >= cancelMs && !of.cancelled) {
        until = Math.min(until, simulation.order());
        attempt(() => of.cancel());
      }
      if (of.userPaused && random.chance(0.5)) attempt(() => of.resume());
      if (of.status === "pending" && random.chance(0.5)) of.finalize();
    }
  }
  const [outcome] = await simulation.run(Promise.all([job.untilConcluded(), work, attend(job)]));

  const all = [...Array(Math.ceil(before.length / CLUSTER)).keys()];
  const p = changed(sourceDriver, 0, from);
  const w = changed(sourceDriver, from, Number.POSITIVE_INFINITY);
  const during = changed(sourceDriver, from, Math.min(until, ended));
  const members: Record<BackupSync, (i: number) => boolean> = {
    full: () => true,
    none: () => true,
    top: (i) =>
      statusOf(cluster(t0, i), 0, cluster(t0, i).length).lengthBytes < cluster(t0, i).length ||
      !isHole(t0, i * CLUSTER),
    bitmap: (i) => p.has(i),
    incremental: (i) => p.has(i),
  };
  const belongs = members[sync];
  const covered = all.filter((i) => belongs(i) && (sync !== "none" || during.has(i)));
  const faulty = plan.faults[0] + plan.faults[1] > 0;

  const isCopied = (i: number): boolean => same(cluster(targetDriver.bytes, i), cluster(t0, i));
  if (outcome.kind === "completed" || sync === "none")
    expect(
      covered.filter((i) => !isCopied(i)),
      "not as it was at T0",
    ).toEqual([]);
  if (outcome.kind === "completed") {
    const total = covered.length * CLUSTER;
    expect(backup.progress).toEqual({ current: total, total });
  }
  if (!faulty) {
    const touched = (i: number): boolean => cluster(targetDriver.bytes, i).some((byte) => byte !== STALE);
    expect(
      all.filter((i) => touched(i) && !belongs(i)),
      "copied for nobody",
    ).toEqual([]);
  }
  if (outcome.kind === "failed") expect(bench.events.filter((event) => event.endsWith(" report"))).toHaveLength(1);
  if (outcome.kind === "failed") expect(faulty).toBe(true);
  if (outcome.kind === "cancelled") expect(plan.cancelMs !== undefined || sync === "none").toBe(true);

  const bitmap = bench.source.bitmaps.get("b");
  const bits = new Set(all.filter((i) => bitmap.bits.get(i * CLUSTER)));
  const mode = sync === "incremental" ? "on-success" : bitmapMode;
  if (mode === "always" && outcome.kind !== "completed") {
    for (const i of w) expect(bits, "no write is lost").toContain(i);
    expect(
      covered.filter((i) => !bits.has(i) && !isCopied(i)),
      "neither copied nor dirty",
    ).toEqual([]);
    // What a scan of the top layer has not come to counts as not copied.
    const excess = sync === "top" ? [] : [...bits].filter((i) => !w.has(i) && !belongs(i));
    expect(excess, "dirty for nothing").toEqual([]);
  } else {
    const forgets = withBitmap && outcome.kind === "completed" && mode !== "never";
    expect(bits).toEqual(forgets ? w : new Set([...p, ...w]));
  }
  checkCopyOrder({
    source: sourceDriver,
    target: targetDriver,
    clusterSizeBytes: CLUSTER,
    from,
    until: Math.min(until, ended),
    belongs: (at) => belongs(at / CLUSTER),
  });
  guest.checkContents(sourceDriver, before);
  expect(bench.traces).toEqual(NO_TRACES);
  expect(bench.source.bitmaps.count).toBe(1);
  expect(bitmap).toMatchObject({ busy: false, enabled: true, successor: undefined });
  expect([bench.source.inFlight, bench.target.inFlight, bench.guest.inFlight]).toEqual([0, 0, 0]);
  await bench.target.close();
}

describe("Backup in any mode beside random guests and users", () => {
  it("covers what its mode covers as of T0, or reports an error; loses no bit; and lets go of everything", {
    timeout: RUNS * 100,
  }, async () => {
    await fc.assert(fc.asyncProperty(program, runProgram), { numRuns: RUNS });
  });
});

// The copy engine with small clusters and a partial copy set: interrupted and failing passes beside random guests.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Errno } from "../../src/base/errors.ts";
import { BackgroundCopy } from "../../src/block/block-copy-loop.ts";
import { BlockCopyNotifier } from "../../src/block/block-copy-notifier.ts";
import { Interception } from "../../src/block/interception.ts";
import { checkCopyOrder } from "../support/copy-order.ts";
import { copyPair, patterned } from "../support/copy-pair.ts";
import type { DriverCall } from "../support/faulty-driver.ts";
import { GuestProgram, type GuestStep, guestSteps } from "../support/guest-program.ts";
import { RecordingParent } from "../support/recording-parent.ts";
import { Random, Simulation } from "../support/simulation.ts";

const RUNS = process.env["VBLK_SOAK"] === undefined ? 1000 : 200_000;
const CLUSTER = 4096;
const STALE = 0xee;

interface Program {
  readonly seed: number;
  readonly sectors: number;
  readonly chunkClusters: number;
  readonly maxWorkers: number;
  /** What part of the clusters is to be copied. */
  readonly dirty: number;
  readonly delayed: number;
  /** Calls that fail, of each driver, before all goes well. */
  readonly faults: number;
  readonly steps: readonly GuestStep[];
  /** When the pass under way then is cancelled. */
  readonly cancelsMs: readonly number[];
}

const program: fc.Arbitrary<Program> = fc.record({
  seed: fc.nat(0x7fffffff),
  sectors: fc.integer({ min: 1, max: 600 }),
  chunkClusters: fc.integer({ min: 1, max: 20 }),
  maxWorkers: fc.constantFrom(1, 2),
  dirty: fc.constantFrom(0, 0.1, 0.5, 0.9, 1),
  delayed: fc.constantFrom(0.3, 1),
  faults: fc.constantFrom(0, 0, 3, 12),
  steps: guestSteps(30, 40),
  cancelsMs: fc.array(fc.nat(60), { maxLength: 4 }),
});

/** Every call of these kinds may fail, `count` in all. */
function someFaults(random: Random, count: number, kinds: readonly string[]): (call: DriverCall) => Errno | undefined {
  let left = count;
  return ({ kind }) => {
    if (left === 0 || !kinds.includes(kind) || !random.chance(0.3)) return undefined;
    left--;
    return "EIO";
  };
}

async function runProgram(plan: Program): Promise<void> {
  const simulation = new Simulation(plan.seed);
  const random = new Random(plan.seed + 1);
  const t0 = patterned(plan.sectors * 512, plan.seed);
  const { delayed } = plan;
  const { source, target, copy } = copyPair(simulation, t0.slice(), {
    source: { delayed, fault: someFaults(random, plan.faults, ["read", "write", "status"]) },
    target: { delayed, fault: someFaults(random, plan.faults, ["write", "write-zeroes"]) },
    clusterSizeBytes: CLUSTER,
    maxChunkBytes: plan.chunkClusters * CLUSTER,
  });
  copy.dirty.resetAll();
  const belongs = new Set<number>();
  for (let at = 0; at < t0.length; at += CLUSTER) if (random.chance(plan.dirty)) belongs.add(at);
  for (const at of belongs) copy.dirty.set(at, CLUSTER);
  const interception = new Interception({ filterName: "#copy", source: copy.source, target: copy.target, reason: "" });
  interception.attachTarget();
  const notifier = new BlockCopyNotifier(copy, interception, new RecordingParent());
  notifier.install();

  const guest = new GuestProgram(simulation, copy.source);
  let pass: BackgroundCopy | undefined;
  const passes = async (): Promise<void> => {
    for (let outcome = ""; outcome !== "finished"; ) {
      pass = new BackgroundCopy(copy, plan.maxWorkers);
      outcome = await pass.run();
      expect(outcome === "failed").toBe(outcome !== "cancelled" && pass.failure !== undefined);
      if (outcome !== "finished") await simulation.after(random.below(10));
    }
    expect(copy.dirty.countBytes).toBe(0);
    expect(copy.tasks.count).toBe(0);
  };
  const cancel = async (ms: number): Promise<void> => {
    await simulation.after(ms);
    pass?.cancel();
  };
  await simulation.run(Promise.all([passes(), guest.run(plan.steps), ...plan.cancelsMs.map(cancel)]));
  await simulation.run(copy.untilIdle());
  notifier.remove();
  notifier.release();

  for (let at = 0; at < t0.length; at += CLUSTER) {
    const there = target.bytes.subarray(at, at + CLUSTER);
    const wanted = belongs.has(at) ? t0.subarray(at, at + CLUSTER) : new Uint8Array(there.length).fill(STALE);
    expect(Buffer.compare(there, wanted), `the target's cluster at ${at}`).toBe(0);
  }
  expect(copy.finishedBytes).toBe(belongs.size * CLUSTER);
  expect(copy.clusters.background + copy.clusters.guest).toBe(belongs.size);
  checkCopyOrder({
    source,
    target,
    clusterSizeBytes: CLUSTER,
    from: 0,
    until: Number.POSITIVE_INFINITY,
    belongs: (at) => belongs.has(at),
  });
  guest.checkContents(source, t0);
  expect([...source.inFlight, ...target.inFlight]).toEqual([]);
}

describe("BlockCopy beside random guests", () => {
  it("copies each cluster of its set as it was, before a guest changes it, through failing and cancelled passes", {
    timeout: RUNS * 100,
  }, async () => {
    await fc.assert(fc.asyncProperty(program, runProgram), { numRuns: RUNS });
  });
});

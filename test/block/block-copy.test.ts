// The block copy engine: docs/reference/backup.md §4.2, §4.3, §4.9.
import { beforeEach, describe, expect, it, vi } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { BlockError } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockCopy, blockCopyClusterSize } from "../../src/block/block-copy.ts";
import { BackgroundCopy } from "../../src/block/block-copy-loop.ts";
import type { BlockStatus } from "../../src/block/driver.ts";
import { BlockNode } from "../../src/block/node.ts";
import { FaultyDriver, type FaultyDriverOptions } from "../support/faulty-driver.ts";
import { Random, Simulation, settle } from "../support/simulation.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const CLUSTER = 64 * KIB;

let simulation: Simulation;
beforeEach(() => {
  simulation = new Simulation(1);
});

/** Bytes of which every cluster has other ones, and none is zero. */
function patterned(lengthBytes: number, seed = 7): Uint8Array {
  const random = new Random(seed);
  const bytes = new Uint8Array(lengthBytes).fill(1);
  for (let at = 0; at < lengthBytes; at += 64) bytes[at] = 1 + random.below(255);
  return bytes;
}

/** Element by element, as `toEqual` does it, takes seconds. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

interface Pair {
  readonly source: FaultyDriver;
  readonly target: FaultyDriver;
  readonly copy: BlockCopy;
}

/** A copy of everything, on drivers that complete at once. */
function pair(
  bytes: Uint8Array,
  options: {
    source?: Partial<FaultyDriverOptions>;
    target?: Partial<FaultyDriverOptions>;
    clusterSizeBytes?: number;
    maxChunkBytes?: number;
  } = {},
): Pair {
  const source = new FaultyDriver({ simulation, bytes, ...options.source });
  const target = new FaultyDriver({ simulation, bytes: new Uint8Array(bytes.length).fill(0xee), ...options.target });
  const copy = new BlockCopy({
    source: new BlockNode({ name: "source", driver: source }),
    target: new BlockNode({ name: "target", driver: target }),
    clusterSizeBytes: options.clusterSizeBytes ?? CLUSTER,
    clock: simulation,
    ...(options.maxChunkBytes === undefined ? {} : { maxChunkBytes: options.maxChunkBytes }),
  });
  copy.dirty.set(0, bytes.length);
  return { source, target, copy };
}

/** Offsets and lengths of the calls of one kind, in KiB. */
function ranges(driver: FaultyDriver, kind: string): [number, number][] {
  return driver.calls
    .filter((call) => call.kind === kind)
    .map((call) => [call.offsetBytes / KIB, call.lengthBytes / KIB]);
}

describe("blockCopyClusterSize", () => {
  it("is the largest of 64 KiB, what was asked for, and the target's clusters", () => {
    const target = (clusterSizeBytes?: number): BlockNode => {
      const bytes = new Uint8Array(512);
      const own = clusterSizeBytes === undefined ? {} : { clusterSizeBytes };
      return new BlockNode({ name: "target", driver: new FaultyDriver({ simulation, bytes, ...own }) });
    };
    expect(blockCopyClusterSize(target())).toBe(65536);
    expect(blockCopyClusterSize(target(4096))).toBe(65536);
    expect(blockCopyClusterSize(target(2 * MIB))).toBe(2 * MIB);
    expect(blockCopyClusterSize(target(), 131072)).toBe(131072);
    expect(blockCopyClusterSize(target(2 * MIB), 131072)).toBe(2 * MIB);
  });
});

describe("BackgroundCopy", () => {
  it("copies all, in chunks of 1 MiB with requests of 256 KiB", async () => {
    const bytes = patterned(2 * MIB + 300 * KIB);
    const { source, target, copy } = pair(bytes);
    expect(await simulation.run(new BackgroundCopy(copy).run())).toBe("finished");
    expect(same(target.bytes, bytes)).toBe(true);
    expect(ranges(source, "status")).toEqual([
      [0, 1024],
      [1024, 1024],
      [2048, 300],
    ]);
    expect(ranges(target, "write")).toEqual([
      ...[0, 256, 512, 768, 1024, 1280, 1536, 1792].map((at) => [at, 256]),
      [2048, 256],
      [2304, 44],
    ]);
    expect(copy.finishedBytes).toBe(2 * MIB + 320 * KIB);
    expect(copy.remainingBytes).toBe(0);
    expect(copy.clusters).toEqual({ background: 37, guest: 0 });
  });

  it("merges neighbouring dirty clusters and leaves clean ones alone", async () => {
    const bytes = patterned(16 * CLUSTER);
    const { target, copy } = pair(bytes);
    copy.dirty.resetAll();
    for (const cluster of [1, 2, 3, 5, 15]) copy.dirty.set(cluster * CLUSTER, CLUSTER);
    await simulation.run(new BackgroundCopy(copy).run());
    expect(ranges(target, "write")).toEqual([
      [64, 192],
      [320, 64],
      [960, 64],
    ]);
    expect(target.bytes.subarray(0, CLUSTER).every((byte) => byte === 0xee)).toBe(true);
  });

  it("copies no more at once than it is told, in whole clusters", async () => {
    const { target, copy } = pair(patterned(5 * CLUSTER), { maxChunkBytes: CLUSTER + 1 });
    await simulation.run(new BackgroundCopy(copy).run());
    expect(ranges(target, "write")).toEqual([
      [0, 128],
      [128, 128],
      [256, 64],
    ]);
  });

  it("copies clusters that are larger than a chunk one at a time", async () => {
    const bytes = patterned(4 * MIB + 512);
    const { source, copy, target } = pair(bytes, { clusterSizeBytes: 2 * MIB });
    await simulation.run(new BackgroundCopy(copy).run());
    expect(same(target.bytes, bytes)).toBe(true);
    expect(ranges(source, "status")).toEqual([
      [0, 2048],
      [2048, 2048],
      [4096, 0.5],
    ]);
    expect(copy.finishedBytes).toBe(6 * MIB);
  });

  it("writes zeroes where the source reads as zeroes, in one request, and reads nothing there", async () => {
    const status = (offset: number, length: number): BlockStatus => ({
      lengthBytes: length,
      allocated: true,
      data: false,
      zero: offset >= 0,
    });
    const { source, target, copy } = pair(new Uint8Array(MIB + 512), { source: { status } });
    await simulation.run(new BackgroundCopy(copy).run());
    expect(same(target.bytes, new Uint8Array(MIB + 512))).toBe(true);
    expect(ranges(target, "write-zeroes")).toEqual([
      [0, 1024],
      [1024, 0.5],
    ]);
    expect(target.calls.filter((call) => call.kind === "write-zeroes").every((call) => call.mayUnmap)).toBe(true);
    expect(ranges(source, "read")).toEqual([]);
  });

  it("cuts a chunk where the status changes, and copies less than a cluster of the same as one cluster of data", async () => {
    // Zeroes from 96 KiB to 288 KiB, data elsewhere.
    const bytes = patterned(320 * KIB).fill(0, 96 * KIB, 288 * KIB);
    const borders = [0, 96 * KIB, 288 * KIB, 320 * KIB];
    const status = (offset: number, length: number): BlockStatus => {
      const end = borders.find((border) => border > offset)!;
      const zero = end === 288 * KIB;
      return { lengthBytes: Math.min(end - offset, length), allocated: true, data: !zero, zero };
    };
    const { source, target, copy } = pair(bytes, { source: { status } });
    await simulation.run(new BackgroundCopy(copy).run());
    expect(same(target.bytes, bytes)).toBe(true);
    // 0 to 64 data; 64 to 128 mixed; 128 to 256 zeroes; 256 to 320 mixed.
    expect(ranges(source, "read")).toEqual([
      [0, 64],
      [64, 64],
      [256, 64],
    ]);
    expect(ranges(target, "write-zeroes")).toEqual([[128, 128]]);
  });

  it("finds zeroes by their content where the status says data", async () => {
    const bytes = patterned(8 * CLUSTER)
      .fill(0, CLUSTER, 3 * CLUSTER)
      .fill(0, 7 * CLUSTER);
    bytes[2 * CLUSTER - 1] = 1;
    const { target, copy } = pair(bytes);
    await simulation.run(new BackgroundCopy(copy).run());
    expect(same(target.bytes, bytes)).toBe(true);
    expect(ranges(target, "write-zeroes")).toEqual([
      [128, 64],
      [448, 64],
    ]);
    expect(ranges(target, "write")).toEqual([
      [0, 128],
      [192, 64],
      [256, 192],
    ]);
  });

  it("takes a failed block status for one cluster of data", async () => {
    const bytes = patterned(2 * CLUSTER);
    const fault = (call: { kind: string; offsetBytes: number }) =>
      call.kind === "status" && call.offsetBytes === 0 ? ("EIO" as const) : undefined;
    for (const delayed of [0, 1]) {
      const { source, target, copy } = pair(bytes, { source: { fault, delayed } });
      expect(await simulation.run(new BackgroundCopy(copy).run())).toBe("finished");
      expect(same(target.bytes, bytes)).toBe(true);
      expect(ranges(source, "read")).toEqual([
        [0, 64],
        [64, 64],
      ]);
    }
  });

  it.each([
    { side: "source", kind: "read", operation: "read" },
    { side: "target", kind: "write", operation: "write" },
    { side: "target", kind: "write-zeroes", operation: "write" },
  ] as const)("ends at a failed $kind of the $side, with the chunk still to be copied", async (failing) => {
    for (const delayed of [0, 1]) {
      const bytes = patterned(4 * MIB).fill(0, 2 * MIB + 128 * KIB, 2 * MIB + 192 * KIB);
      const { source, target, copy } = pair(bytes, { source: { delayed }, target: { delayed } });
      const driver = failing.side === "source" ? source : target;
      driver.fault = (call) =>
        call.kind === failing.kind && call.offsetBytes >= 2 * MIB && call.offsetBytes < 3 * MIB ? "ENOSPC" : undefined;
      const pass = new BackgroundCopy(copy, 1);
      expect(await simulation.run(pass.run())).toBe("failed");
      expect(pass.failure?.error.errno).toBe("ENOSPC");
      expect(pass.failure?.operation).toBe(failing.operation);
      expect(copy.dirty.countBytes).toBe(2 * MIB);
      expect(copy.dirty.get(2 * MIB)).toBe(true);
      expect(copy.finishedBytes).toBe(2 * MIB);
      expect(copy.tasks.count).toBe(0);

      driver.fault = undefined;
      expect(await simulation.run(new BackgroundCopy(copy).run())).toBe("finished");
      expect(same(target.bytes, bytes)).toBe(true);
    }
  });

  it("has two chunks in flight, each with one request", async () => {
    const bytes = patterned(6 * MIB);
    const { source, target, copy } = pair(bytes, { source: { delayed: 1 }, target: { delayed: 1 } });
    let most = 0;
    const watch = (): undefined => {
      most = Math.max(most, source.inFlight.length + target.inFlight.length);
      expect(copy.tasks.count).toBeLessThanOrEqual(2);
    };
    source.fault = watch;
    target.fault = watch;
    await simulation.run(new BackgroundCopy(copy).run());
    expect(most).toBe(2);
    expect(same(target.bytes, bytes)).toBe(true);
  });

  it("ends soon after it is cancelled, with nothing in flight, and the next pass copies the rest", async () => {
    const bytes = patterned(6 * MIB);
    const { target, copy } = pair(bytes, { source: { delayed: 1 }, target: { delayed: 1 } });
    const pass = new BackgroundCopy(copy);
    const outcome = pass.run();
    await simulation.run(simulation.after(8));
    pass.cancel();
    const begun = target.calls.length;
    expect(await simulation.run(outcome)).toBe("cancelled");
    expect(copy.tasks.count).toBe(0);
    expect(copy.finishedBytes).toBeGreaterThan(0);
    expect(copy.finishedBytes + copy.dirty.countBytes).toBe(6 * MIB);
    expect(target.calls.length - begun).toBeLessThanOrEqual(8);
    const before = target.calls.length;
    expect(await simulation.run(new BackgroundCopy(copy).run())).toBe("finished");
    expect(same(target.bytes, bytes)).toBe(true);
    expect(target.calls.length - before).toBe((6 * MIB - begunBytes(target, before)) / (256 * KIB));
  });

  it("yields between chunks on drivers that complete at once", async () => {
    const { copy } = pair(patterned(16 * MIB), { maxChunkBytes: CLUSTER });
    const turns = vi.spyOn(simulation, "yield");
    await simulation.run(new BackgroundCopy(copy).run());
    expect(turns).toHaveBeenCalledTimes(4);
  });

  it("throws what is no I/O error", async () => {
    const { source, copy } = pair(patterned(CLUSTER));
    source.fault = () => {
      throw new AssertionError("broken");
    };
    await expect(simulation.run(new BackgroundCopy(copy).run())).rejects.toThrow("broken");
  });
});

/** Bytes that the target's calls before number `end` have written. */
function begunBytes(target: FaultyDriver, end: number): number {
  return target.calls.slice(0, end).reduce((sum, call) => sum + call.lengthBytes, 0);
}

describe("BlockCopy.copyForGuest", () => {
  it("copies at once, without a promise, what the write touches, and only once", () => {
    const bytes = patterned(4 * CLUSTER);
    const { source, target, copy } = pair(bytes);
    expect(copy.copyForGuest(CLUSTER - 512, 1024)).toBeUndefined();
    expect(ranges(target, "write")).toEqual([[0, 128]]);
    expect(copy.copyForGuest(0, 512)).toBeUndefined();
    expect(copy.copyForGuest(2 * CLUSTER - 512, 512)).toBeUndefined();
    expect(ranges(target, "write")).toEqual([[0, 128]]);
    expect(ranges(source, "read")).toEqual([[0, 128]]);
    expect(copy.clusters).toEqual({ background: 0, guest: 2 });
    expect(copy.finishedBytes).toBe(2 * CLUSTER);
    expect(copy.remainingBytes).toBe(2 * CLUSTER);
  });

  it("copies separately around what is already copied, each run with one request", () => {
    const { target, copy } = pair(patterned(2 * MIB));
    copy.copyForGuest(MIB + 64 * KIB, 64 * KIB);
    copy.copyForGuest(MIB, MIB);
    expect(ranges(target, "write")).toEqual([
      [1088, 64],
      [1024, 64],
      [1152, 896],
    ]);
  });

  it("copies a last cluster that is cut off, and nothing past the end", () => {
    const bytes = patterned(CLUSTER + 512);
    const { target, copy } = pair(bytes);
    copy.copyForGuest(CLUSTER, 512);
    expect(ranges(target, "write")).toEqual([[64, 0.5]]);
    expect(copy.copyForGuest(2 * CLUSTER, 512)).toBeUndefined();
    expect(copy.remainingBytes).toBe(CLUSTER);
    expect(copy.finishedBytes).toBe(CLUSTER);
  });

  it("fails with the errno of the copy, and the cluster is still to be copied", async () => {
    for (const delayed of [0, 1]) {
      const bytes = patterned(2 * CLUSTER);
      const { source, target, copy } = pair(bytes, { target: { delayed } });
      target.fault = () => "ENOSPC";
      const copying = async (): Promise<void> => copy.copyForGuest(0, 512);
      await expect(simulation.run(copying())).rejects.toEqual(new BlockError("ENOSPC"));
      target.fault = undefined;
      source.fault = () => "EIO";
      await expect(simulation.run(copying())).rejects.toEqual(new BlockError("EIO"));
      expect(copy.dirty.countBytes).toBe(2 * CLUSTER);
      expect(copy.tasks.count).toBe(0);
    }
  });

  it("copies the other runs of a write though one failed", () => {
    const { target, copy } = pair(patterned(5 * CLUSTER));
    copy.dirty.reset(CLUSTER, CLUSTER);
    copy.dirty.reset(3 * CLUSTER, CLUSTER);
    target.fault = (call) => (call.offsetBytes < 4 * CLUSTER ? "EIO" : undefined);
    expect(() => copy.copyForGuest(0, 5 * CLUSTER)).toThrow(new BlockError("EIO"));
    expect(copy.dirty.countBytes).toBe(2 * CLUSTER);
    expect(copy.dirty.get(4 * CLUSTER)).toBe(false);
  });

  it("waits for the background's chunk under way rather than copying again", async () => {
    const bytes = patterned(CLUSTER);
    const { source, target, copy } = pair(bytes, { source: { delayed: 1 }, target: { delayed: 1 } });
    const background = new BackgroundCopy(copy).run();
    await settle();
    expect(copy.tasks.count).toBe(1);
    const guest = copy.copyForGuest(0, 512);
    expect(guest).toBeInstanceOf(Promise);
    await simulation.run(guest!);
    expect(same(target.bytes, bytes)).toBe(true);
    expect(copy.clusters).toEqual({ background: 1, guest: 0 });
    expect(await simulation.run(background)).toBe("finished");
    expect(ranges(source, "read")).toEqual([[0, 64]]);
  });

  it("tries itself when the background's chunk that it waited for failed", async () => {
    const bytes = patterned(CLUSTER);
    const { target, copy } = pair(bytes, { target: { delayed: 1 } });
    let failures = 1;
    target.fault = () => (failures-- > 0 ? "EIO" : undefined);
    const background = new BackgroundCopy(copy).run();
    await settle();
    await simulation.run(copy.copyForGuest(0, 512)!);
    expect(same(target.bytes, bytes)).toBe(true);
    expect(copy.clusters).toEqual({ background: 0, guest: 1 });
    expect(await simulation.run(background)).toBe("failed");
  });

  it("keeps the background loop back while it copies", async () => {
    const { target, copy } = pair(patterned(4 * MIB), { target: { delayed: 1 }, maxChunkBytes: CLUSTER });
    const guest = copy.copyForGuest(MIB, 512)!;
    const background = new BackgroundCopy(copy).run();
    await settle();
    expect(target.inFlight.map((call) => call.offsetBytes)).toEqual([MIB]);
    await simulation.run(guest);
    await simulation.run(background);
    expect(copy.clusters).toEqual({ background: 63, guest: 1 });
  });

  it("lets others have their turn within a write of many chunks", async () => {
    const { target, copy } = pair(patterned(6 * MIB));
    const copying = copy.copyForGuest(0, 6 * MIB);
    expect(copying).toBeInstanceOf(Promise);
    expect(copy.finishedBytes).toBe(4 * MIB);
    await simulation.run(copying!);
    expect(ranges(target, "write")).toEqual([0, 1, 2, 3, 4, 5].map((at) => [at * 1024, 1024]));
  });

  it("never has more than 4 MiB of data in hand, and guests take theirs first", async () => {
    const bytes = patterned(24 * MIB);
    const { source, target, copy } = pair(bytes, { source: { delayed: 1 }, target: { delayed: 1 } });
    const guests = Array.from({ length: 20 }, (_, i) => copy.copyForGuest(i * MIB, MIB)!);
    await settle();
    const inHand = source.calls.filter((call) => call.kind === "read").reduce((sum, call) => sum + call.lengthBytes, 0);
    expect(inHand).toBe(0);
    let most = 0;
    source.fault = target.fault = () => {
      const held = [...source.inFlight, ...target.inFlight].filter(({ kind }) => kind === "read" || kind === "write");
      most = Math.max(
        most,
        held.reduce((sum, call) => sum + call.lengthBytes, 0),
      );
      return undefined;
    };
    const background = new BackgroundCopy(copy).run();
    await simulation.run(Promise.all(guests));
    expect(copy.clusters).toEqual({ background: 0, guest: 20 * 16 });
    await simulation.run(background);
    expect(most).toBe(4 * MIB);
    expect(same(target.bytes, bytes)).toBe(true);
  });

  it("holds nobody up after stop, whatever becomes of the copy", async () => {
    const { target, copy } = pair(patterned(4 * CLUSTER), { target: { delayed: 1 } });
    target.fault = () => "EIO";
    const waiting = copy.copyForGuest(0, 2 * CLUSTER)!;
    copy.stop();
    expect(copy.copyForGuest(3 * CLUSTER, 512)).toBeUndefined();
    let idle = false;
    const untilIdle = copy.untilIdle().then(() => {
      idle = true;
    });
    await settle();
    expect(idle).toBe(false);
    await simulation.run(waiting);
    await simulation.run(untilIdle);
    expect(copy.tasks.count).toBe(0);
    expect(copy.dirty.countBytes).toBe(4 * CLUSTER);
  });

  it("reads the old data past a serialising write that waits for it", async () => {
    const bytes = patterned(CLUSTER);
    const { source, copy, target } = pair(bytes);
    copy.source.beforeWrite.add({
      beforeWrite: (request) => copy.copyForGuest(request.offsetBytes, request.lengthBytes),
    });
    const data = IoVector.of(new Uint8Array(512).fill(1));
    expect(copy.source.write(0, data, { serialising: true })).toBeUndefined();
    expect(same(target.bytes, patterned(CLUSTER))).toBe(true);
    expect(source.bytes[0]).toBe(1);
  });
});

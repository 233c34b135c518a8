// The background loop of a block copy, and what its tasks do: docs/reference/backup.md §4.2, §4.3, §4.7.
import { beforeEach, describe, expect, it, vi } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { blockCopyClusterSize } from "../../src/block/block-copy.ts";
import { BackgroundCopy } from "../../src/block/block-copy-loop.ts";
import type { BlockStatus } from "../../src/block/driver.ts";
import { BlockNode } from "../../src/block/node.ts";
import { CLUSTER, copyPair, KIB, MIB, patterned, rangesKib, same } from "../support/copy-pair.ts";
import { FaultyDriver } from "../support/faulty-driver.ts";
import { Simulation, settle } from "../support/simulation.ts";

let simulation: Simulation;
beforeEach(() => {
  simulation = new Simulation(1);
});

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
    const { source, target, copy } = copyPair(simulation, bytes);
    expect(await simulation.run(new BackgroundCopy(copy).run())).toBe("finished");
    expect(same(target.bytes, bytes)).toBe(true);
    expect(rangesKib(source, "status")).toEqual([
      [0, 1024],
      [1024, 1024],
      [2048, 300],
    ]);
    expect(rangesKib(target, "write")).toEqual([
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
    const { target, copy } = copyPair(simulation, bytes);
    copy.dirty.resetAll();
    for (const cluster of [1, 2, 3, 5, 15]) copy.dirty.set(cluster * CLUSTER, CLUSTER);
    await simulation.run(new BackgroundCopy(copy).run());
    expect(rangesKib(target, "write")).toEqual([
      [64, 192],
      [320, 64],
      [960, 64],
    ]);
    expect(target.bytes.subarray(0, CLUSTER).every((byte) => byte === 0xee)).toBe(true);
  });

  it("copies no more at once than it is told, in whole clusters", async () => {
    const { target, copy } = copyPair(simulation, patterned(5 * CLUSTER), { maxChunkBytes: CLUSTER + 1 });
    await simulation.run(new BackgroundCopy(copy).run());
    expect(rangesKib(target, "write")).toEqual([
      [0, 128],
      [128, 128],
      [256, 64],
    ]);
  });

  it("copies clusters that are larger than a chunk one at a time", async () => {
    const bytes = patterned(4 * MIB + 512);
    const { source, copy, target } = copyPair(simulation, bytes, { clusterSizeBytes: 2 * MIB });
    await simulation.run(new BackgroundCopy(copy).run());
    expect(same(target.bytes, bytes)).toBe(true);
    expect(rangesKib(source, "status")).toEqual([
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
    const { source, target, copy } = copyPair(simulation, new Uint8Array(MIB + 512), { source: { status } });
    await simulation.run(new BackgroundCopy(copy).run());
    expect(same(target.bytes, new Uint8Array(MIB + 512))).toBe(true);
    expect(rangesKib(target, "write-zeroes")).toEqual([
      [0, 1024],
      [1024, 0.5],
    ]);
    expect(target.calls.filter((call) => call.kind === "write-zeroes").every((call) => call.mayUnmap)).toBe(true);
    expect(rangesKib(source, "read")).toEqual([]);
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
    const { source, target, copy } = copyPair(simulation, bytes, { source: { status } });
    await simulation.run(new BackgroundCopy(copy).run());
    expect(same(target.bytes, bytes)).toBe(true);
    // 0 to 64 data; 64 to 128 mixed; 128 to 256 zeroes; 256 to 320 mixed.
    expect(rangesKib(source, "read")).toEqual([
      [0, 64],
      [64, 64],
      [256, 64],
    ]);
    expect(rangesKib(target, "write-zeroes")).toEqual([[128, 128]]);
  });

  it("finds zeroes by their content where the status says data", async () => {
    const bytes = patterned(8 * CLUSTER)
      .fill(0, CLUSTER, 3 * CLUSTER)
      .fill(0, 7 * CLUSTER);
    bytes[2 * CLUSTER - 1] = 1;
    const { target, copy } = copyPair(simulation, bytes);
    await simulation.run(new BackgroundCopy(copy).run());
    expect(same(target.bytes, bytes)).toBe(true);
    expect(rangesKib(target, "write-zeroes")).toEqual([
      [128, 64],
      [448, 64],
    ]);
    expect(rangesKib(target, "write")).toEqual([
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
      const { source, target, copy } = copyPair(simulation, bytes, { source: { fault, delayed } });
      expect(await simulation.run(new BackgroundCopy(copy).run())).toBe("finished");
      expect(same(target.bytes, bytes)).toBe(true);
      expect(rangesKib(source, "read")).toEqual([
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
      const { source, target, copy } = copyPair(simulation, bytes, { source: { delayed }, target: { delayed } });
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
    const { source, target, copy } = copyPair(simulation, bytes, { source: { delayed: 1 }, target: { delayed: 1 } });
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
    const { target, copy } = copyPair(simulation, bytes, { source: { delayed: 1 }, target: { delayed: 1 } });
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

  it("starts nothing more when it is cancelled while it asks what is there", async () => {
    const { source, copy } = copyPair(simulation, patterned(2 * MIB), { source: { delayed: 1 } });
    const pass = new BackgroundCopy(copy);
    const outcome = pass.run();
    await settle();
    expect(rangesKib(source, "status")).toEqual([[0, 1024]]);
    pass.cancel();
    expect(await simulation.run(outcome)).toBe("cancelled");
    expect(source.calls).toHaveLength(1);
    expect(copy.dirty.countBytes).toBe(2 * MIB);
    expect(copy.tasks.count).toBe(0);
  });

  it("ends at once when its last chunk failed", async () => {
    const { source, target, copy } = copyPair(simulation, patterned(CLUSTER));
    target.fault = () => "EIO";
    expect(await simulation.run(new BackgroundCopy(copy).run())).toBe("failed");
    expect(source.calls.map((call) => call.kind)).toEqual(["status", "read"]);
  });

  it("yields between chunks on drivers that complete at once", async () => {
    const { copy } = copyPair(simulation, patterned(16 * MIB), { maxChunkBytes: CLUSTER });
    const turns = vi.spyOn(simulation, "yield");
    await simulation.run(new BackgroundCopy(copy).run());
    expect(turns).toHaveBeenCalledTimes(4);
  });

  it("throws what is no I/O error", async () => {
    const { source, copy } = copyPair(simulation, patterned(CLUSTER));
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

// A guest's write that waits for a block copy: docs/reference/backup.md §4.3 step 8, §4.4, §4.9.
import { beforeEach, describe, expect, it } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { BackgroundCopy } from "../../src/block/block-copy-loop.ts";
import type { BlockStatus } from "../../src/block/driver.ts";
import { CLUSTER, copyPair, KIB, MIB, patterned, rangesKib, same } from "../support/copy-pair.ts";
import { Simulation, settle } from "../support/simulation.ts";

let simulation: Simulation;
beforeEach(() => {
  simulation = new Simulation(1);
});

describe("BlockCopy.copyForGuest", () => {
  it("copies at once, without a promise, what the write touches, and only once", () => {
    const bytes = patterned(4 * CLUSTER);
    const { source, target, copy } = copyPair(simulation, bytes);
    expect(copy.copyForGuest(CLUSTER - 512, 1024)).toBeUndefined();
    expect(rangesKib(target, "write")).toEqual([[0, 128]]);
    expect(copy.copyForGuest(0, 512)).toBeUndefined();
    expect(copy.copyForGuest(2 * CLUSTER - 512, 512)).toBeUndefined();
    expect(rangesKib(target, "write")).toEqual([[0, 128]]);
    expect(rangesKib(source, "read")).toEqual([[0, 128]]);
    expect(copy.clusters).toEqual({ background: 0, guest: 2 });
    expect(copy.finishedBytes).toBe(2 * CLUSTER);
    expect(copy.remainingBytes).toBe(2 * CLUSTER);
  });

  it("copies separately around what is already copied, each run with one request", () => {
    const { target, copy } = copyPair(simulation, patterned(2 * MIB));
    expect(copy.copyForGuest(MIB + 64 * KIB, 64 * KIB)).toBeUndefined();
    expect(copy.copyForGuest(MIB, MIB)).toBeUndefined();
    expect(rangesKib(target, "write")).toEqual([
      [1088, 64],
      [1024, 64],
      [1152, 896],
    ]);
  });

  it("copies up to 1 MiB with one request, whatever the background's chunk", () => {
    const { target, copy } = copyPair(simulation, patterned(2 * MIB), { maxChunkBytes: CLUSTER });
    expect(copy.copyForGuest(0, 2 * MIB)).toBeUndefined();
    expect(rangesKib(target, "write")).toEqual([
      [0, 1024],
      [1024, 1024],
    ]);
  });

  it("copies a last cluster that is cut off, and nothing past the end", () => {
    const bytes = patterned(CLUSTER + 512);
    const { target, copy } = copyPair(simulation, bytes);
    expect(copy.copyForGuest(CLUSTER, 512)).toBeUndefined();
    expect(rangesKib(target, "write")).toEqual([[64, 0.5]]);
    expect(copy.copyForGuest(2 * CLUSTER, 512)).toBeUndefined();
    expect(copy.remainingBytes).toBe(CLUSTER);
    expect(copy.finishedBytes).toBe(CLUSTER);
  });

  it("copies nothing of what it hears of after the copy was stopped: others may have changed it", async () => {
    let allocated = false;
    const status = (_offset: number, lengthBytes: number): BlockStatus => ({
      lengthBytes,
      allocated,
      data: allocated,
      zero: !allocated,
    });
    const source = { delayed: 1, maxDelayMs: 5, status };
    const { source: driver, target, copy } = copyPair(simulation, patterned(2 * CLUSTER), { source });
    copy.skipUnallocated = true;
    const guest = copy.copyForGuest(0, 512);
    copy.stop();
    allocated = true;
    await simulation.run(guest!);
    expect(target.calls).toEqual([]);
    expect(rangesKib(driver, "read")).toEqual([]);
    expect([copy.tasks.count, copy.dirty.countBytes, copy.finishedBytes]).toEqual([0, 2 * CLUSTER, 0]);
  });

  it("copies to the end what it had begun to read when the copy was stopped", async () => {
    const source = { delayed: 1, maxDelayMs: 5 };
    const { source: driver, target, copy } = copyPair(simulation, patterned(2 * CLUSTER), { source });
    const guest = copy.copyForGuest(0, 512);
    const reading = async (): Promise<void> => {
      while (rangesKib(driver, "read").length === 0) await simulation.after(1);
    };
    await simulation.run(reading());
    copy.stop();
    await simulation.run(guest!);
    expect(rangesKib(target, "write")).toEqual([[0, 64]]);
    expect([copy.tasks.count, copy.dirty.countBytes, copy.finishedBytes]).toEqual([0, CLUSTER, CLUSTER]);
  });

  it("fails with the errno of the copy, and the cluster is still to be copied", async () => {
    for (const delayed of [0, 1]) {
      const bytes = patterned(2 * CLUSTER);
      const { source, target, copy } = copyPair(simulation, bytes, { target: { delayed } });
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
    const { target, copy } = copyPair(simulation, patterned(5 * CLUSTER));
    copy.dirty.reset(CLUSTER, CLUSTER);
    copy.dirty.reset(3 * CLUSTER, CLUSTER);
    target.fault = (call) => (call.offsetBytes < 4 * CLUSTER ? "EIO" : undefined);
    expect(() => copy.copyForGuest(0, 5 * CLUSTER)).toThrow(new BlockError("EIO"));
    expect(copy.dirty.countBytes).toBe(2 * CLUSTER);
    expect(copy.dirty.get(4 * CLUSTER)).toBe(false);
  });

  it("waits for the background's chunk under way rather than copying again", async () => {
    const bytes = patterned(CLUSTER);
    const { source, target, copy } = copyPair(simulation, bytes, { source: { delayed: 1 }, target: { delayed: 1 } });
    const background = new BackgroundCopy(copy).run();
    await settle();
    expect(copy.tasks.count).toBe(1);
    const guest = copy.copyForGuest(0, 512);
    expect(guest).toBeInstanceOf(Promise);
    await simulation.run(guest!);
    expect(same(target.bytes, bytes)).toBe(true);
    expect(copy.clusters).toEqual({ background: 1, guest: 0 });
    expect(await simulation.run(background)).toBe("finished");
    expect(rangesKib(source, "read")).toEqual([[0, 64]]);
  });

  it("tries itself when the background's chunk that it waited for failed", async () => {
    const bytes = patterned(CLUSTER);
    const { target, copy } = copyPair(simulation, bytes, { target: { delayed: 1 } });
    let failures = 1;
    target.fault = () => (failures-- > 0 ? "EIO" : undefined);
    const background = new BackgroundCopy(copy).run();
    await settle();
    await simulation.run(copy.copyForGuest(0, 512)!);
    expect(same(target.bytes, bytes)).toBe(true);
    expect(copy.clusters).toEqual({ background: 0, guest: 1 });
    expect(await simulation.run(background)).toBe("failed");
  });

  it("takes over at once what the background's chunk gives back", async () => {
    // The first cluster is data, the second one zeroes: the background learns only later that its chunk ends between them.
    const bytes = patterned(2 * CLUSTER).fill(0, CLUSTER);
    const status = (offset: number): BlockStatus => ({
      lengthBytes: CLUSTER,
      allocated: true,
      data: offset === 0,
      zero: offset > 0,
    });
    const { target, copy } = copyPair(simulation, bytes, { source: { status, delayed: 1 } });
    const background = new BackgroundCopy(copy).run();
    await settle();
    const guest = copy.copyForGuest(CLUSTER, 512)!;
    await simulation.run(guest);
    expect(copy.clusters.guest).toBe(1);
    expect(rangesKib(target, "write-zeroes")).toEqual([[64, 64]]);
    await simulation.run(background);
    expect(same(target.bytes, bytes)).toBe(true);
  });

  it("keeps the background loop back while it copies", async () => {
    const { target, copy } = copyPair(simulation, patterned(4 * MIB), {
      target: { delayed: 1 },
      maxChunkBytes: CLUSTER,
    });
    const guest = copy.copyForGuest(MIB, 512)!;
    const background = new BackgroundCopy(copy).run();
    await settle();
    expect(target.inFlight.map((call) => call.offsetBytes)).toEqual([MIB]);
    await simulation.run(guest);
    await simulation.run(background);
    expect(copy.clusters).toEqual({ background: 63, guest: 1 });
  });

  it("lets others have their turn within a write of many chunks", async () => {
    const { target, copy } = copyPair(simulation, patterned(6 * MIB));
    const copying = copy.copyForGuest(0, 6 * MIB);
    expect(copying).toBeInstanceOf(Promise);
    expect(copy.finishedBytes).toBe(4 * MIB);
    await simulation.run(copying!);
    expect(rangesKib(target, "write")).toEqual([0, 1, 2, 3, 4, 5].map((at) => [at * 1024, 1024]));
  });

  it("never has more than 4 MiB of data in hand, and guests take theirs first", async () => {
    const bytes = patterned(24 * MIB);
    const { source, target, copy } = copyPair(simulation, bytes, { source: { delayed: 1 }, target: { delayed: 1 } });
    const guests = Array.from({ length: 20 }, (_, i) => copy.copyForGuest(i * MIB, MIB)!);
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
    const { target, copy } = copyPair(simulation, patterned(4 * CLUSTER), { target: { delayed: 1 } });
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
    const { source, copy, target } = copyPair(simulation, bytes);
    copy.source.beforeWrite.add({
      beforeWrite: (request) => copy.copyForGuest(request.offsetBytes, request.lengthBytes),
    });
    const data = IoVector.of(new Uint8Array(512).fill(1));
    expect(copy.source.write(0, data, { serialising: true })).toBeUndefined();
    expect(same(target.bytes, patterned(CLUSTER))).toBe(true);
    expect(source.bytes[0]).toBe(1);
  });
});

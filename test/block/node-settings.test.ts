// What users set on a node, and what it notes of its writes.
import { beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { BlockNode } from "../../src/block/node.ts";
import type { NodeSettings } from "../../src/block/node-settings.ts";
import { FaultyDriver } from "../support/faulty-driver.ts";
import { RecordingParent } from "../support/recording-parent.ts";
import { Simulation } from "../support/simulation.ts";

let driver: FaultyDriver;
beforeEach(() => {
  driver = new FaultyDriver({ simulation: new Simulation(1), bytes: new Uint8Array(8192).fill(7) });
});

function node(settings: Partial<NodeSettings> = {}): BlockNode {
  return new BlockNode({ name: "n", driver, ...settings });
}

function calls(): unknown[] {
  return driver.calls
    .splice(0)
    .map(({ kind, offsetBytes, lengthBytes, mayUnmap }) => [kind, offsetBytes, lengthBytes, mayUnmap]);
}

/** Zeroes in two segments, the rest of the buffer not. */
function zeroes(length: number): IoVector {
  const bytes = new Uint8Array(length + 20)
    .fill(9)
    .fill(0, 5, 105)
    .fill(0, 110, 10 + length);
  const vector = new IoVector(bytes);
  vector.push(5, 100);
  vector.push(110, length - 100);
  return vector;
}

describe("detect-zeroes", () => {
  it("is off by default", async () => {
    await node().write(512, zeroes(512));
    expect(calls()).toEqual([["write", 512, 512, false]]);
  });

  it("makes writes of zeroes write-zeroes, which may deallocate where that was asked for", async () => {
    const on = node({ detectZeroes: "on" });
    await on.write(512, zeroes(512));
    await on.write(0, IoVector.of(new Uint8Array(512).fill(1, 511)));
    expect(calls()).toEqual([
      ["write-zeroes", 512, 512, false],
      ["write", 0, 512, false],
    ]);
    const unmap = new BlockNode({ name: "u", driver, detectZeroes: "unmap", discard: "unmap" });
    unmap.bitmaps.add({ name: "b", granularityBytes: 512 });
    await unmap.write(1024, zeroes(1024));
    expect(calls()).toEqual([["write-zeroes", 1024, 1024, true]]);
    expect(unmap.bitmaps.get("b").countBytes).toBe(1024);
    expect(driver.bytes.subarray(1024, 2048)).toEqual(new Uint8Array(1024));
  });

  it("shows notifiers the write that it is", async () => {
    const on = node({ detectZeroes: "on" });
    const seen: string[] = [];
    on.beforeWrite.add({
      beforeWrite(request) {
        seen.push(request.kind);
        return undefined;
      },
    });
    await on.write(0, zeroes(512));
    expect(seen).toEqual(["write"]);
  });
});

describe("a discard that the driver cannot do", () => {
  it("has succeeded, and counts as done", async () => {
    for (const delayed of [0, 1]) {
      const simulation = new Simulation(1);
      driver = new FaultyDriver({ simulation, bytes: new Uint8Array(4096), delayed, fault: () => "ENOTSUP" });
      const unable = node({ discard: "unmap" });
      unable.bitmaps.add({ name: "b", granularityBytes: 512 });
      await simulation.run(Promise.resolve(unable.discard(0, 512)));
      expect(unable.bitmaps.get("b").countBytes).toBe(512);
      driver.fault = () => "EIO";
      await expect(simulation.run((async () => unable.discard(0, 512))())).rejects.toThrow("Input/output error");
    }
  });
});

describe("read-only", () => {
  it("holds whatever the driver could", () => {
    const readOnly = node({ readOnly: true });
    expect(readOnly.readOnly).toBe(true);
    expect(() => readOnly.write(0, zeroes(512))).toThrow("Block node is read-only");
    expect(() => readOnly.discard(0, 512)).toThrow("Block node is read-only");
    expect(calls()).toEqual([]);
  });
});

describe("no-flush", () => {
  it("keeps flushes from a file, and lets formats pass them on", async () => {
    const file = node({ cacheNoFlush: true });
    await file.flush();
    expect(calls()).toEqual([]);
    const below = node();
    const raw = new BlockNode({ name: "r", driver: new RawDriver({ file: below }), cacheNoFlush: true });
    await raw.flush();
    expect(calls()).toEqual([["flush", 0, 0, false]]);
  });
});

describe("BlockNode.applySettings", () => {
  it("changes what requests meet", async () => {
    const changing = node();
    await changing.discard(0, 512);
    expect(calls()).toEqual([]);
    changing.applySettings({ ...changing.settings, discard: "unmap", detectZeroes: "on", cacheNoFlush: true });
    await changing.discard(0, 512);
    await changing.write(0, zeroes(512));
    await changing.flush();
    expect(calls().map((call) => (call as unknown[])[0])).toEqual(["discard", "write-zeroes"]);
    changing.applySettings({ ...changing.settings, readOnly: true });
    expect(() => changing.write(0, zeroes(512))).toThrow("Block node is read-only");
  });
});

describe("BlockNode.highestWriteBytes", () => {
  it("is where the furthest write ended, failed or not, and no discard", async () => {
    const noted = node({ discard: "unmap" });
    expect(noted.highestWriteBytes).toBe(0);
    await noted.write(512, zeroes(512));
    await noted.write(0, zeroes(512));
    expect(noted.highestWriteBytes).toBe(1024);
    await noted.discard(4096, 512);
    await noted.read(4096, zeroes(512));
    expect(noted.highestWriteBytes).toBe(1024);
    driver.fault = () => "EIO";
    expect(() => noted.writeZeroes(1024, 512)).toThrow("Input/output error");
    expect(noted.highestWriteBytes).toBe(1536);
  });
});

describe("a drained section", () => {
  it("hurries what is held back below, once, however many sections there are", async () => {
    const log: string[] = [];
    const holding = Object.assign(driver, {
      beginDrain: () => log.push("begin"),
      endDrain: () => log.push("end"),
    });
    const below = new BlockNode({ name: "below", driver: holding });
    const left = new BlockNode({ name: "left", driver: new RawDriver({ file: below }) });
    const right = new BlockNode({ name: "right", driver: new RawDriver({ file: below }) });
    const first = await left.drain();
    const second = await right.drain();
    const third = await below.drain();
    expect(log).toEqual(["begin"]);
    for (const section of [second, third]) section[Symbol.dispose]();
    expect(log).toEqual(["begin"]);
    first[Symbol.dispose]();
    expect(log).toEqual(["begin", "end"]);
  });

  it("ends for what is below when the node above it goes", async () => {
    const log: string[] = [];
    Object.assign(driver, { beginDrain: () => log.push("begin"), endDrain: () => log.push("end") });
    const below = new BlockNode({ name: "below", driver });
    const above = new BlockNode({ name: "above", driver: new RawDriver({ file: below }) });
    const section = await above.drain();
    await above.close();
    section[Symbol.dispose]();
    expect(log).toEqual(["begin", "end"]);
    const other = new RecordingParent();
    below.attachParent(other);
    expect(other.log).toEqual([]);
  });
});

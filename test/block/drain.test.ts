// Drained sections, alone and through a graph.
import { beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { BlockNode } from "../../src/block/node.ts";
import { FaultyDriver } from "../support/faulty-driver.ts";
import { RecordingParent } from "../support/recording-parent.ts";
import { Simulation, settle } from "../support/simulation.ts";

let simulation: Simulation;
let driver: FaultyDriver;
let file: BlockNode;
let raw: BlockNode;
beforeEach(() => {
  simulation = new Simulation(1);
  driver = new FaultyDriver({ simulation, bytes: new Uint8Array(8192), delayed: 1 });
  file = new BlockNode({ name: "file", driver });
  raw = new BlockNode({ name: "raw", driver: new RawDriver({ file }) });
});

function data(value = 1): IoVector {
  return IoVector.of(new Uint8Array(512).fill(value));
}

/** Whether a promise has been kept by now. */
async function isKept(promise: Promise<unknown>): Promise<boolean> {
  let kept = false;
  void promise.then(() => {
    kept = true;
  });
  await settle();
  return kept;
}

describe("BlockNode.drain", () => {
  it("begins when every request has ended, and tells the parents before and after", async () => {
    const parent = new RecordingParent();
    raw.attachParent(parent);
    const writing = raw.write(0, data());
    const draining = raw.drain();
    expect(parent.drains).toBe(1);
    expect(await isKept(draining)).toBe(false);
    await simulation.run(Promise.resolve(writing));
    const section = await draining;
    expect(parent.log).toEqual(["parent begin"]);
    section[Symbol.dispose]();
    section[Symbol.dispose]();
    expect(parent.log).toEqual(["parent begin", "parent end"]);
  });

  it("begins when every parent is quiet, and asks again for what they did meanwhile", async () => {
    const first = new RecordingParent();
    const second = new RecordingParent();
    raw.attachParent(first);
    raw.attachParent(second);
    first.becomeBusy();
    const draining = raw.drain();
    second.becomeBusy();
    first.becomeQuiet();
    expect(await isKept(draining)).toBe(false);
    first.becomeBusy();
    second.becomeQuiet();
    expect(await isKept(draining)).toBe(false);
    const writing = raw.write(0, data());
    first.becomeQuiet();
    expect(await isKept(draining)).toBe(false);
    await simulation.run(Promise.resolve(writing));
    expect(await isKept(draining)).toBe(true);
  });

  it("of a child drains whoever stands above it, and the requests of its other users", async () => {
    const user = new RecordingParent([], "user");
    const above = new RecordingParent([], "above");
    file.attachParent(user);
    raw.attachParent(above);
    const direct = file.write(512, data());
    const through = raw.write(0, data());
    const draining = file.drain();
    expect([user.drains, above.drains]).toEqual([1, 1]);
    await simulation.run(Promise.all([direct, through]));
    (await draining)[Symbol.dispose]();
    expect([user.drains, above.drains]).toEqual([0, 0]);
  });

  it("of a node leaves the users of its child alone", async () => {
    const user = new RecordingParent();
    file.attachParent(user);
    using _section = await raw.drain();
    expect(user.drains).toBe(0);
  });

  it("nests: sections of node and child end on their own", async () => {
    const parent = new RecordingParent();
    raw.attachParent(parent);
    const outer = await raw.drain();
    const inner = await raw.drain();
    const below = await file.drain();
    expect(parent.drains).toBe(3);
    outer[Symbol.dispose]();
    below[Symbol.dispose]();
    expect(parent.drains).toBe(1);
    inner[Symbol.dispose]();
    expect(parent.drains).toBe(0);
    expect(() => raw.endDrain()).toThrow("ended twice");
  });

  it("holds for a parent that joins, and no longer for one that leaves", async () => {
    const leaving = new RecordingParent([], "leaving");
    raw.attachParent(leaving);
    const first = await raw.drain();
    const second = await file.drain();
    const joining = new RecordingParent([], "joining");
    raw.attachParent(joining);
    expect(joining.drains).toBe(2);
    raw.detachParent(leaving);
    expect(leaving.drains).toBe(0);
    first[Symbol.dispose]();
    second[Symbol.dispose]();
    expect(joining.drains).toBe(0);
    expect(leaving.log.filter((entry) => entry.endsWith("end"))).toHaveLength(2);
  });

  it("goes on without a parent that leaves while the section waits for it", async () => {
    const leaving = new RecordingParent();
    raw.attachParent(leaving);
    leaving.becomeBusy();
    const draining = raw.drain();
    await settle();
    raw.detachParent(leaving);
    expect(leaving.drains).toBe(0);
    leaving.becomeQuiet();
    expect(await isKept(draining)).toBe(true);
  });
});

describe("BlockBackend in a drained section", () => {
  it("holds its requests, in order, until the section ends", async () => {
    const backend = new BlockBackend({ name: "drive0", node: raw });
    const inFlight = backend.write(0, data(1));
    const draining = file.drain();
    const held = [backend.write(512, data(2)), backend.flush(), backend.read(512, data())];
    await simulation.run(Promise.resolve(inFlight));
    const section = await draining;
    expect(driver.calls.map((call) => call.kind)).toEqual(["write"]);
    section[Symbol.dispose]();
    await simulation.run(Promise.all(held));
    expect(driver.calls.map((call) => call.kind)).toEqual(["write", "write", "flush", "read"]);
  });

  it("holds them on when the next section begins at once", async () => {
    const backend = new BlockBackend({ name: "drive0", node: raw });
    const first = await raw.drain();
    const held = Promise.all([backend.write(0, data()), backend.writeZeroes(512, 512), backend.discard(1024, 512)]);
    const second = await raw.drain();
    first[Symbol.dispose]();
    expect(await isKept(held)).toBe(false);
    const third = raw.drain();
    second[Symbol.dispose]();
    (await third)[Symbol.dispose]();
    await simulation.run(held);
    expect(driver.calls.map((call) => call.kind)).toEqual(["write", "write-zeroes"]);
  });

  it("is quiet when what it has in flight has ended", async () => {
    const backend = new BlockBackend({ name: "drive0", node: raw, writeCache: false });
    const writing = backend.write(0, data());
    expect(backend.inFlight).toBe(1);
    const draining = raw.drain();
    expect(await isKept(draining)).toBe(false);
    await simulation.run(Promise.resolve(writing));
    expect(driver.calls.map((call) => call.kind)).toEqual(["write", "flush"]);
    expect(await isKept(draining)).toBe(true);
    expect(backend.inFlight).toBe(0);
  });
});

// A node's pipeline: checks, bitmaps, serialisation, resize, closing.
import { beforeEach, describe, expect, it } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { NullDriver } from "../../src/block/drivers/null.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { BlockNode } from "../../src/block/node.ts";
import { FaultyDriver, type FaultyDriverOptions } from "../support/faulty-driver.ts";
import { RecordingParent } from "../support/recording-parent.ts";
import { Simulation, settle } from "../support/simulation.ts";

let simulation: Simulation;
beforeEach(() => {
  simulation = new Simulation(1);
});

function faultyNode(options: Partial<FaultyDriverOptions> & { discard?: "unmap" | "ignore" } = {}): {
  driver: FaultyDriver;
  node: BlockNode;
  dirty: () => number;
} {
  const { discard = "unmap", ...rest } = options;
  const driver = new FaultyDriver({ simulation, bytes: new Uint8Array(8192), ...rest });
  const node = new BlockNode({ name: "n", driver, discard });
  node.bitmaps.add({ name: "b", granularityBytes: 512 });
  return { driver, node, dirty: () => node.bitmaps.get("b").countBytes };
}

function data(lengthBytes: number, value = 1): IoVector {
  return IoVector.of(new Uint8Array(lengthBytes).fill(value));
}

describe("BlockNode", () => {
  it("carries requests out within the call where the driver does", () => {
    const { driver, node } = faultyNode();
    const into = new Uint8Array(512);
    expect(node.write(512, data(512, 7))).toBeUndefined();
    expect(node.read(512, IoVector.of(into))).toBeUndefined();
    expect(into.every((byte) => byte === 7)).toBe(true);
    expect(node.writeZeroes(512, 512)).toBeUndefined();
    expect(driver.bytes[512]).toBe(0);
    expect(node.flush()).toBeUndefined();
    expect(node.blockStatus(0, 512)).toMatchObject({ lengthBytes: 512, data: true });
    expect(node.inFlight).toBe(0);
  });

  it("carries requests out later where the driver does, and has them in flight until then", async () => {
    const { driver, node } = faultyNode({ delayed: 1 });
    const writing = node.write(0, data(512));
    const flushing = node.flush();
    expect([...node.requests].map((request) => request.kind)).toEqual(["write", "flush"]);
    await simulation.run(Promise.all([writing, flushing]));
    expect(node.inFlight).toBe(0);
    expect(driver.bytes[0]).toBe(1);
    expect(await simulation.run(Promise.resolve(node.blockStatus(0, 512)))).toMatchObject({ lengthBytes: 512 });
  });

  it.each([
    { offset: 8192, length: 512 },
    { offset: 7680, length: 1024 },
    { offset: 2 ** 52, length: 512 },
  ])("refuses what lies past the end, $offset+$length, before anything else", ({ offset, length }) => {
    const { driver, node, dirty } = faultyNode();
    const eio = new BlockError("EIO");
    expect(() => node.read(offset, data(length))).toThrow(eio);
    expect(() => node.write(offset, data(length))).toThrow(eio);
    expect(() => node.writeZeroes(offset, length)).toThrow(eio);
    expect(() => node.discard(offset, length)).toThrow(eio);
    expect(() => node.blockStatus(offset, length)).toThrow(eio);
    expect(driver.calls).toEqual([]);
    expect(dirty()).toBe(0);
    expect(node.inFlight).toBe(0);
  });

  it("asserts that a range is one", () => {
    const { node } = faultyNode();
    expect(() => node.read(-512, data(512))).toThrow("not a range");
    expect(() => node.writeZeroes(0, -512)).toThrow("not a range");
    expect(() => node.writeZeroes(Number.NaN, 512)).toThrow("not a range");
    expect(() => node.blockStatus(0, 0)).toThrow("empty range");
  });

  it("refuses changes to a read-only image", () => {
    const { driver, node, dirty } = faultyNode({ readOnly: true });
    const refused = new BlockError("EPERM", "Block node is read-only");
    expect(() => node.write(0, data(512))).toThrow(refused);
    expect(() => node.writeZeroes(0, 512)).toThrow(refused);
    expect(() => node.discard(0, 512)).toThrow(refused);
    expect(node.read(0, data(512))).toBeUndefined();
    expect(driver.calls.map((call) => call.kind)).toEqual(["read"]);
    expect(dirty()).toBe(0);
  });

  it("does nothing for requests of no length", () => {
    const { driver, node, dirty } = faultyNode();
    const nothing = new IoVector(new Uint8Array(0));
    expect(node.write(8192, nothing)).toBeUndefined();
    expect(node.read(0, nothing)).toBeUndefined();
    expect(node.writeZeroes(0, 0)).toBeUndefined();
    expect(node.discard(0, 0)).toBeUndefined();
    expect(driver.calls).toEqual([]);
    expect(dirty()).toBe(0);
  });

  it("passes on how zeroes may be written", () => {
    const { driver, node } = faultyNode();
    let seen: unknown;
    driver.writeZeroes = (_offset, _length, { mayUnmap, noFallback }) => {
      seen = { mayUnmap, noFallback };
    };
    expect(node.writeZeroes(0, 512, { mayUnmap: true, noFallback: true })).toBeUndefined();
    expect(seen).toEqual({ mayUnmap: true, noFallback: true });
    expect(node.writeZeroes(0, 512)).toBeUndefined();
    expect(seen).toEqual({ mayUnmap: false, noFallback: false });
  });

  it("refuses a write whose owner has taken its data back", async () => {
    const { driver, node, dirty } = faultyNode();
    node.beforeWrite.add({ beforeWrite: () => settle().then(() => undefined) });
    const vector = data(512);
    const writing = Promise.resolve(node.write(0, vector));
    vector.abandon();
    await expect(writing).rejects.toEqual(new BlockError("ECANCELED"));
    expect(driver.calls).toEqual([]);
    expect(dirty()).toBe(0);
    expect(node.inFlight).toBe(0);
  });
});

describe("BlockNode's bitmaps", () => {
  it("get what was written, zeroed and discarded, and nothing else", () => {
    const { node } = faultyNode();
    const bits = node.bitmaps.get("b").bits;
    expect(node.write(512, data(1))).toBeUndefined();
    expect(node.writeZeroes(2048, 513)).toBeUndefined();
    expect(node.discard(4096, 512)).toBeUndefined();
    expect(node.read(6144, data(512))).toBeUndefined();
    expect(node.flush()).toBeUndefined();
    const dirty = [...Array(16).keys()].filter((group) => bits.get(group * 512));
    expect(dirty).toEqual([1, 4, 5, 8]);
  });

  it.each([0, 1])("get what the driver failed to change (delayed: %d)", async (delayed) => {
    const { driver, node, dirty } = faultyNode({ delayed });
    driver.fault = () => "ENOSPC";
    const requests = [
      async () => node.write(0, data(512)),
      async () => node.writeZeroes(1024, 512),
      async () => node.discard(2048, 512),
    ];
    for (const request of requests) {
      await expect(simulation.run(request())).rejects.toEqual(new BlockError("ENOSPC"));
    }
    expect(dirty()).toBe(3 * 512);
    expect(node.inFlight).toBe(0);
  });

  it("get it before those who wait for the request go on, and not before the driver is done", async () => {
    const { node, dirty } = faultyNode({ delayed: 1 });
    const writing = node.write(0, data(512), { serialising: true });
    let seen = -1;
    node.beforeWrite.add({
      beforeWrite: () => {
        seen = dirty();
        return undefined;
      },
    });
    const waiting = node.write(0, data(1024));
    await settle();
    expect(dirty()).toBe(0);
    await simulation.run(Promise.all([writing, waiting]));
    expect(seen).toBe(512);
    expect(dirty()).toBe(1024);
  });

  it("get no discard that was not carried out", () => {
    const ignoring = faultyNode({ discard: "ignore" });
    expect(ignoring.node.discard(0, 512)).toBeUndefined();
    expect(ignoring.driver.calls).toEqual([]);
    expect(ignoring.dirty()).toBe(0);
    const unable = faultyNode();
    (unable.driver as { discard?: unknown }).discard = undefined;
    expect(unable.node.discard(0, 512)).toBeUndefined();
    expect(unable.dirty()).toBe(0);
  });
});

describe("BlockNode's serialising requests", () => {
  it("run beside nothing that overlaps them, in the order of their beginning", async () => {
    const { driver, node } = faultyNode({ delayed: 1 });
    const order: string[] = [];
    const note = (name: string, request: void | Promise<void>): Promise<void> =>
      Promise.resolve(request).then(() => {
        order.push(name);
      });
    const all = [
      note("write", node.write(0, data(1024, 1))),
      note("serialising", node.write(512, data(1024, 2), { serialising: true })),
      note("read", node.read(1024, data(1024))),
      note("zeroes", node.writeZeroes(0, 1024, { serialising: true })),
      note("apart", node.write(4096, data(512))),
    ];
    await settle();
    expect(driver.calls.map((call) => call.offsetBytes)).toEqual([0, 4096]);
    await simulation.run(Promise.all(all));
    expect(order.filter((name) => name !== "apart" && name !== "read")).toEqual(["write", "serialising", "zeroes"]);
    expect(order.indexOf("read")).toBeGreaterThan(order.indexOf("serialising"));
    expect([...driver.bytes.subarray(0, 1536)].every((byte, i) => byte === (i < 1024 ? 0 : 2))).toBe(true);
  });
});

describe("BlockNode.resize", () => {
  it("changes the length of driver, bitmaps and parents, in a drained section", async () => {
    const { driver, node } = faultyNode();
    const parent = new RecordingParent();
    node.attachParent(parent);
    node.bitmaps.get("b").set(0, 8192);
    await node.resize(4000);
    expect(node.lengthBytes).toBe(4096);
    expect(node.bitmaps.get("b")).toMatchObject({ sizeBytes: 4096, countBytes: 4096 });
    await node.resize(6144);
    expect(node.bitmaps.get("b")).toMatchObject({ sizeBytes: 6144, countBytes: 4096 });
    expect(driver.bytes.length).toBe(6144);
    const drained = [
      "parent begin",
      "parent resized 4096",
      "parent end",
      "parent begin",
      "parent resized 6144",
      "parent end",
    ];
    expect(parent.log).toEqual(drained);
    await node.resize(6144);
    expect(parent.log.slice(6)).toEqual(["parent begin", "parent end"]);
  });

  it("waits for requests in flight, and holds back those of its parents", async () => {
    const { driver, node } = faultyNode({ delayed: 1 });
    const parent = new RecordingParent();
    node.attachParent(parent);
    const writing = node.write(7680, data(512));
    const resizing = node.resize(4096);
    await settle();
    expect(parent.drains).toBe(1);
    expect(driver.calls.map((call) => call.kind)).toEqual(["write"]);
    await simulation.run(Promise.all([writing, resizing]));
    expect(driver.calls.map((call) => call.kind)).toEqual(["write", "resize"]);
    expect(parent.drains).toBe(0);
  });

  it("reaches the nodes above, whichever is resized", async () => {
    const file = new BlockNode({ name: "file", driver: new FaultyDriver({ simulation, bytes: new Uint8Array(8192) }) });
    const raw = new BlockNode({ name: "raw", driver: new RawDriver({ file }) });
    const parent = new RecordingParent();
    raw.attachParent(parent);
    raw.bitmaps.add({ name: "b", granularityBytes: 512 });
    await file.resize(4096);
    expect(raw.lengthBytes).toBe(4096);
    expect(raw.bitmaps.get("b").sizeBytes).toBe(4096);
    await raw.resize(1024);
    expect(file.lengthBytes).toBe(1024);
    expect(raw.bitmaps.get("b").sizeBytes).toBe(1024);
    expect(parent.log.filter((entry) => entry.includes("resized"))).toEqual([
      "parent resized 4096",
      "parent resized 1024",
    ]);
    expect(parent.drains).toBe(0);
  });

  it("refuses with a reason, and the section ends", async () => {
    const readOnly = faultyNode({ readOnly: true });
    await expect(readOnly.node.resize(512)).rejects.toEqual(new BlockError("EACCES", "Image is read-only"));
    const fixed = new BlockNode({ name: "n", driver: new NullDriver({ lengthBytes: 512 }) });
    const parent = new RecordingParent();
    fixed.attachParent(parent);
    const unsupported = new BlockError("ENOTSUP", "Image format driver does not support resize");
    await expect(fixed.resize(1024)).rejects.toEqual(unsupported);
    expect(parent.drains).toBe(0);
    const failing = faultyNode();
    failing.driver.fault = () => "ENOSPC";
    await expect(failing.node.resize(512)).rejects.toEqual(new BlockError("ENOSPC"));
    expect(failing.node.lengthBytes).toBe(8192);
    expect(failing.node.bitmaps.get("b").sizeBytes).toBe(8192);
    await expect(failing.node.resize(2 ** 52)).rejects.toThrow("Too much space will be occupied by the bitmap");
    expect(failing.driver.calls).toHaveLength(1);
  });
});

describe("BlockNode.close", () => {
  it("closes its own driver, once, and lets its children go", async () => {
    const driver = new FaultyDriver({ simulation, bytes: new Uint8Array(512) });
    const file = new BlockNode({ name: "file", driver });
    const raw = new BlockNode({ name: "raw", driver: new RawDriver({ file }) });
    expect([...file.parents].map((parent) => parent.parentName)).toEqual(["node 'raw'"]);
    await expect(file.close()).rejects.toThrow("node 'file': closed while in use");
    await raw.close();
    expect(driver.closed).toBe(false);
    await file.close();
    expect(driver.closed).toBe(true);
    await expect(file.close()).rejects.toThrow("closed twice");
  });

  it("asserts that nobody uses it then or later", async () => {
    const { node } = faultyNode({ delayed: 1 });
    const parent = new RecordingParent();
    node.attachParent(parent);
    expect(() => node.attachParent(parent)).toThrow("attached twice");
    await expect(node.close()).rejects.toThrow("closed while in use");
    node.detachParent(parent);
    expect(() => node.detachParent(parent)).toThrow("not attached");
    const writing = node.write(0, data(512));
    await expect(node.close()).rejects.toThrow("closed with requests in flight");
    await simulation.run(Promise.resolve(writing));
    await node.close();
    expect(() => node.read(0, data(512))).toThrow("request after close");
    expect(() => node.flush()).toThrow("request after close");
    expect(() => node.attachParent(parent)).toThrow("after close");
  });
});

// A backend: passing requests on, write-through, read-only, closing.
import { beforeEach, describe, expect, it } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { BlockNode } from "../../src/block/node.ts";
import { FaultyDriver, type FaultyDriverOptions } from "../support/faulty-driver.ts";
import { Simulation, settle } from "../support/simulation.ts";

let simulation: Simulation;
beforeEach(() => {
  simulation = new Simulation(1);
});

function faultyBackend(options: Partial<FaultyDriverOptions> & { cache?: boolean; backendReadOnly?: boolean } = {}): {
  backend: BlockBackend;
  node: BlockNode;
  driver: FaultyDriver;
} {
  const { cache = true, backendReadOnly = false, ...rest } = options;
  const driver = new FaultyDriver({ simulation, bytes: new Uint8Array(8192), ...rest });
  const node = new BlockNode({ name: "n", driver, discard: "unmap" });
  return {
    backend: new BlockBackend({ name: "drive0", node, readOnly: backendReadOnly, writeCache: cache }),
    node,
    driver,
  };
}

function data(value = 1): IoVector {
  return IoVector.of(new Uint8Array(512).fill(value));
}

function kinds(driver: FaultyDriver): string[] {
  return driver.calls.map((call) => call.kind);
}

describe("BlockBackend", () => {
  it("passes requests on within the call where the driver completes them so", () => {
    const { backend, driver, node } = faultyBackend();
    expect(backend.write(0, data(5))).toBeUndefined();
    const into = new Uint8Array(512);
    expect(backend.read(0, IoVector.of(into))).toBeUndefined();
    expect(into[511]).toBe(5);
    expect(backend.writeZeroes(0, 512, { mayUnmap: true })).toBeUndefined();
    expect(backend.discard(512, 512)).toBeUndefined();
    expect(backend.flush()).toBeUndefined();
    expect(kinds(driver)).toEqual(["write", "read", "write-zeroes", "discard", "flush"]);
    expect(driver.calls[2]?.mayUnmap).toBe(true);
    expect(backend.lengthBytes).toBe(8192);
    expect(backend.inFlight).toBe(0);
    expect([...node.parents].map((parent) => parent.parentName)).toEqual(["block device 'drive0'"]);
  });

  it("counts what goes on later, and tells when it is idle", async () => {
    const { backend } = faultyBackend({ delayed: 1 });
    expect(backend.untilIdle()).toBeUndefined();
    const both = Promise.all([backend.write(0, data()), backend.read(512, data())]);
    expect(backend.inFlight).toBe(2);
    let idle = false;
    void backend.untilIdle()?.then(() => {
      idle = true;
    });
    await settle();
    expect(idle).toBe(false);
    await simulation.run(both);
    expect(idle).toBe(true);
    expect(backend.inFlight).toBe(0);
  });

  it("is idle again after a failure", async () => {
    const { backend, driver } = faultyBackend({ delayed: 1 });
    driver.fault = () => "EIO";
    await expect(simulation.run(Promise.resolve(backend.write(0, data())))).rejects.toEqual(new BlockError("EIO"));
    expect(backend.inFlight).toBe(0);
    expect(backend.untilIdle()).toBeUndefined();
  });

  it("tells of each new length", async () => {
    const { backend, node } = faultyBackend();
    const lengths: number[] = [];
    backend.onResize((lengthBytes) => lengths.push(lengthBytes));
    await node.resize(4096);
    await node.resize(4096);
    await node.resize(16384);
    expect(lengths).toEqual([4096, 16384]);
    expect(backend.lengthBytes).toBe(16384);
  });
});

describe("BlockBackend without a write cache", () => {
  it.each([0, 1])("flushes after each change and before it completes (delayed: %d)", async (delayed) => {
    const { backend, driver } = faultyBackend({ cache: false, delayed });
    const requests = [
      () => backend.write(0, data()),
      () => backend.writeZeroes(0, 512),
      () => backend.discard(0, 512),
      () => backend.read(0, data()),
    ];
    for (const request of requests) {
      const pending = request();
      expect(pending === undefined).toBe(delayed === 0);
      await simulation.run(Promise.resolve(pending));
      expect(driver.inFlight).toEqual([]);
    }
    expect(kinds(driver)).toEqual(["write", "flush", "write-zeroes", "flush", "discard", "flush", "read"]);
  });

  it("fails a change whose flush fails", async () => {
    for (const delayed of [0, 1]) {
      const { backend, driver } = faultyBackend({ cache: false, delayed });
      driver.fault = (call) => (call.kind === "flush" ? "EIO" : undefined);
      const write = async (): Promise<void> => backend.write(0, data());
      await expect(simulation.run(write())).rejects.toEqual(new BlockError("EIO"));
      expect(backend.inFlight).toBe(0);
    }
  });

  it("does not flush after a change that failed", async () => {
    for (const delayed of [0, 1]) {
      const { backend, driver } = faultyBackend({ cache: false, delayed });
      driver.fault = () => "ENOSPC";
      const write = async (): Promise<void> => backend.write(0, data());
      await expect(simulation.run(write())).rejects.toEqual(new BlockError("ENOSPC"));
      expect(kinds(driver)).toEqual(["write"]);
    }
  });

  it("follows the guest that switches the cache", () => {
    const { backend, driver } = faultyBackend({ cache: false });
    backend.writeCache = true;
    expect(backend.write(0, data())).toBeUndefined();
    backend.writeCache = false;
    expect(backend.write(0, data())).toBeUndefined();
    expect(kinds(driver)).toEqual(["write", "write", "flush"]);
  });
});

describe("BlockBackend that is read-only", () => {
  it.each([{ backendReadOnly: true }, { readOnly: true }])("refuses changes (%j)", (options) => {
    const { backend, driver } = faultyBackend(options);
    expect(backend.readOnly).toBe(true);
    expect(() => backend.write(0, data())).toThrow(new BlockError("EPERM"));
    expect(() => backend.writeZeroes(0, 512)).toThrow(new BlockError("EPERM"));
    expect(() => backend.discard(0, 512)).toThrow(new BlockError("EPERM"));
    expect(backend.read(0, data())).toBeUndefined();
    expect(backend.flush()).toBeUndefined();
    expect(kinds(driver)).toEqual(["read", "flush"]);
  });
});

describe("BlockBackend.close", () => {
  it("lets the node go, once, when nothing is in flight", async () => {
    const { backend, node } = faultyBackend({ delayed: 1 });
    const writing = backend.write(0, data());
    expect(() => backend.close()).toThrow("closed with requests in flight");
    await simulation.run(Promise.resolve(writing));
    using section = await node.drain();
    const held = backend.read(0, data());
    expect(() => backend.close()).toThrow("closed with requests in flight");
    section[Symbol.dispose]();
    expect(() => backend.close()).toThrow("closed with requests in flight");
    await simulation.run(Promise.resolve(held));
    backend.close();
    expect([...node.parents]).toEqual([]);
    expect(() => backend.close()).toThrow("closed twice");
    expect(() => backend.read(0, data())).toThrow("request after close");
    expect(() => backend.write(0, data())).toThrow("request after close");
    expect(() => backend.flush()).toThrow("request after close");
    await node.close();
  });
});

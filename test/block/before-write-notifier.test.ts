// Before-write notifiers: what they see, and what their answer does to the request.
import { beforeEach, describe, expect, it } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { type BeforeWriteNotifier, DROP_REQUEST, type NotifierVerdict } from "../../src/block/before-write-notifier.ts";
import { BlockNode } from "../../src/block/node.ts";
import type { TrackedRequest } from "../../src/block/tracked-request.ts";
import { FaultyDriver } from "../support/faulty-driver.ts";
import { Simulation, settle } from "../support/simulation.ts";

const DATA = IoVector.of(new Uint8Array(1024).fill(1));

let driver: FaultyDriver;
let node: BlockNode;
let log: string[];
beforeEach(() => {
  driver = new FaultyDriver({ simulation: new Simulation(1), bytes: new Uint8Array(8192) });
  node = new BlockNode({ name: "n", driver, discard: "unmap" });
  node.bitmaps.add({ name: "b", granularityBytes: 512 });
  log = [];
});

function notifier(
  name: string,
  answer: (request: TrackedRequest) => NotifierVerdict | Promise<NotifierVerdict> = () => undefined,
): BeforeWriteNotifier {
  return {
    beforeWrite(request) {
      log.push(`${name} ${request.kind} ${request.offsetBytes}+${request.lengthBytes}`);
      return answer(request);
    },
  };
}

/** A notifier that holds requests until the test lets them go. */
function holding(name: string): {
  held: BeforeWriteNotifier;
  release: (verdict?: NotifierVerdict) => void;
  fail: () => void;
} {
  let release: (verdict?: NotifierVerdict) => void = () => {};
  let fail: () => void = () => {};
  const verdict = new Promise<NotifierVerdict>((resolve, reject) => {
    release = resolve;
    fail = () => reject(new BlockError("ENOSPC"));
  });
  return { held: notifier(name, () => verdict), release: (with_) => release(with_), fail: () => fail() };
}

function writes(): number {
  return driver.calls.length;
}

function dirtyBytes(): number {
  return node.bitmaps.get("b").countBytes;
}

describe("before-write notifiers", () => {
  it("see every write, write-zeroes and discard, in the order in which they were added, and nothing else", () => {
    node.beforeWrite.add(notifier("a"));
    node.beforeWrite.add(notifier("b"));
    expect(node.write(512, DATA)).toBeUndefined();
    expect(node.writeZeroes(0, 4096)).toBeUndefined();
    expect(node.discard(4096, 512)).toBeUndefined();
    expect(node.read(0, IoVector.of(new Uint8Array(512)))).toBeUndefined();
    expect(node.flush()).toBeUndefined();
    expect(log).toEqual([
      "a write 512+1024",
      "b write 512+1024",
      "a write-zeroes 0+4096",
      "b write-zeroes 0+4096",
      "a discard 4096+512",
      "b discard 4096+512",
    ]);
    expect(writes()).toBe(5);
  });

  it("see neither an empty request nor one that is refused", () => {
    node.beforeWrite.add(notifier("a"));
    expect(node.write(0, new IoVector(new Uint8Array(0)))).toBeUndefined();
    expect(() => node.writeZeroes(8192, 512)).toThrow(new BlockError("EIO"));
    expect(log).toEqual([]);
  });

  it("delay the request: the driver is called when they are done, and the request is in flight until then", async () => {
    const { held, release } = holding("a");
    node.beforeWrite.add(held);
    node.beforeWrite.add(notifier("b"));
    const writing = node.write(0, DATA);
    expect(writing).toBeInstanceOf(Promise);
    await settle();
    expect(log).toEqual(["a write 0+1024"]);
    expect(writes()).toBe(0);
    expect(node.inFlight).toBe(1);
    release();
    await writing;
    expect(log).toEqual(["a write 0+1024", "b write 0+1024"]);
    expect(driver.bytes[0]).toBe(1);
    expect(dirtyBytes()).toBe(1024);
    expect(node.inFlight).toBe(0);
  });

  it.each(["thrown", "rejected"])(
    "fail the request by an error, %s: no driver, no bits, no further notifier",
    async (how) => {
      const error = new BlockError("ENOSPC");
      node.beforeWrite.add(
        notifier("a", () => {
          if (how === "thrown") throw error;
          return Promise.reject(error);
        }),
      );
      node.beforeWrite.add(notifier("b"));
      const write = async (): Promise<void> => node.write(0, DATA);
      await expect(write()).rejects.toBe(error);
      expect(log).toEqual(["a write 0+1024"]);
      expect(writes()).toBe(0);
      expect(dirtyBytes()).toBe(0);
      expect(node.inFlight).toBe(0);
    },
  );

  it("wake those who wait for a request that they have failed", async () => {
    const { held, fail } = holding("a");
    node.beforeWrite.add(held);
    const failing = Promise.resolve(node.write(0, DATA, { serialising: true }));
    node.beforeWrite.remove(held);
    const waiting = node.write(512, DATA);
    await settle();
    expect(writes()).toBe(0);
    fail();
    await expect(failing).rejects.toEqual(new BlockError("ENOSPC"));
    await waiting;
    expect(writes()).toBe(1);
  });

  it.each(["at once", "later"])(
    "drop a discard, %s: it succeeds, without driver, bits or further notifiers",
    async (when) => {
      node.beforeWrite.add(notifier("a", () => (when === "later" ? Promise.resolve(DROP_REQUEST) : DROP_REQUEST)));
      node.beforeWrite.add(notifier("b"));
      await node.discard(0, 4096);
      expect(log).toEqual(["a discard 0+4096"]);
      expect(writes()).toBe(0);
      expect(dirtyBytes()).toBe(0);
      expect(node.inFlight).toBe(0);
    },
  );

  it("may drop nothing but a discard", async () => {
    node.beforeWrite.add(notifier("a", () => DROP_REQUEST));
    expect(() => node.write(0, DATA)).toThrow("drops a write");
    expect(() => node.writeZeroes(0, 512)).toThrow("drops a write-zeroes");
    expect(node.inFlight).toBe(0);
  });

  it("may take back the leave to deallocate", () => {
    node.beforeWrite.add(
      notifier("a", (request) => {
        request.mayUnmap = false;
        return undefined;
      }),
    );
    expect(node.writeZeroes(0, 512, { mayUnmap: true })).toBeUndefined();
    expect(driver.calls.map((call) => call.mayUnmap)).toEqual([false]);
  });

  it("may read the node's old data from within a serialising write that waits for them", async () => {
    driver.bytes.fill(9);
    const old = new Uint8Array(1024);
    node.beforeWrite.add(
      notifier("a", async (request) => {
        await settle();
        await node.read(request.offsetBytes, IoVector.of(old), { fromNotifier: true });
        return undefined;
      }),
    );
    const writing = node.write(0, DATA, { serialising: true });
    const reading = node.read(0, IoVector.of(new Uint8Array(512)));
    expect(reading).toBeInstanceOf(Promise);
    await writing;
    await reading;
    expect(old.every((byte) => byte === 9)).toBe(true);
    expect(driver.bytes[0]).toBe(1);
  });
});

describe("the list of before-write notifiers", () => {
  it("takes each once", () => {
    const a = notifier("a");
    node.beforeWrite.add(a);
    expect(() => node.beforeWrite.add(a)).toThrow("added twice");
    node.beforeWrite.remove(a);
    expect(() => node.beforeWrite.remove(a)).toThrow("not there");
    expect(node.beforeWrite.count).toBe(0);
  });

  it("keeps one that is added during a run out of that run", async () => {
    const { held, release } = holding("a");
    node.beforeWrite.add(held);
    const writing = node.write(0, DATA);
    node.beforeWrite.add(notifier("late"));
    release();
    await writing;
    expect(log).toEqual(["a write 0+1024"]);
    expect(node.write(0, DATA)).toBeInstanceOf(Promise);
    await settle();
    expect(log).toEqual(["a write 0+1024", "a write 0+1024", "late write 0+1024"]);
  });

  it("lets a run go past one that was removed before its turn", async () => {
    const { held, release } = holding("a");
    const b = notifier("b");
    node.beforeWrite.add(held);
    node.beforeWrite.add(b);
    node.beforeWrite.add(notifier("c"));
    const writing = node.write(0, DATA);
    node.beforeWrite.remove(b);
    release();
    await writing;
    expect(log).toEqual(["a write 0+1024", "c write 0+1024"]);
  });

  it("leaves to one that is removed the requests that it holds", async () => {
    const { held, fail } = holding("a");
    node.beforeWrite.add(held);
    const writing = Promise.resolve(node.write(0, DATA));
    node.beforeWrite.remove(held);
    expect(node.write(2048, DATA)).toBeUndefined();
    fail();
    await expect(writing).rejects.toEqual(new BlockError("ENOSPC"));
    expect(log).toEqual(["a write 0+1024"]);
    expect(dirtyBytes()).toBe(1024);
  });
});

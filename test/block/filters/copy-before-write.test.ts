// Fleecing: the copy-before-write filter and the snapshot that it keeps, as seen beside a real QEMU 7.2 and against plain arrays.
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { BlockError, type Errno } from "../../../src/base/errors.ts";
import { IoVector } from "../../../src/base/io-vector.ts";
import { BlockBackend } from "../../../src/block/backend.ts";
import { memoryOpener, nullOpener } from "../../../src/block/drivers/memory-openers.ts";
import { CopyBeforeWriteDriver, type CopyBeforeWriteOptions } from "../../../src/block/filters/copy-before-write.ts";
import { copyBeforeWriteOpener } from "../../../src/block/filters/copy-before-write-opener.ts";
import { SnapshotAccessDriver, snapshotAccessOpener } from "../../../src/block/filters/snapshot-access.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import type { BlockdevOptions } from "../../../src/block/graph-options.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { PERM_ALL, PERM_RESIZE } from "../../../src/block/permissions.ts";
import { FaultyDriver, type FaultyDriverOptions } from "../../support/faulty-driver.ts";
import { Random, Simulation } from "../../support/simulation.ts";

const CLUSTER = 65536;
const LENGTH = 5 * CLUSTER + 512;

let simulation: Simulation;
let old: Uint8Array;
let file: FaultyDriver;
let target: FaultyDriver;
let source: BlockNode;
let filter: BlockNode;
let snapshot: BlockNode;
beforeEach(() => {
  simulation = new Simulation(1);
});

function build(
  options: Partial<CopyBeforeWriteOptions> = {},
  drivers: { file?: Partial<FaultyDriverOptions>; target?: Partial<FaultyDriverOptions> } = {},
): void {
  old = new Uint8Array(LENGTH).map((_, i) => 1 + (i % 251));
  file = new FaultyDriver({ simulation, bytes: old.slice(), ...drivers.file });
  target = new FaultyDriver({ simulation, bytes: new Uint8Array(LENGTH).fill(0xee), ...drivers.target });
  source = new BlockNode({ name: "a", driver: file, discard: "unmap" });
  const below = new BlockNode({ name: "t", driver: target, discard: "unmap" });
  filterOn(below, options);
}

function filterOn(below: BlockNode, options: Partial<CopyBeforeWriteOptions>): void {
  const driver = new CopyBeforeWriteDriver({ file: source, target: below, clock: simulation, ...options });
  filter = new BlockNode({ name: "cbw", driver, discard: "unmap" });
  snapshot = new BlockNode({ name: "s", driver: new SnapshotAccessDriver({ file: filter }), discard: "unmap" });
}

async function failure(action: () => unknown): Promise<Errno | "none"> {
  return (async () => action())().then(
    () => "none" as const,
    (error: unknown) => {
      if (!(error instanceof BlockError)) throw error;
      return error.errno;
    },
  );
}

function write(offset: number, length: number, value = 0xaa): void | Promise<void> {
  return filter.write(offset, IoVector.of(new Uint8Array(length).fill(value)));
}

async function readSnapshot(offset = 0, length = LENGTH - offset): Promise<Uint8Array> {
  const bytes = new Uint8Array(length).fill(0x11);
  await snapshot.read(offset, IoVector.of(bytes));
  return bytes;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

describe("CopyBeforeWriteDriver", () => {
  it("copies each cluster once before it changes, all within the call where drivers complete at once", async () => {
    build();
    expect(write(100, 10)).toBeUndefined();
    expect(write(CLUSTER - 1, 2)).toBeUndefined();
    expect(filter.writeZeroes(3 * CLUSTER, 512)).toBeUndefined();
    expect(filter.discard(LENGTH - 512, 512)).toBeUndefined();
    const changes = target.calls.filter(({ kind }) => kind !== "status");
    expect(changes.map(({ kind, offsetBytes, lengthBytes }) => [kind, offsetBytes, lengthBytes])).toEqual([
      ["write", 0, CLUSTER],
      ["write", CLUSTER, CLUSTER],
      ["write", 3 * CLUSTER, CLUSTER],
      ["write", 5 * CLUSTER, 512],
    ]);
    expect(same(await readSnapshot(), old)).toBe(true);
    expect(file.bytes[100]).toBe(0xaa);
    expect(file.bytes[LENGTH - 1]).toBe(0);
  });

  it("passes reads, flushes and options on", async () => {
    build();
    expect(filter.read(0, IoVector.of(new Uint8Array(512)))).toBeUndefined();
    expect(filter.flush()).toBeUndefined();
    await filter.writeZeroes(0, 512, { mayUnmap: true });
    expect(file.calls.filter(({ kind }) => kind === "write-zeroes").map(({ mayUnmap }) => mayUnmap)).toEqual([true]);
    expect(file.calls.filter(({ kind }) => kind === "flush").length).toBe(1);
    expect(target.calls.filter(({ kind }) => kind === "flush").length).toBe(0);
    expect(filter.blockStatus(0, 512)).toMatchObject({ data: true });
  });

  it("keeps what a bitmap says alone, and denies the rest", async () => {
    build();
    const bitmap = source.bitmaps.add({ name: "b" });
    bitmap.set(CLUSTER, 2 * CLUSTER);
    filterOn(new BlockNode({ name: "t2", driver: target }), { bitmap });
    await write(0, LENGTH);
    expect(target.calls.filter(({ kind }) => kind === "write").map(({ offsetBytes }) => offsetBytes)).toEqual([
      CLUSTER,
    ]);
    expect(same(await readSnapshot(CLUSTER, 2 * CLUSTER), old.subarray(CLUSTER, 3 * CLUSTER))).toBe(true);
    expect(await failure(() => readSnapshot(0, 512))).toBe("EACCES");
    expect(await failure(() => readSnapshot(2 * CLUSTER, 2 * CLUSTER))).toBe("EACCES");
    expect(await failure(() => snapshot.blockStatus(0, 512))).toBe("EACCES");
    expect(bitmap.countBytes).toBe(6 * CLUSTER);
  });

  it("refuses bitmaps and clusters that will not do, with QEMU's texts", () => {
    build();
    const below = new BlockNode({ name: "t2", driver: target });
    const bitmap = below.bitmaps.add({ name: "b" });
    bitmap.setBusy(true);
    expect(() => filterOn(below, { bitmap })).toThrow(
      "Cannot create block-copy-state: Failed to merge bitmap 'b' to internal copy-bitmap: Bitmap 'b' is currently in use by another operation and cannot be used",
    );
    const small = new BlockNode({
      name: "small",
      driver: new FaultyDriver({ simulation, bytes: new Uint8Array(512) }),
    });
    const other = small.bitmaps.add({ name: "b" });
    expect(() => filterOn(below, { bitmap: other })).toThrow(
      `Cannot create block-copy-state: Failed to merge bitmap 'b' to internal copy-bitmap: Bitmaps are of different sizes (destination size is ${LENGTH}, source size is 512) and can't be merged`,
    );
    expect(() => filterOn(below, { minClusterSizeBytes: 65537 })).toThrow(
      "Cannot create block-copy-state: min-cluster-size needs to be a power of 2",
    );
  });

  it("copies in clusters of at least the size asked for", async () => {
    build({ minClusterSizeBytes: 2 * CLUSTER });
    await write(3 * CLUSTER, 512);
    expect(
      target.calls
        .filter(({ kind }) => kind === "write")
        .map(({ offsetBytes, lengthBytes }) => [offsetBytes, lengthBytes]),
    ).toEqual([[2 * CLUSTER, 2 * CLUSTER]]);
  });

  it("fails the write whose old data cannot be copied, and tries again the next time", async () => {
    for (const [driver, kind] of [
      ["file", "read"],
      ["target", "write"],
    ] as const) {
      build({}, { [driver]: { fault: (call: { kind: string }) => (call.kind === kind ? "ENOSPC" : undefined) } });
      source.bitmaps.add({ name: "b" });
      expect(await failure(() => write(0, 512))).toBe("ENOSPC");
      expect(same(file.bytes, old)).toBe(true);
      expect(source.bitmaps.get("b").countBytes).toBe(0);
      (driver === "file" ? file : target).fault = undefined;
      expect(await failure(() => write(0, 512))).toBe("none");
      expect(same(await readSnapshot(), old)).toBe(true);
    }
  });

  it("lets the write pass and gives the snapshot up where that was asked for", async () => {
    build(
      { onCbwError: "break-snapshot" },
      { target: { fault: (call) => (call.kind === "write" ? "ENOSPC" : undefined) } },
    );
    expect(await failure(() => write(0, 512))).toBe("none");
    expect((filter.driver as CopyBeforeWriteDriver).snapshotError?.errno).toBe("ENOSPC");
    expect(await failure(() => readSnapshot(3 * CLUSTER, 512))).toBe("EACCES");
    const calls = target.calls.length;
    expect(await failure(() => write(CLUSTER, 512))).toBe("none");
    expect(target.calls.length).toBe(calls);
    expect(file.bytes[CLUSTER]).toBe(0xaa);
  });

  it("waits no longer for a copy than it was told, and copies on", async () => {
    build({ cbwTimeoutSeconds: 1 }, { target: { delayed: 1, maxDelayMs: 0 } });
    const slow = target.write.bind(target);
    target.write = async (offset, vector) => {
      await simulation.after(1500);
      return slow(offset, vector);
    };
    expect(await simulation.run(failure(() => write(0, 512)))).toBe("ETIMEDOUT");
    expect(simulation.nowMs()).toBe(1000);
    expect(same(file.bytes, old)).toBe(true);
    const section = await simulation.run(filter.drain());
    expect(simulation.nowMs()).toBe(1500);
    section[Symbol.dispose]();
    expect(await simulation.run(failure(() => write(0, 512)))).toBe("none");
    expect(simulation.nowMs()).toBe(1500);
    expect(same(await simulation.run(readSnapshot()), old)).toBe(true);
  });

  it("keeps the failure of a late copy to itself, and a timer no longer than needed", async () => {
    build({ cbwTimeoutSeconds: 4294967295 }, { target: { delayed: 1 } });
    await simulation.run(Promise.resolve(write(0, 512)));
    expect(simulation.nowMs()).toBeLessThan(1000);
    await expect(simulation.run(new Promise(() => {}))).rejects.toThrow("hangs");
    build({ cbwTimeoutSeconds: 1, onCbwError: "break-snapshot" });
    target.write = async () => {
      await simulation.after(5000);
      throw new BlockError("EIO");
    };
    expect(await simulation.run(failure(() => write(0, 512)))).toBe("none");
    const section = await simulation.run(source.drain());
    section[Symbol.dispose]();
    expect((filter.driver as CopyBeforeWriteDriver).snapshotError?.errno).toBe("ETIMEDOUT");
  });

  it("keeps others from writing below once it has a user, and takes the target for itself", () => {
    build();
    const writer = (node: BlockNode): BlockBackend => new BlockBackend({ name: "", node });
    expect(() => writer(source)).toThrow(
      "Permission conflict on node 'a': permissions 'write' are both required by an unnamed block device (uses node 'a' as 'root' child) and unshared by node 'cbw' (uses node 'a' as 'file' child).",
    );
    const own = new BlockNode({ name: "own", driver: new FaultyDriver({ simulation, bytes: new Uint8Array(512) }) });
    const aim = new BlockNode({ name: "aim", driver: new FaultyDriver({ simulation, bytes: new Uint8Array(512) }) });
    const idle = new BlockNode({ name: "idle", driver: new CopyBeforeWriteDriver({ file: own, target: aim }) });
    writer(own).close();
    writer(idle).close();
    const self = new BlockNode({ name: "self", driver: new CopyBeforeWriteDriver({ file: own, target: own }) });
    expect(() => writer(self)).toThrow(
      "Permission conflict on node 'own': permissions 'write' are both required by node 'self' (uses node 'own' as 'target' child) and unshared by node 'self' (uses node 'own' as 'file' child).",
    );
    const resizer = { needs: PERM_RESIZE, shares: PERM_ALL };
    expect(() => new BlockBackend({ name: "", node: self, permissions: resizer })).toThrow(
      "Permission conflict on node 'own': permissions 'resize' are both required by node 'self' (uses node 'own' as 'file' child) and unshared by node 'self' (uses node 'own' as 'target' child).",
    );
    const readOnly = new FaultyDriver({ simulation, bytes: new Uint8Array(512), readOnly: true });
    const locked = new BlockNode({ name: "ro", driver: readOnly });
    expect(
      () => new BlockNode({ name: "c", driver: new CopyBeforeWriteDriver({ file: own, target: locked }) }),
    ).toThrow(/^Block node is read-only$/);
  });
});

describe("SnapshotAccessDriver", () => {
  it("reads, and neither writes nor changes its length", async () => {
    build();
    expect(await failure(() => snapshot.write(0, IoVector.of(new Uint8Array(512))))).toBe("ENOTSUP");
    expect(await failure(() => snapshot.writeZeroes(0, 512))).toBe("ENOTSUP");
    await expect(snapshot.resize(512)).rejects.toThrow("Image format driver does not support resize");
    expect(snapshot.flush()).toBeUndefined();
    expect(await snapshot.blockStatus(100, LENGTH - 100)).toMatchObject({ data: true });
    expect(snapshot.lengthBytes).toBe(LENGTH);
    const plain = new BlockNode({ name: "p", driver: new SnapshotAccessDriver({ file: source }) });
    expect(await failure(() => plain.read(0, IoVector.of(new Uint8Array(512))))).toBe("ENOTSUP");
  });

  it("needs whole clusters no more that were discarded: they are denied, not copied, and gone from the target", async () => {
    build();
    await write(0, 512);
    await snapshot.discard(512, 3 * CLUSTER);
    expect(same(await readSnapshot(0, CLUSTER), old.subarray(0, CLUSTER))).toBe(true);
    expect(await failure(() => readSnapshot(CLUSTER, 512))).toBe("EACCES");
    expect(
      target.calls
        .filter(({ kind }) => kind === "discard")
        .map(({ offsetBytes, lengthBytes }) => [offsetBytes, lengthBytes]),
    ).toEqual([[CLUSTER, 2 * CLUSTER]]);
    const copied = target.calls.length;
    await write(CLUSTER, 2 * CLUSTER);
    expect(target.calls.length).toBe(copied);
    expect(same(await readSnapshot(3 * CLUSTER), old.subarray(3 * CLUSTER))).toBe(true);
  });

  it("makes a write wait that would change what is being read", async () => {
    build({}, { file: { delayed: 1, maxDelayMs: 0 } });
    const slow = file.read.bind(file);
    let reads = 0;
    file.read = async (offset, vector) => {
      if (reads++ === 0) await simulation.after(100);
      return slow(offset, vector);
    };
    const reading = readSnapshot(0, 512);
    const writing = Promise.resolve(write(0, 512)).then(() => simulation.nowMs());
    const beside = Promise.resolve(write(CLUSTER, 512)).then(() => simulation.nowMs());
    expect(same(await simulation.run(reading), old.subarray(0, 512))).toBe(true);
    expect(await simulation.run(Promise.all([writing, beside]))).toEqual([100, 0]);
  });

  it("shows the past, whatever is written when, and whatever fails", async () => {
    const step = fc.record({
      kind: fc.constantFrom("write", "zero", "discard", "read", "read" as const),
      at: fc.nat(LENGTH / 512 - 1),
      length: fc.integer({ min: 1, max: 300 }),
      pause: fc.nat(3),
    });
    const faults = fc.constantFrom(0, 0, 0.1);
    const policy = fc.constantFrom("break-guest-write", "break-snapshot" as const);
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 30 }),
        fc.nat(),
        faults,
        policy,
        fc.boolean(),
        async (steps, seed, rate, onCbwError, timed) => {
          simulation = new Simulation(seed);
          const random = new Random(seed);
          const fault = (): Errno | undefined => (random.chance(rate) ? "EIO" : undefined);
          const driver = { delayed: 0.7, maxDelayMs: 2, fault };
          build({ onCbwError, cbwTimeoutSeconds: timed ? 0.001 : 0 }, { file: driver, target: driver });
          let broken = 0;
          const running: Promise<unknown>[] = [];
          for (const { kind, at, length, pause } of steps) {
            const offset = at * 512;
            const bytes = Math.min(length * 512, LENGTH - offset);
            const request = async (): Promise<void> => {
              if (kind === "write") return write(offset, bytes, random.below(256));
              if (kind === "zero") return filter.writeZeroes(offset, bytes);
              if (kind === "discard") return filter.discard(offset, bytes);
              const found = await readSnapshot(offset, bytes);
              if (!same(found, old.subarray(offset, offset + bytes))) throw new Error(`not the past at ${offset}`);
            };
            running.push(
              request().catch((error: unknown) => {
                if (!(error instanceof BlockError)) throw error;
                if (error.errno === "EACCES") broken++;
                else if (rate === 0 && !timed) throw error;
              }),
            );
            if (pause > 0) await simulation.run(simulation.after(pause - 1));
          }
          await simulation.run(Promise.all(running));
          if (onCbwError === "break-guest-write") expect(broken).toBe(0);
          file.fault = undefined;
          target.fault = undefined;
          const section = await simulation.run(filter.drain());
          section[Symbol.dispose]();
          if ((filter.driver as CopyBeforeWriteDriver).snapshotError === undefined)
            expect(same(await simulation.run(readSnapshot()), old)).toBe(true);
          await snapshot.close();
          await filter.close();
        },
      ),
      { numRuns: process.env["VBLK_SOAK"] === undefined ? 150 : 5000 },
    );
  });
});

describe("copyBeforeWriteOpener", () => {
  it("builds a graph to fleece from, and reports in QEMU's order", async () => {
    const drivers = [memoryOpener, nullOpener, copyBeforeWriteOpener, snapshotAccessOpener];
    const graph = new BlockGraph({ drivers, clock: simulation });
    const add = (options: Omit<BlockdevOptions, "driver">): Promise<unknown> =>
      graph.add({ driver: "copy-before-write", "node-name": "c0", ...options });
    await graph.add({ driver: "memory", "node-name": "r", size: 1 << 20 });
    await graph.add({ driver: "memory", "node-name": "t", size: 1 << 20 });
    await graph.add({ driver: "null-co", "node-name": "ro", size: 1 << 20, "read-only": true });
    const cases: [Omit<BlockdevOptions, "driver">, string][] = [
      [{ file: "zz", target: "zz" }, "Cannot find device='zz' nor node-name='zz'"],
      [{ file: "r", target: "zz" }, "Cannot find device='zz' nor node-name='zz'"],
      [{ file: "r" }, 'A block device must be specified for "target"'],
      [{ file: "r", target: "ro" }, "Block node is read-only"],
      [{ file: "r", target: "t", bitmap: { node: "zz", name: "b" } }, "Node 'zz' not found"],
      [{ file: "r", target: "t", bitmap: { node: "r", name: "b" } }, "Dirty bitmap 'b' not found"],
      [
        { file: "r", target: "t", "min-cluster-size": 5 },
        "Cannot create block-copy-state: min-cluster-size needs to be a power of 2",
      ],
    ];
    for (const [options, message] of cases) await expect(add(options), message).rejects.toThrow(message);
    expect([...graph.node("t")!.parents]).toEqual([]);
    const self = { driver: "copy-before-write", file: "r", target: "r" };
    await expect(graph.add({ driver: "snapshot-access", "node-name": "s", file: self })).rejects.toThrow(
      /^Permission conflict on node 'r': permissions 'write' are both required by node '#block\d+' \(uses node 'r' as 'target' child\)/,
    );
    expect([...graph.node("r")!.parents]).toEqual([]);
    const options = { file: "r", target: { driver: "memory", size: 1 << 20 } };
    await add(options);
    await graph.add({ driver: "snapshot-access", "node-name": "s", file: "c0" });
    expect([...graph.nodes].map(({ node }) => node.driver.driverName)).toEqual([
      "snapshot-access",
      "memory",
      "copy-before-write",
      "null-co",
      "memory",
      "memory",
    ]);
    for (const [driver, name] of [
      ["copy-before-write", "c0"],
      ["snapshot-access", "s"],
    ] as const) {
      await expect(graph.reopen([{ driver, "node-name": name }])).rejects.toThrow(
        `Block format '${driver}' used by node '${name}' does not support reopening files`,
      );
    }
    await expect(graph.delete("c0")).rejects.toThrow("Block device c0 is in use");
    await graph.delete("s");
    await graph.delete("c0");
    expect([...graph.nodes].length).toBe(3);
    await graph.close();
  });
});

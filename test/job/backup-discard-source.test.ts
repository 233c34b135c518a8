// discard-source: what a backup has copied its source forgets (docs/reference/backup.md §2.1, §4.1 and §5).
import { beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { CopyBeforeWriteDriver } from "../../src/block/filters/copy-before-write.ts";
import { SnapshotAccessDriver } from "../../src/block/filters/snapshot-access.ts";
import { BlockNode } from "../../src/block/node.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_WRITE } from "../../src/block/permissions.ts";
import { CLUSTER, KIB, patterned, rangesKib, same } from "../support/copy-pair.ts";
import { FaultyDriver } from "../support/faulty-driver.ts";
import { Simulation } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";

const LENGTH = 8 * CLUSTER - 512;
const discardSource = true;

let simulation: Simulation;
beforeEach(() => {
  simulation = new Simulation(1);
});

function newBench(options: Partial<ConstructorParameters<typeof BackupBench>[1]> = {}): BackupBench {
  return new BackupBench(simulation, { lengthBytes: LENGTH, ...options });
}

/** How often each KiB of the source was discarded. */
function discarded(driver: FaultyDriver): number[] {
  const counts = new Array<number>(Math.ceil(LENGTH / KIB)).fill(0);
  for (const [from, length] of rangesKib(driver, "discard"))
    for (let at = Math.floor(from); at < from + length; at++) counts[at]!++;
  return counts;
}

describe("a backup with discard-source", () => {
  it("discards all that it has copied, once, and only then", async () => {
    const bench = newBench({ source: { delayed: 0.7 }, target: { delayed: 0.7 } });
    const backup = await bench.start({ discardSource });
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(same(bench.targetDriver.memory.bytes, bench.before)).toBe(true);
    expect(discarded(bench.sourceDriver)).toEqual(new Array(LENGTH / KIB + 0.5).fill(1));
    for (const discard of bench.sourceDriver.calls.filter(({ kind }) => kind === "discard")) {
      const end = discard.offsetBytes + discard.lengthBytes;
      const writes = bench.targetDriver.calls.filter(
        (call) =>
          call.kind === "write" && call.offsetBytes < end && call.offsetBytes + call.lengthBytes > discard.offsetBytes,
      );
      expect(writes.length).toBeGreaterThan(0);
      for (const write of writes) expect(write.ended).toBeLessThan(discard.begun);
    }
    expect(bench.traces).toEqual(NO_TRACES);
  });

  it("leaves alone what it does not copy", async () => {
    const bench = newBench();
    await bench.write(2 * CLUSTER, 512, 5);
    const backup = await bench.start({ discardSource, sync: "incremental", bitmap: "b" });
    await simulation.run(backup.job.untilConcluded());
    expect(rangesKib(bench.sourceDriver, "discard")).toEqual([[128, 64]]);
  });

  it("discards nothing without the option, nor where the source does not discard", async () => {
    const plain = newBench();
    await simulation.run((await plain.start()).job.untilConcluded());
    expect(rangesKib(plain.sourceDriver, "discard")).toEqual([]);
    const bench = newBench();
    bench.source.applySettings({ ...bench.source.settings, discard: "ignore" });
    await simulation.run((await bench.start({ discardSource })).job.untilConcluded());
    expect(rangesKib(bench.sourceDriver, "discard")).toEqual([]);
  });

  it.each([
    ["read", "source"],
    ["write", "target"],
  ] as const)("keeps what a failed %s of the %s left uncopied", async (kind, side) => {
    const bad = 3 * CLUSTER;
    const bench = newBench({
      [side]: {
        fault: (call: { kind: string; offsetBytes: number; lengthBytes: number }) =>
          call.kind === kind && call.offsetBytes <= bad && call.offsetBytes + call.lengthBytes > bad
            ? "EIO"
            : undefined,
      },
    });
    const backup = await bench.start({ discardSource, maxChunkBytes: CLUSTER });
    expect((await simulation.run(backup.job.untilConcluded())).kind).toBe("failed");
    expect(discarded(bench.sourceDriver)[bad / KIB]).toBe(0);
    const kept = bench.sourceDriver.memory.bytes.subarray(bad, bad + CLUSTER);
    expect(same(kept, bench.before.subarray(bad, bad + CLUSTER))).toBe(true);
  });

  it("goes on where a discard fails, for it promises nothing", async () => {
    for (const errno of ["EIO", "ENOTSUP", "EPERM"] as const) {
      for (const delayed of [0, 1]) {
        const fault = (call: { kind: string }) => (call.kind === "discard" ? errno : undefined);
        const bench = newBench({ source: { delayed, fault } });
        const backup = await bench.start({ discardSource });
        expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
        expect(same(bench.targetDriver.memory.bytes, bench.before)).toBe(true);
      }
    }
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])("keeps what guests write meanwhile (seed %i)", async (seed) => {
    simulation = new Simulation(seed);
    const bench = newBench({ source: { delayed: 0.8 }, target: { delayed: 0.8 } });
    const backup = await bench.start({ discardSource, maxChunkBytes: CLUSTER });
    const written = Array.from({ length: 8 }, (_, i) => bench.write(i * CLUSTER + 4096, 4096, 0xa0 + i));
    await simulation.run(Promise.all([...written, backup.job.untilConcluded()]));
    expect(same(bench.targetDriver.memory.bytes, bench.before)).toBe(true);
    for (let i = 0; i < 8; i++) {
      const at = i * CLUSTER + 4096;
      expect(bench.sourceDriver.memory.bytes.subarray(at, at + 4096).every((byte) => byte === 0xa0 + i)).toBe(true);
    }
  });

  it("lets a serialising write of a guest wait for nothing that waits for it", async () => {
    const bench = newBench({ source: { delayed: 1 }, target: { delayed: 1 } });
    const backup = await bench.start({ discardSource, sync: "none" });
    const data = IoVector.of(new Uint8Array(CLUSTER).fill(9));
    await simulation.run(Promise.resolve(bench.source.write(CLUSTER, data, { serialising: true })));
    expect(rangesKib(bench.sourceDriver, "discard")).toEqual([[64, 64]]);
    backup.job.cancel();
    await simulation.run(backup.job.untilConcluded());
  });

  it("keeps what another backup of the source has still to copy", async () => {
    const bench = newBench();
    const other = new BackupBench(simulation, { lengthBytes: LENGTH });
    const first = await bench.start({ sync: "none" });
    const second = await bench.start({ id: "j1", target: other.target, discardSource });
    expect(await simulation.run(second.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(rangesKib(bench.sourceDriver, "discard")).toEqual([]);
    first.job.cancel();
    await simulation.run(first.job.untilConcluded());
  });

  it("needs to write to the source: a read-only one is refused", async () => {
    const bench = newBench();
    const readOnly = new BlockNode({
      name: "ro",
      driver: new FaultyDriver({ simulation, bytes: patterned(LENGTH), readOnly: true }),
    });
    await expect(bench.start({ source: readOnly, discardSource })).rejects.toThrow("Block node is read-only");
    expect([...readOnly.parents]).toEqual([]);
    expect(bench.traces).toEqual(NO_TRACES);
    // To copy it alone is another matter.
    const backup = await bench.start({ source: readOnly });
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
  });

  it("is refused where somebody below the interception lets nobody write", async () => {
    const bench = newBench();
    // The target goes through the source past the interception, as one that stands on it does.
    const guard = {
      parentName: "node 'guard'",
      role: "file" as const,
      node: bench.target,
      beginDrain() {},
      untilQuiet: () => undefined,
      endDrain() {},
    };
    bench.guest.setPermissions({ needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    bench.source.attachParent(guard, { needs: PERM_CONSISTENT_READ, shares: PERM_ALL & ~PERM_WRITE });
    await expect(bench.start({ discardSource })).rejects.toThrow(
      /Permission conflict on node 'source': permissions 'write' are both required by node '#block0' .* and unshared by node 'guard'/,
    );
    await simulation.run((await bench.start()).job.untilConcluded());
  });
});

describe("a backup of a snapshot with discard-source", () => {
  it("frees the snapshot as it goes: no more copies for guests, and none kept", async () => {
    const old = patterned(LENGTH);
    const disk = new FaultyDriver({ simulation, bytes: old.slice() });
    const store = new FaultyDriver({ simulation, bytes: new Uint8Array(LENGTH) });
    const target = new FaultyDriver({ simulation, bytes: new Uint8Array(LENGTH) });
    const driver = new CopyBeforeWriteDriver({
      file: new BlockNode({ name: "disk", driver: disk, discard: "unmap" }),
      target: new BlockNode({ name: "store", driver: store, discard: "unmap" }),
      clock: simulation,
    });
    const filter = new BlockNode({ name: "cbw", driver });
    const guest = new BlockBackend({ name: "drive0", node: filter });
    const source = new BlockNode({ name: "s", driver: new SnapshotAccessDriver({ file: filter }), discard: "unmap" });
    const write = (cluster: number, value: number): Promise<void> =>
      simulation.run(Promise.resolve(guest.write(cluster * CLUSTER, IoVector.of(new Uint8Array(512).fill(value)))));

    await write(1, 1);
    expect(rangesKib(store, "write")).toEqual([[64, 64]]);
    const bench = newBench();
    const backup = await bench.start({
      source,
      target: new BlockNode({ name: "t", driver: target }),
      discardSource,
      maxChunkBytes: CLUSTER,
    });
    expect(await simulation.run(backup.job.untilConcluded())).toEqual({ kind: "completed" });
    expect(same(target.memory.bytes, old)).toBe(true);
    expect(discarded(store).every((count) => count === 1)).toBe(true);
    expect(rangesKib(disk, "discard")).toEqual([]);

    // What was copied belongs to the snapshot no more.
    await write(2, 2);
    expect(rangesKib(store, "write")).toEqual([[64, 64]]);
    await expect(source.read(0, IoVector.of(new Uint8Array(512)))).rejects.toMatchObject({ errno: "EACCES" });
  });
});

// Limits of backends, in simulated time. Moments are those of a real QEMU 7.2.
import { beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { NullDriver } from "../../src/block/drivers/null.ts";
import { ThrottleDriver } from "../../src/block/filters/throttle.ts";
import { type ThrottleGroup, ThrottleGroups } from "../../src/block/filters/throttle-group.ts";
import { BlockNode } from "../../src/block/node.ts";
import { Simulation } from "../support/simulation.ts";

let simulation: Simulation;
let groups: ThrottleGroups;
beforeEach(() => {
  simulation = new Simulation(1);
  groups = new ThrottleGroups(simulation);
});

function disk(name: string): BlockBackend {
  const driver = new NullDriver({ lengthBytes: 2 ** 30 });
  return new BlockBackend({ name, node: new BlockNode({ name: `${name}-node`, driver, discard: "unmap" }) });
}

function limited(name: string, group: ThrottleGroup): BlockBackend {
  const backend = disk(name);
  backend.setThrottleGroup(group);
  return backend;
}

/** The group `g`, of this many requests a second. */
function group(iops: number, name = "g"): ThrottleGroup {
  const made = groups.obtain(name);
  made.setLimits({ "iops-total": iops });
  return made;
}

function vector(length = 512): IoVector {
  return IoVector.of(new Uint8Array(length));
}

/** Asks for all at once and tells when each had ended, in ms. */
async function times(requests: readonly (() => void | Promise<void>)[]): Promise<number[]> {
  const start = simulation.nowMs();
  const ends = requests.map(async (request) => {
    await request();
    return simulation.nowMs() - start;
  });
  return simulation.run(Promise.all(ends));
}

const reads = (backend: BlockBackend, count: number): (() => void | Promise<void>)[] =>
  Array.from({ length: count }, () => () => backend.read(0, vector()));

describe("BlockBackend with limits", () => {
  it("lets requests pass when the group does", async () => {
    expect(await times(reads(limited("d", group(10)), 6))).toEqual([0, 0, 100, 200, 300, 400]);
  });

  it("limits reads, writes and write-zeroes, but neither discards nor flushes", async () => {
    const backend = limited("d", group(10));
    const requests = [
      () => backend.write(0, vector()),
      () => backend.writeZeroes(0, 512),
      () => backend.write(0, vector()),
      () => backend.writeZeroes(0, 512),
      () => backend.discard(0, 512),
      () => backend.flush(),
    ];
    expect(await times(requests)).toEqual([0, 0, 100, 200, 0, 0]);
  });

  it("shares the limits of one group with others, by turns", async () => {
    const shared = group(10);
    const [a, b] = [limited("a", shared), limited("b", shared)];
    const order: string[] = [];
    const named = (backend: BlockBackend) => async (): Promise<void> => {
      await backend.read(0, vector());
      order.push(backend.name);
    };
    await times([...Array.from({ length: 4 }, () => named(a)), ...Array.from({ length: 2 }, () => named(b))]);
    expect(order).toEqual(["a", "a", "a", "b", "a", "b"]);
  });

  it("answers at once, without a promise, while nothing is limited", () => {
    const backend = disk("d");
    expect([backend.read(0, vector()), backend.write(0, vector()), backend.writeZeroes(0, 512)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    backend.setThrottleGroup(group(10));
    expect(backend.read(0, vector())).toBeUndefined();
    backend.setThrottleGroup(undefined);
    for (let i = 0; i < 100; i++) expect(backend.read(0, vector())).toBeUndefined();
  });

  it("counts what waits as in flight, and lets it go on in a drained section", async () => {
    const backend = limited("d", group(1));
    const ended = times(reads(backend, 5));
    expect(backend.inFlight).toBeGreaterThan(0);
    using _drained = await simulation.run(backend.node.drain());
    expect(backend.inFlight).toBe(0);
    expect(await ended).toEqual([0, 0, 0, 0, 0]);
  });

  it("lets go on what waits when somebody waits for it to be idle", async () => {
    const backend = limited("d", group(1));
    const ended = times(reads(backend, 5));
    await simulation.run(backend.untilIdle()!);
    expect(await ended).toEqual([0, 0, 0, 0, 0]);
  });

  it("holds requests of a drained section until its end, and limits them then", async () => {
    const backend = limited("d", group(10));
    const drained = await simulation.run(backend.node.drain());
    const ended = times(reads(backend, 4));
    drained[Symbol.dispose]();
    expect(await ended).toEqual([0, 0, 100, 200]);
  });

  it("joined while drained, waits for nothing until the section ends", async () => {
    const backend = disk("d");
    const drained = await simulation.run(backend.node.drain());
    const joined = group(10);
    backend.setThrottleGroup(joined);
    drained[Symbol.dispose]();
    expect(await times(reads(backend, 4))).toEqual([0, 0, 100, 200]);
    backend.setThrottleGroup(undefined);
    expect(await times(reads(backend, 4))).toEqual([0, 0, 0, 0]);
  });

  it("lets go on at once what waits in the group that it leaves", async () => {
    const backend = limited("d", group(1));
    const ended = times(reads(backend, 4));
    backend.setThrottleGroup(group(100, "other"));
    expect(await ended).toEqual([0, 0, 0, 0]);
    expect(backend.throttleGroup?.name).toBe("other");
  });

  it("goes by new limits also where requests wait already", async () => {
    const shared = group(1);
    const ended = times(reads(limited("d", shared), 4));
    shared.setLimits({ "iops-total": 10 });
    expect(await ended).toEqual([0, 0, 0, 100]);
  });

  it("does not write what its owner has abandoned meanwhile", async () => {
    const backend = limited("d", group(1));
    await times(reads(backend, 2));
    const data = new IoVector(new Uint8Array(512));
    data.revocable = true;
    data.push(0, 512);
    const write = backend.write(0, data) as Promise<void>;
    data.abandon();
    await expect(simulation.run(write)).rejects.toMatchObject({ errno: "ECANCELED" });
  });
});

describe("ThrottleGroups of drives", () => {
  it("are there as long as they have members, filters included", async () => {
    const backend = limited("d", group(10));
    expect(groups.get("g")).toBe(backend.throttleGroup);
    const file = new BlockNode({ name: "f", driver: new NullDriver({ lengthBytes: 512 }) });
    const filter = new BlockNode({ name: "t", driver: new ThrottleDriver({ file, group: groups.get("g")! }) });
    backend.close();
    expect(groups.get("g")).toBeDefined();
    await filter.close();
    expect(groups.get("g")).toBeUndefined();
  });

  it("are no objects, and keep objects from having their names", () => {
    const backend = limited("d", group(10));
    expect(() => groups.add("g", {})).toThrow("A group with this name already exists");
    expect(() => groups.delete("g")).toThrow("object 'g' not found");
    backend.setThrottleGroup(undefined);
    const object = groups.add("g", { "iops-total": 3 });
    backend.setThrottleGroup(groups.obtain("g"));
    expect(backend.throttleGroup).toBe(object);
    expect(() => groups.delete("g")).toThrow("object 'g' is in use, can not be deleted");
    backend.setThrottleGroup(undefined);
    groups.delete("g");
    expect(groups.get("g")).toBeUndefined();
  });
});

// Throttle groups and filters, in simulated time. Rates and texts are those of a real QEMU 7.2.
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import { BlockBackend } from "../../../src/block/backend.ts";
import { nullOpener } from "../../../src/block/drivers/memory-openers.ts";
import { NullDriver } from "../../../src/block/drivers/null.ts";
import { ThrottleDriver, throttleOpener } from "../../../src/block/filters/throttle.ts";
import { ThrottleGroup, ThrottleGroups } from "../../../src/block/filters/throttle-group.ts";
import type { ThrottleLimits } from "../../../src/block/filters/throttle-limits.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { Simulation } from "../../support/simulation.ts";

let simulation: Simulation;
beforeEach(() => {
  simulation = new Simulation(1);
});

function filter(group: ThrottleGroup, name = "t"): BlockNode {
  const file = new BlockNode({ name: `${name}-f`, driver: new NullDriver({ lengthBytes: 2 ** 30 }), discard: "unmap" });
  return new BlockNode({ name, driver: new ThrottleDriver({ file, group }), discard: "unmap" });
}

/** Asks for all at once and tells when each was let pass, in ms. */
async function times(requests: (() => void | Promise<void>)[]): Promise<number[]> {
  const start = simulation.nowMs();
  const ends = requests.map(async (request) => {
    await request();
    return simulation.nowMs() - start;
  });
  return simulation.run(Promise.all(ends));
}

function vector(length: number): IoVector {
  return IoVector.of(new Uint8Array(length));
}

function reads(node: BlockNode, count: number, length = 512): (() => void | Promise<void>)[] {
  return Array.from({ length: count }, (_, i) => () => node.read(i * length, vector(length)));
}

describe("ThrottleDriver", () => {
  it("lets as much pass as limits and bursts allow, at the moments at which QEMU does", async () => {
    const pass = async (limits: ThrottleLimits, count: number, length = 512): Promise<number[]> =>
      times(reads(filter(new ThrottleGroup("tg", limits, simulation)), count, length));
    expect(await pass({ "iops-total": 10 }, 8)).toEqual([0, 0, 100, 200, 300, 400, 500, 600]);
    expect(await pass({ "bps-total": 1048576 }, 5, 524288)).toEqual([0, 400, 900, 1400, 1900]);
    expect(await pass({ "iops-total": 10, "iops-total-max": 20 }, 24)).toEqual([
      ...new Array(21).fill(0),
      100,
      200,
      300,
    ]);
    const long = await pass({ "iops-total": 10, "iops-total-max": 20, "iops-total-max-length": 2 }, 50);
    expect(long.slice(0, 6)).toEqual([0, 0, 0, 50, 100, 150]);
    expect(long.at(-1)).toBe(2350);
    expect(await pass({ "iops-total": 10, "iops-size": 4096 }, 5, 16384)).toEqual([0, 300, 700, 1100, 1500]);
  });

  it("passes everything at once where nothing is limited", async () => {
    const node = filter(new ThrottleGroup("tg", {}, simulation));
    expect(node.read(0, vector(1 << 20))).toBeUndefined();
    expect(node.write(0, vector(1 << 20))).toBeUndefined();
    expect(node.flush()).toBeUndefined();
  });

  it("limits directions each for itself, and all requests that change data as writes", async () => {
    const node = filter(new ThrottleGroup("tg", { "iops-write": 10 }, simulation));
    const requests = [
      () => node.write(0, vector(512)),
      () => node.writeZeroes(0, 512),
      () => node.discard(0, 512),
      () => node.read(0, vector(512)),
      () => node.flush(),
      () => node.write(0, vector(512)),
    ];
    expect(await times(requests)).toEqual([0, 0, 100, 0, 0, 200]);
  });

  it("shares the limits of a group among its filters, by turns", async () => {
    const group = new ThrottleGroup("tg", { "iops-total": 10 }, simulation);
    const [a, b] = [filter(group, "a"), filter(group, "b")];
    expect(await times([...reads(a, 5), ...reads(b, 3)])).toEqual([0, 0, 100, 300, 500, 200, 400, 600]);
    expect(await times([...reads(b, 1)])).toEqual([100]);
  });

  it("lets requests in flight pass in a drained section, and those that are sent within it", async () => {
    const node = filter(new ThrottleGroup("tg", { "bps-total": 1 }, simulation));
    const backend = new BlockBackend({ name: "d", node });
    for (const drained of [node, node.driver.children[0]!.node]) {
      const reading = [backend.read(0, vector(512)), backend.read(0, vector(512)), backend.read(0, vector(512))];
      const section = await simulation.run(drained.drain());
      await Promise.all(reading);
      expect(node.read(0, vector(512))).toBeUndefined();
      section[Symbol.dispose]();
    }
    expect(simulation.nowMs()).toBe(0);
    const late = Promise.resolve(backend.read(0, vector(512)));
    await simulation.run(late);
    expect(simulation.nowMs()).toBeGreaterThan(3_000_000);
  });

  it("leaves no timer behind when nothing waits any more", async () => {
    const node = filter(new ThrottleGroup("tg", { "bps-total": 1 }, simulation));
    const reading = [node.read(0, vector(512)), node.read(0, vector(512))];
    using _drained = await node.drain();
    await Promise.all(reading);
    await expect(simulation.run(new Promise(() => {}))).rejects.toThrow("hangs at 0 ms after 0 events");
  });

  it("goes by other limits as soon as there are some", async () => {
    const group = new ThrottleGroup("tg", { "iops-total": 1 }, simulation);
    const node = filter(group);
    simulation.setTimer(500, () => group.setLimits({ "iops-total": 10 }));
    expect(await times(reads(node, 6))).toEqual([0, 500, 500, 600, 700, 800]);
    expect(() => group.setLimits({ "iops-size": 3 })).toThrow("iops size requires an iops value to be set");
    expect(group.limits["iops-total"]).toBe(10);
    group.setLimits({});
    expect(node.read(0, vector(512))).toBeUndefined();
  });

  it("never lets more pass than that, keeps the order of each line, and forgets nobody", async () => {
    const limits = fc.record({
      average: fc.integer({ min: 1, max: 50 }),
      burst: fc.nat(5),
      seconds: fc.integer({ min: 1, max: 4 }),
    });
    const requests = fc.array(fc.record({ at: fc.nat(2000), member: fc.nat(2), write: fc.boolean() }), {
      minLength: 1,
      maxLength: 60,
    });
    await fc.assert(
      fc.asyncProperty(limits, requests, fc.nat(), async ({ average, burst, seconds }, list, seed) => {
        simulation = new Simulation(seed);
        const max = burst === 0 ? 0 : average * burst;
        const group = new ThrottleGroup(
          "tg",
          {
            "iops-total": average,
            "iops-total-max": max,
            "iops-total-max-length": max === 0 ? 1 : seconds,
          },
          simulation,
        );
        const nodes = ["a", "b", "c"].map((name) => filter(group, name));
        const passed: { ms: number; line: string; asked: number }[] = [];
        let asked = 0;
        const all = list.map(async ({ at, member, write }) => {
          await simulation.after(at);
          const number = asked++;
          const node = nodes[member]!;
          await (write ? node.write(0, vector(512)) : node.read(0, vector(512)));
          passed.push({ ms: simulation.nowMs(), line: `${member} ${write}`, asked: number });
        });
        await simulation.run(Promise.all(all));
        expect(passed.length).toBe(list.length);
        const capacity = (max === 0 ? average / 10 : max * seconds) + 2; // one overfills the bucket in either direction
        for (const [i, first] of passed.entries()) {
          for (const [j, last] of passed.slice(i).entries())
            expect(j + 1).toBeLessThanOrEqual(capacity + 1 + (average * (last.ms - first.ms + 1)) / 1000);
        }
        const lines = new Map<string, number>();
        for (const { line, asked: number } of passed) {
          expect(number).toBeGreaterThan(lines.get(line) ?? -1);
          lines.set(line, number);
        }
      }),
      { numRuns: process.env["VBLK_SOAK"] === undefined ? 100 : 3000 },
    );
  });
});

describe("ThrottleGroups", () => {
  let groups: ThrottleGroups;
  beforeEach(() => {
    groups = new ThrottleGroups(simulation);
  });

  it("refuses limits that do not go together, with QEMU's texts in QEMU's order", () => {
    const VALUES = "bps/iops/max values must be within [0, 1000000000000000]";
    const TOTALS = "bps/iops/max total values and read/write values cannot be used at the same time";
    const NEED = "bps_max/iops_max require corresponding bps/iops values";
    const cases: [ThrottleLimits, string][] = [
      [{ "iops-total": 10, "iops-read": 5 }, TOTALS],
      [{ "bps-total": 10, "bps-write": 5 }, TOTALS],
      [{ "bps-total": 10, "bps-read": -1 }, TOTALS],
      [{ "iops-size": 1, "bps-total": 10, "bps-read": 1 }, TOTALS],
      [{ "bps-total": -1 }, VALUES],
      [{ "bps-total": 10 ** 15 + 1 }, VALUES],
      [{ "bps-total-max": -1 }, VALUES],
      [{ "bps-total": -1, "iops-read": -1, "iops-read-max-length": 0 }, VALUES],
      [{ "iops-size": 4096 }, "iops size requires an iops value to be set"],
      [{ "iops-size": 1, "bps-total": -1 }, "iops size requires an iops value to be set"],
      [{ "bps-total-max": 10 }, NEED],
      [{ "bps-total-max": 10, "bps-total-max-length": 2 }, NEED],
      [{ "bps-read": 1, "bps-total-max": 3 }, NEED],
      [{ "bps-total": 100, "bps-total-max": 10 }, "bps_max/iops_max cannot be lower than bps/iops"],
      [{ "bps-total": 100, "bps-total-max-length": 10 }, "burst length set without burst rate"],
      [{ "bps-total": 100, "bps-total-max": 10, "bps-total-max-length": 0 }, "the burst length cannot be 0"],
      [{ "bps-total": 1, "iops-read-max": 7, "iops-read-max-length": 0 }, "the burst length cannot be 0"],
      [
        { "bps-total": 1, "bps-total-max": 10 ** 15, "bps-total-max-length": 10 ** 6 },
        "burst length too high for this burst rate",
      ],
      [
        { "bps-total": 100, "bps-total-max": 1000, "bps-total-max-length": 10 ** 13 },
        "bps-total-max-length value must be in the range [0, 4294967295]",
      ],
    ];
    for (const [limits, message] of cases) expect(() => groups.add("tg", limits), message).toThrow(message);
    expect(groups.get("tg")).toBeUndefined();
    groups.add("tg", { "bps-total": 5, "bps-total-max": 5, "bps-read-max-length": 1 });
  });

  it("knows all limits of a group, and keeps a group that is in use", async () => {
    groups.add("tg", { "iops-total": 100 });
    expect(groups.get("tg")?.limits).toEqual({
      "bps-total": 0,
      "bps-total-max": 0,
      "bps-total-max-length": 1,
      "bps-read": 0,
      "bps-read-max": 0,
      "bps-read-max-length": 1,
      "bps-write": 0,
      "bps-write-max": 0,
      "bps-write-max-length": 1,
      "iops-total": 100,
      "iops-total-max": 0,
      "iops-total-max-length": 1,
      "iops-read": 0,
      "iops-read-max": 0,
      "iops-read-max-length": 1,
      "iops-write": 0,
      "iops-write-max": 0,
      "iops-write-max-length": 1,
      "iops-size": 0,
    });
    expect(() => groups.add("tg", {})).toThrow("attempt to add duplicate property 'tg' to object (type 'container')");
    expect(() => groups.delete("zz")).toThrow("object 'zz' not found");
    const graph = new BlockGraph({ drivers: [throttleOpener(groups), nullOpener], clock: simulation });
    const node = { driver: "throttle", "node-name": "th", file: { driver: "null-co" } };
    await expect(graph.add({ ...node, "throttle-group": "zz" })).rejects.toThrow("Throttle group 'zz' does not exist");
    await graph.add({ ...node, "throttle-group": "tg" });
    expect(() => groups.delete("tg")).toThrow("object 'tg' is in use, can not be deleted");
    await expect(graph.reopen([{ ...node, "throttle-group": "zz" }])).rejects.toThrow(
      "Throttle group 'zz' does not exist",
    );
    groups.add("other", {});
    await graph.reopen([{ ...node, "throttle-group": "other" }]);
    groups.delete("tg");
    await graph.delete("th");
    groups.delete("other");
  });

  it("moves a filter to another group with nothing left waiting in the first", async () => {
    groups.add("slow", { "bps-total": 1 });
    groups.add("fast", {});
    const graph = new BlockGraph({ drivers: [throttleOpener(groups), nullOpener], clock: simulation });
    const node = { driver: "throttle", "node-name": "th", file: { driver: "null-co" } };
    await graph.add({ ...node, "throttle-group": "slow" });
    const backend = new BlockBackend({ name: "", node: graph.node("th")! });
    const reading = Array.from({ length: 4 }, () => backend.read(0, vector(512)));
    await simulation.run(graph.reopen([{ ...node, "throttle-group": "fast" }]));
    await simulation.run(Promise.all(reading));
    expect(simulation.nowMs()).toBe(0);
    expect(backend.read(0, vector(512))).toBeUndefined();
    backend.close();
    await graph.close();
  });
});

// block_set_io_throttle as a QMP command. Texts and replies are those of a real QEMU 7.2.
import { beforeEach, describe, expect, it } from "vitest";
import { memoryOpener, nullOpener } from "../../../src/block/drivers/memory-openers.ts";
import { ThrottleGroups } from "../../../src/block/filters/throttle-group.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import { JobList } from "../../../src/job/job-list.ts";
import { blockIoThrottleCommands } from "../../../src/qmp/commands/block-io-throttle.ts";
import { IoThreads } from "../../../src/qmp/commands/io-threads.ts";
import { objectCommands } from "../../../src/qmp/commands/object.ts";
import { queryBlockCommands } from "../../../src/qmp/commands/query-block.ts";
import { transactionCommands } from "../../../src/qmp/commands/transaction.ts";
import type { JsonObject, JsonValue } from "../../../src/qmp/json/value.ts";
import { Simulation } from "../../support/simulation.ts";
import { type Execute, executor, refused } from "./support/invoke.ts";

const NONE = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };

let simulation: Simulation;
let graph: BlockGraph;
let groups: ThrottleGroups;
let execute: Execute;
beforeEach(async () => {
  simulation = new Simulation(1);
  graph = new BlockGraph({ drivers: [nullOpener, memoryOpener], clock: simulation });
  groups = new ThrottleGroups(simulation);
  const named = ["d", "e"].map(async (name) =>
    graph.addBackend({ name, node: await graph.open({ driver: "null-co", "node-name": `${name}-node`, size: 65536 }) }),
  );
  await Promise.all(named);
  graph.addBackend({ name: "empty" });
  const device = graph.addBackend({
    name: "",
    node: await graph.add({ driver: "memory", "node-name": "n", size: 65536 }),
  });
  device.attachDevice({ id: "vb", path: "/machine/peripheral-anon/device[0]", shareRw: false });
  execute = executor([
    ...blockIoThrottleCommands({
      graph,
      throttleGroups: groups,
      deviceBackend: (name) => (["vb", "/machine/peripheral/vb"].includes(name) ? device : undefined),
    }),
    ...queryBlockCommands({ graph }),
    ...objectCommands({ groups, ioThreads: new IoThreads(7) }),
    ...transactionCommands({ graph, jobs: new JobList(graph.names), clock: simulation }),
  ]);
});

const throttle = (args: JsonObject): Promise<unknown> => execute("block_set_io_throttle", { ...NONE, ...args });

const ofLimits = (info: object): object =>
  Object.fromEntries(Object.entries(info).filter(([name]) => /^(bps|iops)|^group$/.test(name)));

/** What query-block tells of the limits of a drive, or of the device by its id. */
async function limits(name: string): Promise<object> {
  const infos = (await execute("query-block")) as { device: string; qdev?: string; inserted: object }[];
  return ofLimits(infos.find(({ device, qdev }) => device === name || qdev === name)!.inserted);
}

describe("block_set_io_throttle", () => {
  it.each<[JsonObject, string]>([
    [{}, "Parameter 'bps' is missing"],
    [{ device: 1 }, "Invalid parameter type for 'device', expected: string"],
    [{ ...NONE, bps: "a" }, "Invalid parameter type for 'bps', expected: integer"],
    [{ bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, bps_max: "x" }, "Parameter 'iops_wr' is missing"],
    [{ ...NONE, device: "d", zz: 1 }, "Parameter 'zz' is unexpected"],
    [NONE, "Need exactly one of 'device' and 'id'"],
    [{ ...NONE, device: "d", id: "vb" }, "Need exactly one of 'device' and 'id'"],
    [{ ...NONE, device: "empty", bps: -1 }, "Device has no medium"],
  ])("refuses %j", async (args, text) => {
    expect(await execute("block_set_io_throttle", args)).toEqual(refused(text));
  });

  it.each<JsonObject>([{ device: "zz" }, { id: "zz" }, { id: "d" }, { device: "n" }, { device: "" }])(
    "does not find %j",
    async (args) => {
      const name = (args["device"] ?? args["id"]) as string;
      expect(await throttle(args)).toEqual({ class: "DeviceNotFound", desc: `Device '${name}' not found` });
    },
  );

  const range = "bps/iops/max values must be within [0, 1000000000000000]";
  it.each<[Record<string, JsonValue>, string]>([
    [{ bps: -1 }, range],
    [{ iops_wr: 10 ** 15 + 1 }, range],
    [{ bps: 1, bps_rd: 1 }, "bps/iops/max total values and read/write values cannot be used at the same time"],
    [{ bps_max: 1 }, "bps_max/iops_max require corresponding bps/iops values"],
    [{ bps: 10, bps_max: 1 }, "bps_max/iops_max cannot be lower than bps/iops"],
    [{ bps: 10, bps_max_length: 2 }, "burst length set without burst rate"],
    [{ bps: 10, bps_max_length: -1 }, "burst length set without burst rate"],
    [{ bps: 10, bps_max_length: 2 ** 32 }, "burst length set without burst rate"],
    [{ bps: 10, bps_max_length: 0 }, "the burst length cannot be 0"],
    [{ bps: 10, bps_max: 20, bps_max_length: 0 }, "the burst length cannot be 0"],
    [{ bps: 10, bps_max: 10 ** 15, bps_max_length: 2 }, "burst length too high for this burst rate"],
    [{ iops_size: 1 }, "iops size requires an iops value to be set"],
    [{ bps: 1, iops_size: 2 ** 40 }, "iops size requires an iops value to be set"],
  ])("refuses limits %j, and leaves those that hold", async (args, text) => {
    await throttle({ device: "d", bps: 7 });
    expect(await throttle({ device: "d", ...args })).toEqual(refused(text));
    expect(await limits("d")).toEqual({ ...NONE, bps: 7, group: "d" });
  });

  it("sets all limits, and queries tell of those that are set", async () => {
    const args = { bps: 1000, bps_max: 2000, bps_max_length: 3, iops: 5, iops_max: 6, iops_size: 4096, group: "x" };
    expect(await throttle({ device: "d", ...args })).toEqual({});
    expect(await limits("d")).toEqual({ ...NONE, ...args, iops_max_length: 1 });
    const parts = { bps_rd: 1, bps_wr: 2, iops_rd: 3, iops_wr: 4 };
    const bursts = { bps_rd_max: 11, bps_wr_max: 12, iops_rd_max: 13, iops_wr_max: 14 };
    const lengths = { bps_rd_max_length: 5, bps_wr_max_length: 6, iops_rd_max_length: 7, iops_wr_max_length: 8 };
    expect(await throttle({ device: "e", ...parts, ...bursts, ...lengths })).toEqual({});
    expect(await limits("e")).toEqual({ ...NONE, ...parts, ...bursts, ...lengths, group: "e" });
  });

  it("takes a negative size for a very large one", async () => {
    expect(await throttle({ device: "d", iops: 1, iops_size: -1 })).toEqual({});
    expect(await limits("d")).toEqual({ ...NONE, iops: 1, iops_size: -1, group: "d" });
  });

  it("finds devices by their ids, and names groups as the command does", async () => {
    expect(await throttle({ id: "vb", iops_rd: 7, iops_rd_max: 70 })).toEqual({});
    const limit = { ...NONE, iops_rd: 7, iops_rd_max: 70, iops_rd_max_length: 1, group: "vb" };
    expect(await limits("vb")).toEqual(limit);
    expect(await throttle({ id: "vb" })).toEqual({});
    expect(await throttle({ id: "/machine/peripheral/vb", bps: 12 })).toEqual({});
    expect(await limits("vb")).toEqual({ ...NONE, bps: 12, group: "/machine/peripheral/vb" });
  });

  it("changes the limits of a whole group, stays in it, and leaves it without limits", async () => {
    await throttle({ device: "d", bps: 1000, group: "x" });
    await throttle({ device: "e", iops_rd: 7, group: "x" });
    const shared = { ...NONE, iops_rd: 7, group: "x" };
    expect([await limits("d"), await limits("e")]).toEqual([shared, shared]);
    await throttle({ device: "d", iops_wr: 9 });
    const changed = { ...NONE, iops_wr: 9, group: "x" };
    expect([await limits("d"), await limits("e")]).toEqual([changed, changed]);
    await throttle({ device: "d" });
    expect([await limits("d"), await limits("e")]).toEqual([NONE, changed]);
    await throttle({ device: "e" });
    // The group is gone: it comes again without what it was.
    await throttle({ device: "d", bps: 5, group: "x" });
    expect([await limits("d"), await limits("e")]).toEqual([{ ...NONE, bps: 5, group: "x" }, NONE]);
    await throttle({ device: "d", bps: 5, group: "" });
    expect(await limits("d")).toEqual({ ...NONE, bps: 5, group: "" });
  });

  it("makes no group where nothing is limited", async () => {
    expect(await throttle({ device: "d", group: "x" })).toEqual({});
    expect(await limits("d")).toEqual(NONE);
    expect(groups.get("x")).toBeUndefined();
  });

  it("sets the limits of a group that is an object, which then cannot be deleted", async () => {
    await execute("object-add", { "qom-type": "throttle-group", id: "og", limits: { "iops-total": 3 } });
    expect(await throttle({ device: "d", bps: 55, group: "og" })).toEqual({});
    expect(groups.get("og")!.limits).toMatchObject({ "bps-total": 55, "iops-total": 0 });
    expect(await execute("object-del", { id: "og" })).toEqual(refused("object 'og' is in use, can not be deleted"));
    await throttle({ device: "d" });
    expect(await execute("object-del", { id: "og" })).toEqual({});
  });

  it("shows in query-block alone, also on the filter of a job", async () => {
    await throttle({ device: "d", bps: 5 });
    const nodes = (await execute("query-named-block-nodes")) as object[];
    expect(nodes.map(ofLimits)).toEqual([NONE, NONE, NONE]);
    const target = await graph.add({ driver: "null-co", "node-name": "t", size: 65536 });
    await simulation.run(
      execute("blockdev-backup", { device: "d", target: target.name, sync: "none", "filter-node-name": "f" }),
    );
    const [info] = (await execute("query-block")) as { inserted: { drv: string } }[];
    expect(info!.inserted.drv).toBe("copy-before-write");
    expect(await limits("d")).toEqual({ ...NONE, bps: 5, group: "d" });
  });
});

// object-add and object-del of throttle groups, with the texts of a real QEMU 7.2; and how nodes with filters are then described.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { nullOpener } from "../../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../../src/block/drivers/raw-opener.ts";
import { blkdebugOpener } from "../../../src/block/filters/blkdebug-opener.ts";
import { throttleOpener } from "../../../src/block/filters/throttle.ts";
import { ThrottleGroups } from "../../../src/block/filters/throttle-group.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import { JobList } from "../../../src/job/job-list.ts";
import { blockdevCommands } from "../../../src/qmp/commands/blockdev.ts";
import { IoThreads } from "../../../src/qmp/commands/io-threads.ts";
import { objectCommands } from "../../../src/qmp/commands/object.ts";
import { queryBlockCommands } from "../../../src/qmp/commands/query-block.ts";
import type { JsonObject } from "../../../src/qmp/json/value.ts";
import { type Execute, executor, refused } from "./support/invoke.ts";

let graph: BlockGraph;
let groups: ThrottleGroups;
let execute: Execute;
beforeEach(() => {
  groups = new ThrottleGroups(systemClock);
  graph = new BlockGraph({ drivers: [rawOpener, nullOpener, blkdebugOpener, throttleOpener(groups)] });
  execute = executor([
    ...objectCommands({ groups, ioThreads: new IoThreads(7) }),
    ...blockdevCommands({ graph, jobs: new JobList(graph.names) }),
    ...queryBlockCommands({ graph }),
  ]);
});
afterEach(() => graph.close());

describe("object-add", () => {
  const group = { "qom-type": "throttle-group", id: "tg" };

  it.each<[JsonObject, string]>([
    [{ "qom-type": "zz", id: "a" }, "Parameter 'qom-type' does not accept value 'zz'"],
    [{ "qom-type": "throttle-group" }, "Parameter 'id' is missing"],
    [{ "qom-type": "throttle-group", id: "1a" }, "Parameter 'id' expects an identifier"],
    [{ ...group, foo: 1 }, "Parameter 'foo' is unexpected"],
    [{ ...group, limits: { foo: 5 } }, "Parameter 'limits.foo' is unexpected"],
    [{ ...group, limits: { "iops-total": "5" } }, "Invalid parameter type for 'limits.iops-total', expected: integer"],
    [{ ...group, limits: { "iops-total": -1 } }, "bps/iops/max values must be within [0, 1000000000000000]"],
    [{ ...group, limits: { "bps-total": 10 ** 15 + 1 } }, "bps/iops/max values must be within [0, 1000000000000000]"],
    [
      { ...group, limits: { "iops-total": 5, "iops-read": 5 } },
      "bps/iops/max total values and read/write values cannot be used at the same time",
    ],
    [{ ...group, limits: { "iops-total-max": 5 } }, "bps_max/iops_max require corresponding bps/iops values"],
    [{ ...group, limits: { "bps-total": 10, "bps-total-max": 5 } }, "bps_max/iops_max cannot be lower than bps/iops"],
    [
      { ...group, limits: { "bps-total": 10, "bps-total-max": 50, "bps-total-max-length": 0 } },
      "the burst length cannot be 0",
    ],
  ])("refuses %j", async (args, text) => {
    expect(await execute("object-add", args)).toEqual(refused(text));
    expect(groups.get("tg")).toBeUndefined();
  });

  it("makes a group with limits of either spelling", async () => {
    expect(await execute("object-add", { ...group, limits: { "bps-read": 5, "iops-total": 7 } })).toEqual({});
    expect(groups.get("tg")?.limits).toMatchObject({ "bps-read": 5, "iops-total": 7, "bps-write": 0 });
    expect(await execute("object-add", { ...group, id: "old", "x-iops-total": 100 })).toEqual({});
    expect(groups.get("old")?.limits).toMatchObject({ "iops-total": 100 });
    expect(await execute("object-add", group)).toEqual(
      refused("attempt to add duplicate property 'tg' to object (type 'container')"),
    );
  });
});

describe("object-del", () => {
  it("deletes a group that no node is in", async () => {
    expect(await execute("object-del", { id: "tg" })).toEqual(refused("object 'tg' not found"));
    const throttle = {
      driver: "throttle",
      "node-name": "th",
      "throttle-group": "tg",
      file: { driver: "null-co", size: 1000000 },
    };
    expect(await execute("blockdev-add", throttle)).toEqual(refused("Throttle group 'tg' does not exist"));
    await execute("object-add", { "qom-type": "throttle-group", id: "tg" });
    expect(await execute("blockdev-add", throttle)).toEqual({});
    expect(await execute("object-del", { id: "tg" })).toEqual(refused("object 'tg' is in use, can not be deleted"));
    await execute("blockdev-del", { "node-name": "th" });
    expect(await execute("object-del", { id: "tg" })).toEqual({});
    expect(groups.get("tg")).toBeUndefined();
  });
});

describe("query-named-block-nodes", () => {
  it("names what filters stand on, and takes it for their backing image", async () => {
    await execute("object-add", { "qom-type": "throttle-group", id: "tg" });
    const add = (options: JsonObject): Promise<unknown> => execute("blockdev-add", options);
    await add({ driver: "null-co", "node-name": "n", size: 1000000 });
    await add({ driver: "blkdebug", "node-name": "bd", image: "n", "inject-error": [{ event: "read_aio" }] });
    await add({ driver: "throttle", "node-name": "th", file: "n", "throttle-group": "tg" });
    await add({ driver: "raw", "node-name": "rth", file: "th" });
    await add({ driver: "blkdebug", "node-name": "bd0", image: { driver: "null-co" } });
    const infos = (await execute("query-named-block-nodes")) as JsonObject[];
    const child = '{"driver": "null-co", "size": 1000000}';
    const image = { "virtual-size": 1000448 };
    const backing = { "backing-image": { ...image, filename: `json:${child}`, format: "null-co", "actual-size": 0 } };
    const throttled = `{"throttle-group": "tg", "driver": "throttle", "file": ${child}}`;
    const failing = `{"image": ${child}, "driver": "blkdebug", "inject-error.0.event": "read_aio"}`;
    const shown = ["rth", "th", "bd", "bd0"].map((name) => infos.find((info) => info["node-name"] === name)!);
    expect(shown.map((info) => [info["file"], info["backing_file_depth"], info["image"]])).toEqual([
      [
        `json:{"driver": "raw", "file": ${throttled}}`,
        0,
        { ...image, filename: `json:{"driver": "raw", "file": ${throttled}}`, format: "raw", "actual-size": 0 },
      ],
      [
        `json:${throttled}`,
        1,
        { ...image, ...backing, filename: `json:${throttled}`, format: "throttle", "actual-size": 0 },
      ],
      [`json:${failing}`, 1, { ...image, ...backing, filename: `json:${failing}`, format: "blkdebug" }],
      [
        "blkdebug::null-co://",
        1,
        {
          filename: "blkdebug::null-co://",
          format: "blkdebug",
          "virtual-size": 1073741824,
          "backing-image": {
            filename: "null-co://",
            format: "null-co",
            "virtual-size": 1073741824,
            "actual-size": 0,
          },
        },
      ],
    ]);
  });
});

// Limits in `-drive`. Texts and values are those of a real QEMU 7.2.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { allDrivers } from "../../machine/drivers.ts";
import { addSystemDrive } from "../../machine/system-drive.ts";
import { systemClock } from "../../src/base/clock.ts";
import { ThrottleGroups } from "../../src/block/filters/throttle-group.ts";
import { BlockGraph } from "../../src/block/graph.ts";
import { describeLimits } from "../../src/qmp/commands/query-block-limits.ts";

const NONE = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };

let groups: ThrottleGroups;
let graph: BlockGraph;
beforeEach(() => {
  groups = new ThrottleGroups(systemClock);
  graph = new BlockGraph({ drivers: allDrivers(groups) });
});
afterEach(async () => {
  for (const backend of graph.backends) await graph.removeBackend(backend);
  await graph.close();
});

const drive = (id: string, options: string) =>
  addSystemDrive(graph, groups, `if=none,id=${id},driver=null-co,${options}`, 0);

describe("-drive with limits", () => {
  it.each<[string, object]>([
    ["bps=10,bps_max=20", { bps: 10, bps_max: 20, bps_max_length: 1, group: "d" }],
    [
      "throttling.bps-total=10,throttling.bps-total-max=20,throttling.bps-total-max-length=4",
      { bps: 10, bps_max: 20, bps_max_length: 4, group: "d" },
    ],
    ["throttling.group=x,bps=4", { bps: 4, group: "x" }],
    ["throttling.bps-total=1,group=g", { bps: 1, group: "g" }],
    ["iops=3,iops_size=512", { iops: 3, iops_size: 512, group: "d" }],
    ["iops_rd=1,iops_rd_max=5", { iops_rd: 1, iops_rd_max: 5, iops_rd_max_length: 1, group: "d" }],
    ["throttling.iops-write=0x10", { iops_wr: 16, group: "d" }],
    ["throttling.group=x", {}],
    ["bps=0", {}],
  ])("takes %s", async (options, expected) => {
    const backend = await drive("d", options);
    expect(describeLimits(backend.throttleGroup)).toEqual({ ...NONE, ...expected });
  });

  it.each([
    ["bps=-1", "bps/iops/max values must be within [0, 1000000000000000]"],
    ["throttling.bps-total=1000000000000001", "bps/iops/max values must be within [0, 1000000000000000]"],
    ["throttling.bps-total=18446744073709551615", "bps/iops/max values must be within [0, 1000000000000000]"],
    ["bps=1,bps_rd=1", "bps/iops/max total values and read/write values cannot be used at the same time"],
    ["throttling.bps-total=1k", "Parameter 'throttling.bps-total' expects a number"],
    ["bps=abc", "Parameter 'throttling.bps-total' expects a number"],
    ["throttling.bps-total=", "Parameter 'throttling.bps-total' expects a number"],
    ["throttling.iops-total=1.5", "Parameter 'throttling.iops-total' expects a number"],
    [
      "throttling.bps-total=99999999999999999999",
      "Value '99999999999999999999' is too large for parameter 'throttling.bps-total'",
    ],
    ["bps=5,throttling.bps-total=6", "'throttling.bps-total' and its alias 'bps' can't be used at the same time"],
    ["throttling.bps-total-max=5", "bps_max/iops_max require corresponding bps/iops values"],
    ["throttling.iops-size=5", "iops size requires an iops value to be set"],
    ["throttling.bps-total-max-length=4294967296", "burst length set without burst rate"],
  ])("refuses %s", async (options, text) => {
    await expect(drive("d", options)).rejects.toThrow(text);
    expect(graph.backends).toEqual([]);
    expect([...graph.nodes]).toEqual([]);
  });

  it("puts drives of one group together, and the last one's limits on it", async () => {
    const [first, second] = [
      await drive("a", "bps=5,throttling.group=x"),
      await drive("b", "iops=7,throttling.group=x"),
    ];
    expect(first.throttleGroup).toBe(second.throttleGroup);
    expect(describeLimits(first.throttleGroup)).toEqual({ ...NONE, iops: 7, group: "x" });
  });
});

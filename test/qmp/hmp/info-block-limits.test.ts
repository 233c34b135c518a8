// The limits of a drive in `info block`, as a real QEMU 7.2 prints them.
import { expect, it } from "vitest";
import { ThrottleGroups } from "../../../src/block/filters/throttle-group.ts";
import { Simulation } from "../../support/simulation.ts";
import { Rig } from "./rig.ts";

it("info block tells the limits of a drive that has some", async () => {
  const rig = new Rig();
  await rig.addDrive("d0", 65536);
  const before = await rig.line("info block d0");
  expect(before).not.toContain("throttling");
  const group = new ThrottleGroups(new Simulation(1)).obtain("g");
  rig.graph.drive("d0")!.setThrottleGroup(group);
  group.setLimits({ "bps-total": 1000, "bps-total-max": 2000 });
  expect(await rig.line("info block d0")).toBe(
    `${before}    I/O throttling:   bps=1000 bps_rd=0 bps_wr=0 bps_max=2000 bps_rd_max=0 bps_wr_max=0 ` +
      "iops=0 iops_rd=0 iops_wr=0 iops_max=0 iops_rd_max=0 iops_wr_max=0 iops_size=0 group=g\r\n",
  );
});

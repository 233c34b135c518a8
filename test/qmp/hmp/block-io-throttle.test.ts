// block_set_io_throttle and `info blockstats` of the human monitor: what QEMU 7.2 was seen to say.
import { beforeEach, describe, expect, it } from "vitest";
import { MIB, Rig } from "./rig.ts";

const TRY = '\r\nTry "help block_set_io_throttle" for more information\r\n';

let rig: Rig;
beforeEach(async () => {
  rig = new Rig();
  await rig.addDrive("d", MIB);
});

/** The total of bytes a second of the drive, 0 without a limit. */
function bps(): number {
  return rig.graph.drive("d")!.throttleGroup?.limits["bps-total"] ?? 0;
}

describe("block_set_io_throttle", () => {
  it.each([
    ["6&3+1", 3],
    ["1+6&3", 3],
    ["6&3*2", 6],
    ["1+2*3", 7],
    ["7%4", 3],
    ["~0&7", 7],
    ["- 5+8", 3],
    ["5-2-1", 2],
    ["-(-3)", 3],
    ["+4", 4],
    ["1^3|4", 6],
    ["1 +2", 3],
    ["010", 8],
    ["0x10", 16],
    ["'a'", 97],
  ])("works %s out", async (expression, value) => {
    expect(await rig.line(`block_set_io_throttle d ${expression} 0 0 0 0 0`)).toBe("");
    expect(bps()).toBe(value);
  });

  it.each([
    ["d x 0 0 0 0 0", `invalid char 'x' in expression${TRY}`],
    ["d 1k 0 0 0 0 0", `invalid char 'k' in expression${TRY}`],
    ["d 0x 0 0 0 0 0", `invalid char 'x' in expression${TRY}`],
    ["d % 0 0 0 0 0", `invalid char '%' in expression${TRY}`],
    ["d 1", `unexpected end of expression${TRY}`],
    ["d (1 0 0 0 0 0", `')' expected${TRY}`],
    ["d $pc 0 0 0 0 0", `unknown register${TRY}`],
    ["d 'ab' 0 0 0 0 0", `missing terminating ' character${TRY}`],
    ["d 5/0 0 0 0 0 0", `division by zero${TRY}`],
    ["d 5%0 0 0 0 0 0", `division by zero${TRY}`],
    ["d 18446744073709551616 0 0 0 0 0", `number too large${TRY}`],
    [`d ${"9".repeat(100_000)} 0 0 0 0 0`, `number too large${TRY}`],
    [`d ${"(".repeat(100_000)}`, `expression too deep${TRY}`],
    ["", `block_set_io_throttle: block device name expected${TRY}`],
    ["d 1 0 0 0 0 0 7", `block_set_io_throttle: extraneous characters at the end of line${TRY}`],
    ["d 08 0 0 0 0 0", `block_set_io_throttle: extraneous characters at the end of line${TRY}`],
    ["x 1 0 0 0 0 0", "Error: Device 'x' not found\r\n"],
    ["d -1 0 0 0 0 0", "Error: bps/iops/max values must be within [0, 1000000000000000]\r\n"],
    ["d 9223372036854775807+1 0 0 0 0 0", "Error: bps/iops/max values must be within [0, 1000000000000000]\r\n"],
    ["d 1000 1 1 0 0 0", "Error: bps/iops/max total values and read/write values cannot be used at the same time\r\n"],
  ])("refuses %.40s", async (args, text) => {
    expect(await rig.line(`block_set_io_throttle ${args}`)).toBe(text);
    expect(bps()).toBe(0);
  });

  it("means a device where no drive has the name, and ends limits", async () => {
    rig.devices.set("dev0", rig.graph.drive("d")!);
    expect(await rig.line("block_set_io_throttle dev0 0 1 2 3 0 0")).toBe("");
    expect(rig.graph.drive("d")!.throttleGroup?.limits).toMatchObject({
      "bps-read": 1,
      "bps-write": 2,
      "iops-total": 3,
    });
    expect(await rig.line("block_set_io_throttle d 0 0 0 0 0 0")).toBe("");
    expect(rig.graph.drive("d")!.throttleGroup).toBeUndefined();
  });
});

describe("info blockstats", () => {
  const line = (device: string, rd = 0, idle = 0): string =>
    `${device}: rd_bytes=${rd * 512} wr_bytes=0 rd_operations=${rd} wr_operations=0 flush_operations=0 wr_total_time_ns=0 ` +
    `rd_total_time_ns=0 flush_total_time_ns=0 rd_merged=0 wr_merged=0 idle_time_ns=${idle}\r\n`;

  it("has a line for each drive, with or without a medium", async () => {
    rig.graph.addBackend({ name: "e" });
    const { accounting } = rig.graph.drive("d")!;
    expect(await rig.line("info blockstats")).toBe(line("d") + line("e"));
    accounting.done("read", 512);
    accounting.stamp(rig.clock);
    // The rig's clock goes on by a millisecond at each look.
    expect(await rig.line("info blockstats")).toBe(line("d", 1, 1e6) + line("e"));
  });
});

// The command line of a machine: docs/reference/monitor.md §6.
import { describe, expect, it } from "vitest";
import { parseCommandLine } from "../../machine/command-line.ts";

describe("parseCommandLine", () => {
  it("takes what clients of QEMU's usually pass", () => {
    const args =
      "-machine virt,accel=tcg -accel tcg -nodefaults -display none -vga none -m 64 -S -qmp unix:/q.sock,server=on,wait=off -qtest null";
    expect(
      parseCommandLine([...args.split(" "), "--drive", "file=a,id=d", "-device", "virtio-blk-device,drive=d"]),
    ).toEqual({
      machine: "virt",
      ramBytes: 67_108_864,
      stopped: true,
      qmp: [{ typed: "-qmp unix:/q.sock,server=on,wait=off", value: "unix:/q.sock,server=on,wait=off" }],
      chardevs: [],
      monitors: [],
      blockdevs: [],
      drives: [{ typed: "--drive file=a,id=d", value: "file=a,id=d" }],
      devices: [{ typed: "-device virtio-blk-device,drive=d", value: "virtio-blk-device,drive=d" }],
      objects: [],
      trace: [],
      show: undefined,
    });
  });

  it.each([
    [["-M", "none", "-m", "1G"], 2 ** 30],
    [["-M", "none", "-m", "size=2M"], 2 ** 21],
    [["-M", "none"], 2 ** 27],
  ])("reads the RAM's size from %j", (args, bytes) => expect(parseCommandLine(args).ramBytes).toBe(bytes));

  it("lets the last machine count", () => {
    expect(parseCommandLine(["-M", "virt", "-machine", "type=none"]).machine).toBe("none");
  });

  it.each([
    [["-M", "none", "-zzz"], "-zzz: invalid option"],
    [["-M", "none", "-kernel", "x"], "-kernel: not supported by this machine"],
    [["-M", "none", "-drive"], "-drive: requires an argument"],
    [["-M", "none", "disk.img"], "disk.img: disks are given by -drive or -blockdev"],
    [[], "No machine specified, and there is no default"],
    [["-M", "pc"], "-M pc: unsupported machine type"],
    [["-M", "none", "-m", "100k"], "-m 100k: RAM is from 1M to 4G"],
    [["-M", "none", "-qtest", "unix:x"], "-qtest unix:x: only -qtest null is supported"],
  ])("refuses %j", (args, message) => expect(() => parseCommandLine(args)).toThrow(message));
});

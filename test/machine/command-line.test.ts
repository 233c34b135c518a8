// The command line of a machine: docs/reference/monitor.md §6.
import { describe, expect, it } from "vitest";
import { virtBoards } from "../../machine/boards.ts";
import { parseCommandLine } from "../../machine/command-line.ts";

describe("parseCommandLine", () => {
  it("takes what clients of QEMU's usually pass", () => {
    const args =
      "-machine virt,accel=tcg -accel tcg -nodefaults -display none -vga none -m 64 -S -qmp unix:/q.sock,server=on,wait=off -qtest null";
    expect(
      parseCommandLine([...args.split(" "), "--drive", "file=a,id=d", "-device", "virtio-blk-device,drive=d"]),
    ).toMatchObject({
      machine: "virt",
      board: { arch: "aarch64" },
      legacy: true,
      virtualTime: false,
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
      qtest: [{ typed: "-qtest null", value: "null" }],
      qtestLog: undefined,
      show: undefined,
      warnings: [],
    });
  });

  it.each([
    ["-M virt -accel qtest", { machine: "virt", virtualTime: true }],
    ["-M virt,accel=qtest", { virtualTime: true }],
    ["-M virt -accel tcg,thread=multi -accel qtest", { virtualTime: false }],
    ["-machine type=virt-7.2,gic-version=2,usb=off,highmem=on,accel=kvm:tcg", { machine: "virt" }],
    ["-M virt -global virtio-mmio.force-legacy=false", { legacy: false }],
    ["-M virt -global driver=virtio-mmio,property=force-legacy,value=off", { legacy: false }],
    ["-M virt -global virtio-mmio.ioeventfd=off", { legacy: true, warnings: [] }],
    ["-M virt -global zz.x=1", { warnings: ["warning: global zz.x has invalid class name"] }],
    ["-M virt -global virtio-blk-device.queue-size=8", { deviceDefaults: new Map([["queue-size", "8"]]) }],
    ["-M virt -qtest unix:/s -qtest-log none", { qtest: [{ value: "unix:/s" }], qtestLog: "none" }],
  ])("understands %s", (args, expected) => expect(parseCommandLine(args.split(" "))).toMatchObject(expected));

  it("has no versions of the board of riscv64", () => {
    expect(() => parseCommandLine(["-M", "virt-7.2"], virtBoards.riscv64)).toThrow("unsupported machine type");
    expect(parseCommandLine(["-M", "virt,aia=none"], virtBoards.riscv64).board).toBe(virtBoards.riscv64);
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
    [["-M", "virt,zz=1"], "-M virt,zz=1: Property 'virt-10.1-machine.zz' not found"],
    [["-M", "virt,gic-version=3"], "takes 2 or max only here"],
    [["-M", "virt,usb=maybe"], "Parameter 'usb' expects 'on' or 'off'"],
    [["-M", "virt", "-accel", "zz"], "-accel zz: invalid accelerator zz"],
    [["-M", "virt,accel=zz"], "invalid accelerator zz"],
    [
      ["-M", "virt", "-global", "virtio-mmio.zz=1"],
      "can't apply global virtio-mmio.zz=1: Property 'virtio-mmio.zz' not found",
    ],
    [
      ["-M", "virt", "-global", "virtio-mmio.force-legacy=zz"],
      "can't apply global virtio-mmio.force-legacy=zz: Parameter 'force-legacy' expects 'on' or 'off'",
    ],
    [["-M", "virt", "-global", "zz"], "-global zz: Invalid parameter 'zz'"],
  ])("refuses %j", (args, message) => expect(() => parseCommandLine(args)).toThrow(message));
});

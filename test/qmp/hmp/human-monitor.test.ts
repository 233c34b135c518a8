// The human monitor's own commands: the texts are those of QEMU 7.2, docs/reference/monitor.md §5.
import { beforeEach, describe, expect, it } from "vitest";
import type { JobDriver } from "../../../src/job/job-driver.ts";
import { MIB, Rig } from "./rig.ts";

let rig: Rig;
beforeEach(async () => {
  rig = new Rig();
  await rig.addDrive("d0", MIB);
});

describe("HumanMonitor", () => {
  it.each([
    ["", ""],
    ["  ", ""],
    ["nope", "unknown command: 'nope'\r\n"],
    ["nope x y", "unknown command: 'nope'\r\n"],
    ['"qemu-io" d0 "length"', "unknown command: '\"qemu-io\"'\r\n"],
    ["qemu-iox", "unknown command: 'qemu-iox'\r\n"],
    ["#comment", "unknown command: '#comment'\r\n"],
    ["info nope", "unknown command: 'info nope'\r\n"],
    ["info jobs", "unknown command: 'info jobs'\r\n"],
    ['info "status"', "unknown command: 'info \"status\"'\r\n"],
    ["help nope", "unknown command: 'nope'\r\n"],
    ["quit x", 'quit|q: extraneous characters at the end of line\r\nTry "help quit" for more information\r\n'],
    [
      "info status x",
      'status: extraneous characters at the end of line\r\nTry "help info status" for more information\r\n',
    ],
    ["info block -x", 'block: unsupported option -x\r\nTry "help info block" for more information\r\n'],
    [
      "info block d0 d1",
      'block: extraneous characters at the end of line\r\nTry "help info block" for more information\r\n',
    ],
    [
      "info block -nv d0",
      'block: extraneous characters at the end of line\r\nTry "help info block" for more information\r\n',
    ],
    ["qemu-io", 'qemu-io: block device name expected\r\nTry "help qemu-io" for more information\r\n'],
    ["qemu-io d0", 'qemu-io: string expected\r\nTry "help qemu-io" for more information\r\n'],
    ["qemu-io -x d0 x", 'qemu-io: unsupported option -x\r\nTry "help qemu-io" for more information\r\n'],
    [
      'qemu-io -dd d0 "x"',
      'qemu-io: extraneous characters at the end of line\r\nTry "help qemu-io" for more information\r\n',
    ],
    [
      "qemu-io d0 read 0 1",
      'qemu-io: extraneous characters at the end of line\r\nTry "help qemu-io" for more information\r\n',
    ],
    ["qemu-io 'd0' length", "Error: Cannot find device='' nor node-name=''d0''\r\n"],
    ["qemu-io nope length", "Error: Cannot find device='' nor node-name='nope'\r\n"],
    ["qemu-io -d d0 length", "Error: Device 'd0' not found\r\n"],
    [
      String.raw`qemu-io d0 "read\t0 512"`,
      `qemu-io: string expected\r\nTry "help qemu-io" for more information\r\nout: unsupported escape code: '\\t'\n`,
    ],
    [
      'qemu-io d0 "read 0',
      'qemu-io: string expected\r\nTry "help qemu-io" for more information\r\nout: unterminated string\n',
    ],
    [String.raw`qemu-io d0 "read\n0 1"`, 'err: command "read\n0" not found\n'],
    ['   qemu-io    d0     "length"   ', "out: 1 MiB\n"],
    ["qemu-io d0 length", "out: 1 MiB\n"],
    [
      "help qemu-io",
      'qemu-io [-d] [device] "[command]" -- run a qemu-io command on a block device\r\n' +
        "\t\t\t-d: [device] is a device ID rather than a drive ID or node name\r\n",
    ],
    ["help info status", "info status  -- show the current VM status (running|paused)\r\n"],
    ["info version", "10.1.2virtio-blk 0.1.0\r\n"],
    ["info name", ""],
    ["info status", "VM status: running\r\n"],
    ["info  block-jobs", "No active jobs\r\n"],
  ])("answers %j as QEMU does", async (line, text) => {
    expect(await rig.line(line)).toBe(text);
  });

  it("finds a guest's device by id or path with -d", async () => {
    rig.devices.set("/machine/peripheral/vd", rig.graph.drive("d0")!);
    expect(await rig.line("qemu-io -d /machine/peripheral/vd length")).toBe("out: 1 MiB\n");
  });

  it("names the state in which a machine is stopped", async () => {
    rig.state = "paused";
    expect(await rig.line("info status")).toBe("VM status: paused\r\n");
    rig.state = "postmigrate";
    expect(await rig.line("info status")).toBe("VM status: paused (postmigrate)\r\n");
  });

  it("shows the machine's name", async () => {
    expect(await new Rig({ name: "vm1" }).line("info name")).toBe("vm1\r\n");
  });

  it("passes on what the machine is told", async () => {
    for (const line of ["stop", "cont", "c", "system_reset", "q"]) expect(await rig.line(line)).toBe("");
    expect(rig.log).toEqual(["stop", "cont", "cont", "system_reset", "quit"]);
  });

  it("lists block jobs", async () => {
    const driver: JobDriver = {
      jobType: "backup",
      progress: { current: 1048576, total: 8388608 },
      run: () => new Promise(() => {}),
      interrupt() {},
      clean() {},
    };
    const job = rig.jobs.create({ id: "j0", driver });
    job.start();
    job.setSpeed(1);
    expect(await rig.line("info block-jobs")).toBe(
      "Type backup, device j0: Completed 1048576 of 8388608 bytes, speed limit 1 bytes/s\r\n",
    );
  });
});

describe("block_resize", () => {
  it.each([
    ["block_resize", 'block_resize: block device name expected\r\nTry "help block_resize" for more information\r\n'],
    ["block_resize d0", 'invalid size\r\nTry "help block_resize" for more information\r\n'],
    ["block_resize d0 x", 'invalid size\r\nTry "help block_resize" for more information\r\n'],
    ["block_resize d0 -1", 'invalid size\r\nTry "help block_resize" for more information\r\n'],
    ["block_resize d0 9E", 'invalid size\r\nTry "help block_resize" for more information\r\n'],
    ["block_resize d0 99999999999999999999", 'invalid size\r\nTry "help block_resize" for more information\r\n'],
    [
      "block_resize d0 2Mx",
      'block_resize: extraneous characters at the end of line\r\nTry "help block_resize" for more information\r\n',
    ],
    ["block_resize nope 1", "Error: Cannot find device='nope' nor node-name=''\r\n"],
    ["block_resize d0n 1", "Error: Cannot find device='d0n' nor node-name=''\r\n"],
  ])("refuses %j", async (line, text) => {
    expect(await rig.line(line)).toBe(text);
    expect(rig.graph.drive("d0")!.lengthBytes).toBe(MIB);
  });

  it.each([
    ["2", 2097152],
    ["1.5", 1572864],
    ["512k", 524288],
    ["1000b", 1024],
    ["2m", 2097152],
    ["0x10", 16777216],
  ])("takes %s, a bare number being of MiB", async (size, bytes) => {
    expect(await rig.line(`block_resize d0 ${size}`)).toBe("");
    expect(rig.graph.drive("d0")!.lengthBytes).toBe(bytes);
  });

  it("says why a disk cannot be resized", async () => {
    rig.graph.addBackend({ name: "e0" });
    expect(await rig.line("block_resize e0 1")).toBe("Error: Device 'e0' has no medium\r\n");
  });
});

describe("info block", () => {
  beforeEach(async () => {
    rig.graph.addBackend({ name: "e0" });
    await rig.addMemory("base", MIB);
    const options = { driver: "memory", "node-name": "top", backing: "base", "read-only": true } as const;
    const top = { ...options, "detect-zeroes": "on", cache: { direct: true, "no-flush": true } } as const;
    await rig.graph.add(top);
    const backend = rig.graph.addBackend({ name: "", node: rig.graph.getNode("top"), writeCache: false });
    backend.attachDevice({ id: "vd", path: "/machine/peripheral/vd", shareRw: false });
  });

  const d0 =
    "d0 (d0n): /images/d0n (memory)\r\n" +
    "    Removable device: not locked, tray closed\r\n" +
    "    Cache mode:       writeback\r\n";
  const e0 = "\r\ne0: [not inserted]\r\n    Removable device: not locked, tray closed\r\n";
  const details = "    Backing file:     /images/base (chain depth: 1)\r\n" + "    Detect zeroes:    on\r\n";

  it("shows drives, then devices on nodes", async () => {
    expect(await rig.line("info block")).toBe(
      `${d0}${e0}\r\ntop: /images/top (memory, read-only)\r\n` +
        "    Attached to:      vd\r\n" +
        `    Cache mode:       writethrough, direct, ignore flushes\r\n${details}`,
    );
  });

  it("shows one drive or node, with the empty line that parts it from those before", async () => {
    expect(await rig.line("info block d0")).toBe(d0);
    expect(await rig.line("info block e0")).toBe(e0);
    expect(await rig.line("info block nope")).toBe("");
    expect(await rig.line("info block -n d0")).toBe("");
    expect(await rig.line("info block base")).toBe(
      "\r\nbase: /images/base (memory)\r\n    Cache mode:       writeback\r\n",
    );
  });

  it("shows nodes with -n, newest first", async () => {
    expect(await rig.line("info block -n")).toBe(
      "top: /images/top (memory, read-only)\r\n" +
        `    Cache mode:       writeback, direct, ignore flushes\r\n${details}` +
        "\r\nbase: /images/base (memory)\r\n    Cache mode:       writeback\r\n" +
        "\r\nd0n: /images/d0n (memory)\r\n    Cache mode:       writeback\r\n",
    );
  });

  it("shows the images of a chain with -v", async () => {
    const text = await rig.line("info block -v top");
    expect(text.slice(text.indexOf("\r\nImages:"))).toBe(
      "\r\nImages:\r\n" +
        "image: /images/top\r\nfile format: memory\r\nvirtual size: 1 MiB (1048576 bytes)\r\ndisk size: 196 KiB\r\n" +
        "cluster_size: 65536\r\nbacking file: /images/base\r\n" +
        "\r\nimage: /images/base\r\nfile format: memory\r\nvirtual size: 1 MiB (1048576 bytes)\r\ndisk size: unavailable\r\n",
    );
  });
});

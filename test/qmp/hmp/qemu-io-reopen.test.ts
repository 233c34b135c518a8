// qemu-io's reopen in the monitor: the texts are a real QEMU 7.2's for the same lines, docs/reference/monitor.md §5.1.
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseCommandLine } from "../../../machine/command-line.ts";
import { parseDeviceOptions } from "../../../machine/device-options.ts";
import { MonitoredMachine } from "../../../machine/monitored-machine.ts";
import { IoVector } from "../../../src/base/io-vector.ts";
import type { Qcow2Driver } from "../../../src/block/drivers/qcow2/qcow2.ts";
import { ImageFolder } from "../../block/drivers/qcow2/qcow2-images.ts";

describe("qemu-io reopen", () => {
  let folder: ImageFolder;
  let machine: MonitoredMachine;

  beforeEach(async () => {
    folder = new ImageFolder();
    await folder.create("disk.qcow2", { size: 1 << 20 });
    const drive = `if=none,id=d,node-name=n,format=qcow2,file=${join(folder.path, "disk.qcow2")}`;
    machine = await MonitoredMachine.create(parseCommandLine(["-M", "virt", "-S", "-drive", drive]), { version: "0" });
    await execute("block-dirty-bitmap-add", { node: "n", name: "b0", persistent: true });
  });

  afterEach(async () => {
    machine.end();
    await machine.ended;
    await folder.dispose();
  });

  const execute = (command: string, args: object): Promise<unknown> => machine.server.execute(command, args);
  const monitor = async (line: string): Promise<string> =>
    String(await execute("human-monitor-command", { "command-line": line })).replaceAll("\r\n", "\n");
  const reopen = (words: string, name = "d"): Promise<string> => monitor(`qemu-io ${name} "reopen ${words}"`);
  const node = (): NonNullable<ReturnType<typeof machine.machine.graph.node>> => machine.machine.graph.node("n")!;
  const write = async (at: number): Promise<void> => node().write(at, IoVector.of(new Uint8Array(65536).fill(1)));
  const bitmap = async (): Promise<unknown> => {
    const [disk] = (await execute("query-block", {})) as { inserted: { "dirty-bitmaps": object[] } }[];
    return disk?.inserted["dirty-bitmaps"];
  };

  it("-r and -w make the image read-only and writable, and its bitmaps stay", async () => {
    await write(0);
    expect(await reopen("-r")).toBe("");
    expect(await monitor("info block")).toContain("(qcow2, read-only)");
    expect(await bitmap()).toMatchObject([{ name: "b0", count: 65536, persistent: true }]);
    await expect(write(0)).rejects.toThrow("Block node is read-only");
    expect(await reopen("-w")).toBe("");
    await write(65536);
    expect(await bitmap()).toMatchObject([{ name: "b0", count: 131072, recording: true, persistent: true }]);
    expect(await reopen("-r", "n")).toBe("");
    expect(node().readOnly).toBe(true);
    expect(await reopen("-w", "n")).toBe("");
    expect(node().readOnly).toBe(false);
  });

  it.each([
    ["-c none", "writeback, direct"],
    ["-c off", "writeback, direct"],
    ["-c writethrough", "writethrough"],
    ["-c unsafe", "writeback, ignore flushes"],
    ["-c directsync", "writethrough, direct"],
    ["-o cache.direct=on", "writeback, direct"],
  ])("%s makes the mode of its cache: %s", async (words, mode) => {
    expect(await reopen(words)).toBe("");
    expect(await monitor("info block")).toContain(`Cache mode:       ${mode}\n`);
    expect(await reopen("-c writeback")).toBe("");
    expect(await monitor("info block")).toContain("Cache mode:       writeback\n");
  });

  it("-o changes options of the driver, and leaves all others", async () => {
    await write(0);
    const image = (): Qcow2Driver["image"] => (node().driver as Qcow2Driver).image;
    expect(await reopen("-o lazy-refcounts=on")).toBe("");
    expect(await reopen("-o l2-cache-entry-size=4k,overlap-check.template=none")).toBe("");
    expect([image().lazyRefcounts, image().layout.sliceBytes]).toEqual([true, 4096]);
    expect(await reopen("-o lazy-refcounts=off -o discard=off")).toBe("");
    expect([image().lazyRefcounts, image().layout.sliceBytes]).toEqual([false, 4096]);
    expect(await reopen("-o detect-zeroes=on")).toBe("");
    expect(await monitor("info block")).toContain("Detect zeroes:    on");
    expect(await reopen("-o driver=qcow2")).toBe("");
    expect(await reopen("")).toBe("");
    expect(await bitmap()).toMatchObject([{ name: "b0", count: 65536, persistent: true }]);
  });

  it.each([
    ["-r -w", "Only one -r/-w option may be given\n"],
    ["-c bogus", "Invalid cache option: bogus\n"],
    ["-o lazy-refcounts=zz", "Parameter 'lazy-refcounts' expects 'on' or 'off'\n"],
    ["-o bogus=1", "Cannot change the option 'bogus'\n"],
    ["-o =", "Cannot change the option ''\n"],
    ["-o size=4", "Cannot change the option 'size'\n"],
    ["-o file.filename=x", "Cannot change the option 'filename'\n"],
    ["-o driver=raw", "Cannot change the option 'driver'\n"],
    ["-o node-name=zz", "Cannot change the option 'node-name'\n"],
    [
      "-o l2-cache-entry-size=5",
      "L2 cache entry size must be a power of two between 512 and the cluster size (65536)\n",
    ],
    ["-r -o read-only=on", "Cannot set both -r/-w and 'read-only'\n"],
    ["-c none -o cache.direct=on", "Cannot set both -c and the cache options\n"],
    ["-o backing=x", "Cannot find device='' nor node-name='x'\n"],
    [
      "-o detect-zeroes=unmap",
      "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap\n",
    ],
  ])("%s is refused, and has changed nothing", async (words, text) => {
    const before = await monitor("info block");
    expect(await reopen(words)).toBe(text);
    expect(await monitor("info block")).toBe(before);
    await write(0);
  });

  it("-o read-only=on is refused where somebody writes", async () => {
    expect(await monitor('qemu-io d "write 0 512"')).toBe("");
    expect(await reopen("-o read-only=on")).toBe("Read-only block node 'n' cannot support read-write users\n");
  });

  it("leaves the write cache to the guest's device, and lets that write again", async () => {
    await machine.machine.addDevice(parseDeviceOptions("virtio-blk-device,drive=d"));
    expect(await reopen("-c writethrough")).toBe("Cannot change cache.writeback: Device attached\n");
    expect(await reopen("-c none")).toBe("");
    expect(await reopen("-r")).toBe("");
    expect(await reopen("-w")).toBe("");
    const drive = machine.machine.graph.drive("d")!;
    await drive.write(0, IoVector.of(new Uint8Array(512)));
    expect(await monitor("info block")).toContain("Cache mode:       writeback, direct");
  });
});

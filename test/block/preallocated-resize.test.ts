// Disks that become longer with what is added in its place at once, by qemu-io in the monitor: the texts are a real QEMU 7.2's.
import { execFileSync } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { parseCommandLine } from "../../machine/command-line.ts";
import { MonitoredMachine } from "../../machine/monitored-machine.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { describeWithTools } from "../support/tools.ts";
import { CLEAN, ImageFolder } from "./drivers/qcow2/qcow2-images.ts";

const MIB = 1 << 20;

interface Rig {
  readonly folder: ImageFolder;
  truncate(words: string): Promise<string>;
  bytes(): Promise<Uint8Array>;
  execute(command: string, args?: object): Promise<unknown>;
}

/** A disk of 1.5 MiB of the byte 7, that is to grow. */
async function withDisk(format: string, backing: boolean, body: (rig: Rig) => Promise<void>): Promise<void> {
  const folder = new ImageFolder();
  writeFileSync(folder.file("base"), new Uint8Array(8 * MIB).fill(9));
  if (format === "qcow2")
    await folder.create("disk", {
      size: 1.5 * MIB,
      ...(backing ? { "backing-file": "base", "backing-fmt": "raw" } : {}),
    });
  else writeFileSync(folder.file("disk"), new Uint8Array(1.5 * MIB));
  const drive = `if=none,id=d,node-name=n,format=${format},detect-zeroes=on,file=${folder.file("disk")}`;
  const machine = await MonitoredMachine.create(parseCommandLine(["-M", "virt", "-S", "-drive", drive]), {
    version: "0",
  });
  try {
    const node = machine.machine.graph.node("n")!;
    await node.write(0, IoVector.of(new Uint8Array(1.5 * MIB).fill(7)));
    await body({
      folder,
      truncate: async (words) =>
        String(
          await machine.server.execute("human-monitor-command", { "command-line": `qemu-io d "truncate ${words}"` }),
        ).trim(),
      async bytes() {
        const bytes = new Uint8Array(node.lengthBytes);
        await node.read(0, IoVector.of(bytes));
        return bytes;
      },
      execute: (command, args = {}) => machine.server.execute(command, args),
    });
  } finally {
    machine.end();
    await machine.ended;
    await folder.dispose();
  }
}

describeWithTools(["qemu-img"], "truncate -m", () => {
  it.each([
    ["qcow2", false, "metadata"],
    ["qcow2", false, "falloc"],
    ["qcow2", true, "full"],
    ["raw", false, "falloc"],
    ["raw", false, "full"],
  ])("%s (on another: %s) with %s has its added zeroes in the file, and no bit set for them", (format, backing, mode) =>
    withDisk(format, backing, async ({ folder, truncate, bytes, execute }) => {
      await execute("block-dirty-bitmap-add", { node: "n", name: "b0" });
      expect(await truncate(`-m ${mode} 5M`)).toBe("");
      const disk = await bytes();
      expect(disk.length).toBe(5 * MIB);
      expect(disk.subarray(0, 1.5 * MIB).every((byte) => byte === 7)).toBe(true);
      expect(disk.subarray(1.5 * MIB).every((byte) => byte === 0)).toBe(true);
      const [block] = (await execute("query-block")) as { inserted: { "dirty-bitmaps": { count: number }[] } }[];
      expect(block?.inserted["dirty-bitmaps"]).toMatchObject([{ count: 0 }]);
      await execute("human-monitor-command", { "command-line": 'qemu-io d "flush"' });
      expect(statSync(folder.file("disk")).blocks * 512).toBeGreaterThanOrEqual(5 * MIB);
      if (format !== "qcow2") return;
      const map = execFileSync("qemu-img", ["map", "-U", "--output=json", folder.file("disk")], { encoding: "utf8" });
      const areas = JSON.parse(map) as { start: number; length: number; depth: number; data: boolean }[];
      for (const area of areas) expect(area).toMatchObject({ depth: 0, data: true });
      expect(execFileSync("qemu-img", ["check", "-U", folder.file("disk")], { encoding: "utf8" })).toContain(CLEAN);
    }),
  );

  it.each([
    ["qcow2", "-m metadata 1M", "Preallocation can't be used for shrinking an image"],
    ["qcow2", "-m full 512", "Preallocation can't be used for shrinking an image"],
    ["raw", "-m falloc 1M", "Cannot use preallocation for shrinking files"],
    ["raw", "-m metadata 4M", "Unsupported preallocation mode: metadata"],
    ["raw", "-m metadata 1M", "Cannot use preallocation for shrinking files"],
    ["raw", "-m zz 4M", "Invalid preallocation mode 'zz'"],
  ])("%s with %s is refused, and has changed nothing", (format, words, text) =>
    withDisk(format, false, async ({ truncate, bytes }) => {
      expect(await truncate(words)).toBe(text);
      expect((await bytes()).length).toBe(1.5 * MIB);
      expect(await truncate("1M")).toBe("");
      expect((await bytes()).length).toBe(MIB);
    }),
  );
});

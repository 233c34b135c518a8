// Machines: drives that open or are refused, and where devices stand on the bus.
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Machine } from "../../machine/machine.ts";
import { withFolder } from "../support/cli.ts";

describe("Machine", () => {
  it("has a register bank for each drive, 0x200 bytes apart, and zeroes elsewhere", async () => {
    const drive = { driver: "memory", sizeBytes: 512 } as const;
    const machine = await Machine.create({ drives: [drive, drive] });
    expect(machine.bus.read(0x0a00_0000, 4)).toBe(0x7472_6976);
    expect(machine.bus.read(0x0a00_0200, 4)).toBe(0x7472_6976);
    expect(machine.bus.read(0x0a00_0400, 4)).toBe(0);
    machine.bus.write(0x4000_0000, 4, 0x1234_5678);
    expect(machine.bus.read(0x4000_0002, 2)).toBe(0x1234);
    await machine.close();
  });

  it("offers a read-only drive as one, and leaves the file alone", () =>
    withFolder(async (folder) => {
      const path = join(folder, "disk.img");
      writeFileSync(path, new Uint8Array(512));
      chmodSync(path, 0o444);
      const { mtimeMs } = statSync(path);
      const machine = await Machine.create({ drives: [{ driver: "file", path, readOnly: true }] });
      expect(machine.bus.read(0x0a00_0010, 4) & (1 << 5)).toBe(1 << 5); // VIRTIO_BLK_F_RO
      await machine.close();
      expect(statSync(path).mtimeMs).toBe(mtimeMs);
    }));

  it.each([
    ["missing.img", "Could not open 'PATH': No such file or directory"],
    ["folder", "Could not open 'PATH'"],
    ["empty.img", "Could not use 'PATH' as a drive: it is empty"],
  ])("refuses %s in one line, and writes nothing", (name, message) =>
    withFolder(async (folder) => {
      mkdirSync(join(folder, "folder"));
      writeFileSync(join(folder, "empty.img"), "");
      const path = join(folder, name);
      const error = await Machine.create({ drives: [{ driver: "file", path }] }).then(
        () => undefined,
        (reason: unknown) => reason as Error,
      );
      expect(error?.message).toContain(message.replace("PATH", path));
      expect(error?.message).not.toContain("\n");
      expect(readFileSync(join(folder, "empty.img"))).toHaveLength(0);
    }),
  );

  it("refuses one image for two drives, and gives back the first", () =>
    withFolder(async (folder) => {
      const path = join(folder, "disk.img");
      writeFileSync(path, new Uint8Array(512));
      const drive = { driver: "file", path } as const;
      await expect(Machine.create({ drives: [drive, drive] })).rejects.toThrow("lock");
      await (await Machine.create({ drives: [drive] })).close();
    }));

  it("refuses ids that are no ids or taken, and serials that are too long", async () => {
    const drive = { driver: "memory", sizeBytes: 512 } as const;
    await expect(Machine.create({ drives: [{ ...drive, id: "0" }] })).rejects.toThrow("Invalid drive ID '0'");
    await expect(Machine.create({ drives: [{ ...drive, id: "drive1" }, drive] })).rejects.toThrow("already in use");
    await expect(Machine.create({ drives: [{ ...drive, serial: "é".repeat(11) }] })).rejects.toThrow(
      "at most 20 bytes",
    );
  });
});

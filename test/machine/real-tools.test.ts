// What a guest wrote and what a backup copied, read by QEMU's own tools.
import { execFileSync } from "node:child_process";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Machine } from "../../machine/machine.ts";
import { runScript } from "../../machine/script.ts";
import { withFolder } from "../support/cli.ts";
import { describeWithTools } from "../support/tools.ts";

const MIB = 1 << 20;

describeWithTools(["qemu-img", "qemu-io"], "QEMU's tools", () => {
  it("read what the guest wrote, and find the backup identical to a copy taken when it began", () =>
    withFolder(async (folder) => {
      const [image, copy, target] = ["disk.img", "copy.img", "backup.img"].map((name) => join(folder, name));
      writeFileSync(
        image!,
        new Uint8Array(8 * MIB).map((_, i) => (i * 7) >> 9),
      );
      copyFileSync(image!, copy!);
      const machine = await Machine.create({ drives: [{ driver: "file", path: image! }] });
      const reporter = { log: () => {}, progress: () => {}, check: () => {} };
      await runScript({
        machine,
        reporter,
        main: async ({ guest, control }) => {
          const disk = await guest.probe();
          const backup = await control.startBackup({ target: target! });
          for (let i = 0; i < 64; i++) await disk.write(i * 128 * 1024, new Uint8Array(4096).fill(i + 1));
          await disk.flush();
          await backup.completed;
        },
      });
      expect(
        execFileSync("qemu-img", ["compare", "-f", "raw", "-F", "raw", copy!, target!], { encoding: "utf8" }),
      ).toBe("Images are identical.\n");
      for (let i = 0; i < 64; i += 9) {
        const command = `read -P ${i + 1} ${i * 128}k 4k`;
        const output = execFileSync("qemu-io", ["-f", "raw", "-r", "-c", command, image!], { encoding: "utf8" });
        expect(output).toContain("read 4096/4096 bytes");
        expect(output).not.toContain("Pattern verification failed");
      }
    }));

  it("find a qcow2 image whole that a guest wrote to, its format said or found out", () =>
    withFolder(async (folder) => {
      const path = join(folder, "disk.qcow2");
      execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", path, "8M"]);
      const reporter = { log: () => {}, progress: () => {}, check: () => {} };
      for (const [i, format] of (["qcow2", undefined] as const).entries()) {
        const machine = await Machine.create({ drives: [{ driver: "file", path, ...(format && { format }) }] });
        await runScript({
          machine,
          reporter,
          main: async ({ guest }) => {
            const disk = await guest.probe();
            expect(disk.capacityBytes).toBe(8 * MIB);
            await disk.write(i * MIB, new Uint8Array(4096).fill(i + 1));
          },
        });
      }
      expect(execFileSync("qemu-img", ["check", path], { encoding: "utf8" })).toContain("No errors were found");
      for (const i of [0, 1]) {
        const command = `read -P ${i + 1} ${i}M 4k`;
        const output = execFileSync("qemu-io", ["-f", "qcow2", "-r", "-c", command, path], { encoding: "utf8" });
        expect(output).not.toContain("Pattern verification failed");
      }
    }));
});

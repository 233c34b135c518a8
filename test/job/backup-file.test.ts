// A backup from file to file, looked at by Debian's own tools.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { FileDriver, type FileDriverOptions } from "../../src/block/drivers/file/file-driver.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { BlockNode } from "../../src/block/node.ts";
import { startBackup } from "../../src/job/backup-action.ts";
import { JobList } from "../../src/job/job-list.ts";
import { KIB, MIB, patterned } from "../support/copy-pair.ts";
import { describeWithTools } from "../support/tools.ts";

const LENGTH = 40 * MIB + 512;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vblk-backup-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function rawOn(name: string, driver: FileDriver): { file: BlockNode; raw: BlockNode } {
  const file = new BlockNode({ name: `${name}-file`, driver });
  return { file, raw: new BlockNode({ name, driver: new RawDriver({ file }) }) };
}

describeWithTools(["qemu-img", "qemu-io"], "A backup from file to file", () => {
  it.each<FileDriverOptions["xIo"]>(["auto", "threads"])(
    "is what the disk was, holes included, while the disk is what the guest made of it (x-io=%s)",
    async (xIo) => {
      const [disk, before, backup] = ["disk.img", "before.img", "backup.img"].map((name) => join(folder, name));
      const bytes = patterned(LENGTH).fill(0, 4 * MIB, 24 * MIB);
      writeFileSync(disk!, bytes);
      copyFileSync(disk!, before!);
      const source = rawOn("source", await FileDriver.open({ path: disk!, xIo: xIo! }));
      const target = rawOn("target", await FileDriver.create({ path: backup!, lengthBytes: LENGTH, xIo: xIo! }));
      const guest = new BlockBackend({ name: "drive0", node: source.raw });

      const job = await startBackup(new JobList(), { id: "j0", source: source.raw, target: target.raw });
      const data = IoVector.of(new Uint8Array(4 * KIB).fill(0x5a));
      for (let at = 0; at < LENGTH - 512; at += MIB) {
        await guest.write(at + 60 * KIB, data);
        if (at % (8 * MIB) === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      expect(await job.job.untilConcluded()).toEqual({ kind: "completed" });
      guest.close();
      for (const node of [source.raw, source.file, target.raw, target.file]) await node.close();

      const run = (tool: string, args: readonly string[]): string => execFileSync(tool, args, { encoding: "utf8" });
      expect(run("qemu-img", ["compare", "-f", "raw", "-F", "raw", before!, backup!])).toBe("Images are identical.\n");
      const reads = Array.from({ length: 40 }, (_, i) => ["-c", `read -P 0x5a ${i * MIB + 60 * KIB} 4k`]).flat();
      const seen = run("qemu-io", ["-r", "-f", "raw", ...reads, disk!]);
      expect(seen).not.toContain("verification failed");
      expect(seen.match(/read 4096\/4096 bytes/g)).toHaveLength(40);
      expect(statSync(backup!).blocks * 512).toBeLessThan(21 * MIB);
    },
  );
});

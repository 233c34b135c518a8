// Scripts on machines: what a script gets, and that everything is given back however it ends.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Machine } from "../../machine/machine.ts";
import { runScript, type ScriptMain, type ScriptReporter } from "../../machine/script.ts";
import { subscribeTrace } from "../../src/base/trace.ts";
import { withFolder } from "../support/cli.ts";

const CLUSTER = 65_536;
const MIB = 1 << 20;

const silent: ScriptReporter = { log: () => {}, progress: () => {}, check: () => {} };

/** Runs `main` on one file drive of `bytes`, and returns what the file holds afterwards. */
async function runOnFile(folder: string, bytes: Uint8Array, main: ScriptMain, signal?: AbortSignal): Promise<Buffer> {
  const path = join(folder, "disk.img");
  writeFileSync(path, bytes);
  const machine = await Machine.create({ drives: [{ driver: "file", path }] });
  await runScript({ machine, main, reporter: silent, ...(signal === undefined ? {} : { signal }) });
  return readFileSync(path);
}

describe("runScript", () => {
  it("gives a script a guest whose writes are in the file", () =>
    withFolder(async (folder) => {
      const after = await runOnFile(folder, new Uint8Array(MIB), async ({ guest }) => {
        const disk = await guest.probe();
        expect(disk.capacityBytes).toBe(MIB);
        expect(await disk.id()).toBe("drive0");
        await disk.write(4096, new Uint8Array(512).fill(7));
      });
      expect(after.subarray(4096, 4608).every((byte) => byte === 7)).toBe(true);
      expect(after.filter((byte) => byte !== 0)).toHaveLength(512);
    }));

  it("shows an image of odd length rounded up to 512, its end as zeroes", () =>
    withFolder(async (folder) => {
      await runOnFile(folder, new Uint8Array(1000).fill(1), async ({ guest }) => {
        const disk = await guest.probe();
        expect(disk.capacityBytes).toBe(1024);
        const end = await disk.read(512, 512);
        expect(end.subarray(0, 488).every((byte) => byte === 1)).toBe(true);
        expect(end.subarray(488).every((byte) => byte === 0)).toBe(true);
      });
      expect(statSync(join(folder, "disk.img")).size).toBe(1000);
    }));

  it("keeps the guests of several drives apart in RAM", async () => {
    const drive = { driver: "memory", sizeBytes: MIB } as const;
    const machine = await Machine.create({ drives: [drive, drive, drive], ramBytes: 4 * MIB });
    const main: ScriptMain = async ({ guests }) => {
      const disks = await Promise.all(guests.map((guest) => guest.probe()));
      await Promise.all(disks.map((disk, i) => disk.write(0, new Uint8Array(64 * 1024).fill(i + 1))));
      for (const [i, disk] of disks.entries()) {
        expect((await disk.read(0, 64 * 1024)).every((byte) => byte === i + 1)).toBe(true);
      }
    };
    await runScript({ machine, main, reporter: silent });
  });

  it("rejects with what the script threw, after the image was flushed and its lock given back", () =>
    withFolder(async (folder) => {
      const thrown = new Error("the script's own");
      const run = runOnFile(folder, new Uint8Array(MIB), async ({ guest, control }) => {
        const disk = await guest.probe();
        await disk.write(0, new Uint8Array(512).fill(9));
        await control.startBackup({ target: join(folder, "backup.img") });
        throw thrown;
      });
      await expect(run).rejects.toBe(thrown);
      expect(readFileSync(join(folder, "disk.img"))[511]).toBe(9);
      for (const name of ["disk.img", "backup.img"]) {
        const again = await Machine.create({ drives: [{ driver: "file", path: join(folder, name) }] });
        await again.close();
      }
    }));

  it("ends a script that would go on for ever when it is aborted, with requests and a backup under way", () =>
    withFolder(async (folder) => {
      const ending = new AbortController();
      const reason = new Error("enough");
      let rounds = 0;
      const run = runOnFile(
        folder,
        new Uint8Array(8 * MIB),
        async ({ guest, control, signal }) => {
          const disk = await guest.probe();
          await control.startBackup({ target: join(folder, "backup.img") });
          setTimeout(() => ending.abort(reason), 20);
          while (!signal.aborted) {
            await disk.write((rounds++ % 16) * CLUSTER, new Uint8Array(CLUSTER).fill(rounds));
          }
        },
        ending.signal,
      );
      await expect(run).rejects.toBe(reason);
      expect(rounds).toBeGreaterThan(0);
    }));

  it("lets a timer and a backup go on beside a guest that never pauses", () =>
    withFolder(async (folder) => {
      let ticks = 0;
      await runOnFile(folder, new Uint8Array(8 * MIB).fill(1), async ({ guest, control }) => {
        const disk = await guest.probe();
        const backup = await control.startBackup({ target: join(folder, "backup.img") });
        const timer = setInterval(() => ticks++, 1);
        const buffer = new Uint8Array(512);
        while (!backup.info.hasEnded || ticks < 5) await disk.readInto(0, buffer);
        clearInterval(timer);
        await backup.completed;
      });
      expect(ticks).toBeGreaterThanOrEqual(5);
      expect(readFileSync(join(folder, "backup.img")).every((byte) => byte === 1)).toBe(true);
    }));
});

describe("MachineControl", () => {
  it("copies the disk as it was when the backup began, and marks what changed since", () =>
    withFolder(async (folder) => {
      const target = join(folder, "backup.img");
      const past = new Uint8Array(4 * MIB).map((_, i) => (i >> 12) & 0xff);
      const after = await runOnFile(folder, past, async ({ guest, control }) => {
        const disk = await guest.probe();
        control.addBitmap({ name: "b", granularityBytes: CLUSTER });
        const backup = await control.startBackup({ target });
        await disk.write(5 * CLUSTER + 512, new Uint8Array(512).fill(0xee));
        await disk.write(40 * CLUSTER, new Uint8Array(2 * CLUSTER).fill(0xdd));
        await backup.completed;
        expect([...control.dirtyAreas({ name: "b" })]).toEqual([
          { offsetBytes: 5 * CLUSTER, lengthBytes: CLUSTER },
          { offsetBytes: 40 * CLUSTER, lengthBytes: 2 * CLUSTER },
        ]);
        expect(control.bitmaps).toEqual([
          { drive: "drive0", name: "b", granularityBytes: 65_536, dirtyBytes: 196_608, recording: true },
        ]);
        expect(control.backups).toMatchObject([
          { id: "drive0", drive: "drive0", target, hasEnded: true, error: undefined },
        ]);
      });
      expect(readFileSync(target).equals(past)).toBe(true);
      expect(after[5 * CLUSTER + 512]).toBe(0xee);
    }));

  it("refuses the source as its own target, also through another name, and touches nothing", () =>
    withFolder(async (folder) => {
      const { linkSync, symlinkSync } = await import("node:fs");
      const before = new Uint8Array(MIB).fill(3);
      const after = await runOnFile(folder, before, async ({ control }) => {
        const path = join(folder, "disk.img");
        symlinkSync(path, join(folder, "symbolic.img"));
        linkSync(path, join(folder, "hard.img"));
        for (const name of ["disk.img", "symbolic.img", "hard.img"]) {
          await expect(control.startBackup({ target: join(folder, name) })).rejects.toThrow(
            "Source and target cannot be the same",
          );
        }
      });
      expect(after.equals(before)).toBe(true);
    }));

  it("refuses an existing target of another length before anything is written to it", () =>
    withFolder(async (folder) => {
      const target = join(folder, "backup.img");
      await runOnFile(folder, new Uint8Array(MIB).fill(1), async ({ control }) => {
        for (const lengthBytes of [MIB - 512, MIB + 512]) {
          writeFileSync(target, new Uint8Array(lengthBytes).fill(2));
          const start = control.startBackup({ target, existing: true });
          await expect(start).rejects.toThrow("Source and target image have different sizes");
          expect(readFileSync(target).every((byte) => byte === 2)).toBe(true);
        }
        writeFileSync(target, new Uint8Array(MIB).fill(2));
        await (await control.startBackup({ target, existing: true })).completed;
      });
      expect(readFileSync(target).every((byte) => byte === 1)).toBe(true);
    }));

  it("refuses ids and options as QEMU words it, and leaves no target open", () =>
    withFolder(async (folder) => {
      await runOnFile(folder, new Uint8Array(MIB), async ({ control }) => {
        const target = join(folder, "backup.img");
        await expect(control.startBackup({ target, id: "1x" })).rejects.toThrow("Invalid job ID '1x'");
        await expect(control.startBackup({ target, drive: "nope" })).rejects.toThrow(
          "Cannot find device='nope' nor node-name='nope'",
        );
        expect(existsSync(target)).toBe(false);
        await expect(control.startBackup({ target, minClusterSizeBytes: 100_000 })).rejects.toThrow(
          "needs to be a power of 2",
        );
        const backup = await control.startBackup({ target });
        await backup.completed;
        expect(() => control.addBitmap({ name: "" })).toThrow("Bitmap name cannot be empty");
        control.addBitmap({ name: "b" });
        expect(() => control.addBitmap({ name: "b" })).toThrow("Bitmap already exists: b");
        expect(() => control.removeBitmap({ name: "c" })).toThrow("Dirty bitmap 'c' not found");
      });
    }));

  it("traces a backup under QEMU's names: what guests wait for, and the job's states", () =>
    withFolder(async (folder) => {
      const lines: string[] = [];
      const end = subscribeTrace("*_do_cow_enter", (name, { offset, bytes }) =>
        lines.push(`${name} ${offset}+${bytes}`),
      );
      const endStates = subscribeTrace("job_state_transition", (_, { to }) => lines.push(String(to)));
      await runOnFile(folder, new Uint8Array(64 * MIB).fill(1), async ({ guest, control }) => {
        const disk = await guest.probe();
        const backup = await control.startBackup({ target: join(folder, "backup.img") });
        await disk.write(4096, new Uint8Array(512));
        await backup.completed;
      });
      end();
      endStates();
      expect(lines).toContain("backup_do_cow_enter 4096+512");
      expect(lines.filter((line) => !line.startsWith("backup"))).toEqual([
        ...["created", "running", "paused", "running"],
        ...["waiting", "pending", "concluded", "null"],
      ]);
    }));

  it("tells the end of a cancelled backup by rejecting what was promised", () =>
    withFolder(async (folder) => {
      await runOnFile(folder, new Uint8Array(16 * MIB).fill(1), async ({ control }) => {
        const backup = await control.startBackup({ target: join(folder, "backup.img") });
        await backup.cancel();
        await expect(backup.completed).rejects.toThrow("Operation canceled");
        expect(backup.info.hasEnded).toBe(true);
      });
    }));

  it("resizes a drive, tells the guest, and does not while a backup runs", () =>
    withFolder(async (folder) => {
      await runOnFile(folder, new Uint8Array(16 * MIB).fill(1), async ({ guest, control }) => {
        const disk = await guest.probe();
        const changed = new Promise<void>((resolve) => disk.onConfigChange(resolve));
        await control.resize(32 * MIB);
        await changed;
        expect(disk.capacityBytes).toBe(32 * MIB);
        const backup = await control.startBackup({ target: join(folder, "backup.img") });
        await expect(control.resize(MIB)).rejects.toThrow(
          "Node 'drive0' is busy: block device is in use by block job: backup",
        );
        await backup.completed;
      });
    }));
});

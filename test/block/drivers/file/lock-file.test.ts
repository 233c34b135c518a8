// Locks as files beside the image, where there is no perl to take QEMU's: who excludes whom, and what a dead one leaves.
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../../src/base/clock.ts";
import { BlockError } from "../../../../src/base/errors.ts";
import { subscribeTrace } from "../../../../src/base/trace.ts";
import { createImageFile, FileDriver, type FileDriverOptions } from "../../../../src/block/drivers/file/file-driver.ts";
import { runWell, useCompanions } from "./support/processes.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const NO_PERL = "/nonexistent/perl";
const linux = process.platform === "linux";

const inFolder = useTemporaryFolder();
const companions = useCompanions();
const opened: FileDriver[] = [];
beforeEach(() => writeFileSync(inFolder("a.img"), new Uint8Array(4096)));
afterEach(async () => {
  for (const driver of opened.splice(0)) await driver.close();
});

async function open(options: Partial<FileDriverOptions> = {}, perl = NO_PERL): Promise<FileDriver> {
  const driver = await FileDriver.open({ path: inFolder("a.img"), ...options }, { perl });
  opened.push(driver);
  return driver;
}

async function failureOf(promise: Promise<unknown>): Promise<BlockError> {
  const error = await promise.then(
    () => expect.fail("succeeds"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BlockError);
  return error as BlockError;
}

async function close(driver: FileDriver): Promise<void> {
  opened.splice(opened.indexOf(driver), 1);
  await driver.close();
}

function locks(): string[] {
  return readdirSync(dirname(inFolder("a.img"))).filter((name) => name.includes(".vblk-lock"));
}

/** A claim as a process of this boot writes it. */
function claimOf(pid: number, startTime: string): string {
  const scope = linux
    ? `${readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()} ${readlinkSync("/proc/self/ns/pid")}`
    : "";
  return `${JSON.stringify({ pid, startTime, scope })}\n`;
}

function startTimeOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]!;
}

describe("a lock file", () => {
  it("keeps a second writer off, in the same process too, and says who holds the image", async () => {
    const first = await open();
    expect(first.lockKind).toBe("lock-file");
    expect(locks().length).toBe(1);
    const error = await failureOf(open());
    expect([error.errno, error.message]).toEqual(["EAGAIN", 'Failed to get "write" lock']);
    expect(error.hint).toBe(
      `Is another process using the image [${inFolder("a.img")}]? '${inFolder(locks()[0]!)}' says that process ` +
        `${process.pid} does; remove it if that is no longer so.`,
    );
    await close(first);
    expect(locks()).toEqual([]);
    expect((await open()).lockKind).toBe("lock-file");
  });

  it("lets readers in together, and no writer beside a reader", async () => {
    const first = await open({ readOnly: true });
    const second = await open({ readOnly: true });
    expect((await failureOf(open())).message).toBe('Failed to get "write" lock');
    expect(
      (await failureOf(createImageFile({ path: inFolder("a.img"), lengthBytes: 1 }, { perl: NO_PERL }))).errno,
    ).toBe("EAGAIN");
    await close(first);
    await failureOf(open());
    await close(second);
    await open();
    expect((await failureOf(open({ readOnly: true }))).message).toBe('Failed to get shared "write" lock');
    expect(locks().length).toBe(1);
  });

  it("is that of the file behind symbolic links", async () => {
    symlinkSync("a.img", inFolder("link"));
    await open({ path: inFolder("link") });
    expect((await failureOf(open())).errno).toBe("EAGAIN");
  });

  it("is not mistaken for that of an image with a longer or shorter name", async () => {
    writeFileSync(inFolder("a.img.vblk-lock"), new Uint8Array(512));
    writeFileSync(inFolder("a"), new Uint8Array(512));
    await open();
    await open({ path: inFolder("a") });
    await open({ path: inFolder("a.img.vblk-lock") });
  });

  it("of a running process is respected by others, and gone when that process closes the image", async () => {
    const holder = companions.hold(inFolder("a.img"), "writer", NO_PERL);
    expect((await holder.hears(/^(held|refused) .*/m))[0]).toBe("held lock-file");
    const error = await failureOf(open());
    expect(error.hint).toContain(`says that process ${holder.pid} does`);
    await holder.finish();
    expect(locks()).toEqual([]);
    await open();
  });

  it.runIf(linux)("of a killed process is taken over and cleared away", async () => {
    const holder = companions.hold(inFolder("a.img"), "writer", NO_PERL);
    await holder.hears(/^held lock-file/m);
    await holder.kill();
    expect(locks().length).toBe(1);
    await open();
    expect(locks().length).toBe(1);
  });

  it.runIf(linux)("of a dead process whose number another process has is taken over", async () => {
    const other = String(Number(startTimeOf(process.pid)) - 1);
    writeFileSync(inFolder("a.img.vblk-lock.writer.x"), claimOf(process.pid, other));
    await open();
    expect(locks()).not.toContain("a.img.vblk-lock.writer.x");
  });

  it.runIf(linux)("of a process that is dead but not yet waited for is taken over", async () => {
    runWell("mkfifo", inFolder("end"));
    const parent = companions.start("sh", "-c", `(read word < ${inFolder("end")}) & echo child $!; exec sleep 600`);
    const zombie = Number((await parent.hears(/child (\d+)\n/))[1]);
    // The shell would wait for its child; what it has turned into does not.
    while (readFileSync(`/proc/${parent.pid}/comm`, "latin1") !== "sleep\n") await systemClock.yield();
    await writeFile(inFolder("end"), "now\n");
    const state = (): string => readFileSync(`/proc/${zombie}/stat`, "latin1").split(") ")[1]![0]!;
    while (state() !== "Z") await systemClock.yield();
    writeFileSync(inFolder("a.img.vblk-lock.writer.x"), claimOf(zombie, startTimeOf(zombie)));
    await open();
  });

  it.runIf(linux)("of a live process is not taken over, whatever its name", async () => {
    const parent = companions.start("sh", "-c", "echo ready; exec sleep 600");
    await parent.hears(/ready/);
    writeFileSync(inFolder("a.img.vblk-lock.writer.x"), claimOf(parent.pid, startTimeOf(parent.pid)));
    expect((await failureOf(open())).hint).toContain(`process ${parent.pid} does`);
  });

  it("of another machine, boot or container counts as held: nobody here can tell", async () => {
    const claim = { pid: 4_000_000, startTime: "1", scope: "another" };
    writeFileSync(inFolder("a.img.vblk-lock.writer.x"), `${JSON.stringify(claim)}\n`);
    expect((await failureOf(open())).hint).toContain("says that process 4000000 does; remove it");
    rmSync(inFolder("a.img.vblk-lock.writer.x"));
    await open();
  });

  it.each([
    ["nothing", () => writeFileSync(inFolder("a.img.vblk-lock.writer.x"), "")],
    ["anything", () => writeFileSync(inFolder("a.img.vblk-lock.writer.x"), "\u0000\xff{]\n")],
    ["another object", () => writeFileSync(inFolder("a.img.vblk-lock.writer.x"), '{"pid":-1,"startTime":1}\n')],
    ["a number that is none", () => writeFileSync(inFolder("a.img.vblk-lock.writer.x"), claimOf(-1, "1"))],
    ["far too much", () => writeFileSync(inFolder("a.img.vblk-lock.writer.x"), claimOf(1, "1".repeat(100_000)))],
    ["a folder", () => mkdirSync(inFolder("a.img.vblk-lock.writer.x"))],
    ["a link", () => symlinkSync("/dev/zero", inFolder("a.img.vblk-lock.writer.x"))],
    ["a FIFO", () => runWell("mkfifo", inFolder("a.img.vblk-lock.writer.x"))],
  ])("that holds %s counts as held", async (_what, put) => {
    put();
    const error = await failureOf(open());
    expect(error.hint).toContain(`'${inFolder("a.img.vblk-lock.writer.x")}' says so; remove it if none does.`);
    expect(locks()).toEqual(["a.img.vblk-lock.writer.x"]);
  });

  it("is never had by two that come for it at once, a stale one lying there", async () => {
    for (let round = 0; round < 30; round++) {
      if (linux) writeFileSync(inFolder(`a.img.vblk-lock.writer.${round}`), claimOf(process.pid, "1"));
      const settled = await Promise.allSettled(Array.from({ length: 6 }, () => open()));
      const winners = settled.filter(({ status }) => status === "fulfilled").length;
      expect(winners).toBeLessThanOrEqual(1);
      // The stale one may lie there still, if everybody met a live one first.
      expect(locks().filter((name) => !name.endsWith(`.${round}`)).length).toBe(winners);
      for (const driver of [...opened]) await close(driver);
      await close(await open());
    }
  });

  it("is never had by two processes that come for it at once", async () => {
    const holders = Array.from({ length: 4 }, () => companions.hold(inFolder("a.img"), "writer", NO_PERL));
    const answers = await Promise.all(holders.map((holder) => holder.hears(/^(held|refused)/m)));
    expect(answers.filter(([answer]) => answer === "held").length).toBeLessThanOrEqual(1);
    for (const holder of holders) await holder.kill();
    await open();
  });
});

describe("locking", () => {
  it("off takes no lock and looks for none", async () => {
    await open();
    expect((await open({ locking: "off" })).lockKind).toBe("none");
  });

  it("goes on without a lock where none can be had, unless it is on; another's is respected still", async () => {
    const folder = mkdtempSync(join(tmpdir(), "vblk-file-"));
    try {
      const path = join(folder, "a.img");
      writeFileSync(path, new Uint8Array(512));
      chmodSync(path, 0o666);
      chmodSync(folder, 0o555);
      const reasons: unknown[] = [];
      const unsubscribe = subscribeTrace("image_lock_unavailable", (_name, fields) => reasons.push(fields["reason"]));
      if (process.geteuid?.() === 0) process.seteuid!(65_534);
      try {
        const driver = await open({ path });
        expect(driver.lockKind).toBe("none");
        const error = await failureOf(open({ path, locking: "on" }));
        expect(error.errno).toBe("EACCES");
        expect(error.message).toContain(`Could not lock '${path}' (QEMU's locks: `);
        expect(error.message).toContain("lock file: Permission denied");
        if (linux) expect(reasons).toEqual(Array(2).fill(`spawn ${NO_PERL} ENOENT`));
      } finally {
        unsubscribe();
        if (process.getuid?.() === 0) process.seteuid!(0);
      }
      chmodSync(folder, 0o755);
      writeFileSync(join(folder, "a.img.vblk-lock.writer.x"), "?");
      expect((await failureOf(open({ path }))).errno).toBe("EAGAIN");
    } finally {
      chmodSync(folder, 0o755);
      rmSync(folder, { recursive: true });
    }
  });

  it.runIf(linux).each([
    ["ends at once", "exit 0"],
    ["fails", "exit 3"],
    ["kills itself", "kill -9 $$"],
    ["talks", "yes nonsense | head -c 300000"],
  ])("falls back to a lock file when the program for QEMU's locks %s", async (_what, script) => {
    writeFileSync(inFolder("perl"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    expect((await open({}, inFolder("perl"))).lockKind).toBe("lock-file");
  });

  it.runIf(linux)("does not wait for ever for the program for QEMU's locks", async () => {
    writeFileSync(inFolder("perl"), `#!/bin/sh\necho $$ > ${inFolder("pid")}\nexec sleep 600\n`, { mode: 0o755 });
    const timers: { delayMs: number; callback: () => void }[] = [];
    const clock = {
      ...systemClock,
      setTimer(delayMs: number, callback: () => void): () => void {
        timers.push({ delayMs, callback });
        return () => {};
      },
    };
    const opening = FileDriver.open({ path: inFolder("a.img") }, { perl: inFolder("perl"), clock });
    while (timers.length === 0 || !readdirSync(dirname(inFolder("pid"))).includes("pid")) await systemClock.yield();
    while (readFileSync(inFolder("pid"), "latin1") === "") await systemClock.yield();
    const pid = Number(readFileSync(inFolder("pid"), "latin1"));
    expect(timers.map(({ delayMs }) => delayMs)).toEqual([10_000]);
    timers[0]!.callback();
    const driver = await opening;
    opened.push(driver);
    expect(driver.lockKind).toBe("lock-file");
    const runs = (): boolean => {
      try {
        process.kill(pid, 0);
        return true;
      } catch {
        return false;
      }
    };
    while (runs()) await systemClock.yield();
  });
});

// QEMU's own locks on an image: which bytes, who excludes whom, in both directions with QEMU's programs.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BlockError } from "../../../../src/base/errors.ts";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { createImageFile, FileDriver, type FileDriverOptions } from "../../../../src/block/drivers/file/file-driver.ts";
import { hasQemuConflict } from "../../../../src/block/drivers/file/qemu-lock.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { run, runWell, useCompanions } from "./support/processes.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const NO_PERL = "/nonexistent/perl";
const MIB = 1 << 20;

const inFolder = useTemporaryFolder();
const companions = useCompanions();
const opened: FileDriver[] = [];
beforeEach(() => writeFileSync(inFolder("a.img"), new Uint8Array(MIB)));
afterEach(async () => {
  for (const driver of opened.splice(0)) await driver.close();
});

async function open(options: Partial<FileDriverOptions> = {}, perl = "perl"): Promise<FileDriver> {
  const driver = await FileDriver.open({ path: inFolder("a.img"), ...options }, { perl });
  opened.push(driver);
  return driver;
}

async function closeAll(): Promise<void> {
  for (const driver of opened.splice(0)) await driver.close();
}

async function failureOf(promise: Promise<unknown>): Promise<BlockError> {
  const error = await promise.then(
    () => expect.fail("succeeds"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BlockError);
  return error as BlockError;
}

/** Kind, mode, first and last byte of the locks on a file. */
function lockTable(path: string): string[] {
  const { ino } = statSync(path);
  return readFileSync("/proc/locks", "latin1")
    .split("\n")
    .map((line) => line.split(/\s+/))
    .filter((fields) => fields[5]?.endsWith(`:${ino}`))
    .map((fields) => `${fields[1]} ${fields[3]} ${fields[6]}-${fields[7]}`)
    .sort();
}

describeWithTools(["perl"], "QEMU's locks", () => {
  it("are taken on the bytes that a QEMU takes for a disk, and end with the driver", async () => {
    const driver = await open();
    expect(driver.lockKind).toBe("qemu");
    expect(lockTable(inFolder("a.img"))).toEqual(["OFDLCK READ 100-101", "OFDLCK READ 201-201"]);
    await closeAll();
    expect(lockTable(inFolder("a.img"))).toEqual([]);
    await open({ readOnly: true });
    expect(lockTable(inFolder("a.img"))).toEqual(["OFDLCK READ 100-100", "OFDLCK READ 201-201"]);
  });

  it("keep a second writer off in the same process, with QEMU's text", async () => {
    await open();
    for (const readOnly of [false, true]) {
      const error = await failureOf(open({ readOnly }));
      expect(error.errno).toBe("EAGAIN");
      expect(error.message).toBe(readOnly ? 'Failed to get shared "write" lock' : 'Failed to get "write" lock');
      expect(error.hint).toBe(`Is another process using the image [${inFolder("a.img")}]?`);
    }
    // The refused ones have taken nothing away.
    expect(lockTable(inFolder("a.img"))).toEqual(["OFDLCK READ 100-101", "OFDLCK READ 201-201"]);
  });

  it("let readers in together, and no writer beside a reader", async () => {
    await open({ readOnly: true });
    await open({ readOnly: true });
    expect((await failureOf(open())).message).toBe('Failed to get "write" lock');
    await closeAll();
    await open();
  });

  it("are never had by two writers that come at once", async () => {
    for (let round = 0; round < 10; round++) {
      const settled = await Promise.allSettled(Array.from({ length: 4 }, () => open()));
      expect(settled.filter(({ status }) => status === "fulfilled").length).toBeLessThanOrEqual(1);
      await closeAll();
    }
    await open();
  });

  it("of a killed process are gone with it", async () => {
    const holder = companions.hold(inFolder("a.img"), "writer", "perl");
    expect((await holder.hears(/^(held|refused) .*/m))[0]).toBe("held qemu");
    expect((await failureOf(open())).errno).toBe("EAGAIN");
    await holder.kill();
    await open();
  });

  it("exclude lock files, and lock files them", async () => {
    // In memory, where /proc/locks goes by the numbers that stat() gives.
    const folder = mkdtempSync("/dev/shm/vblk-file-");
    try {
      const path = join(folder, "a.img");
      writeFileSync(path, new Uint8Array(512));
      for (const [first, second] of [
        ["perl", NO_PERL],
        [NO_PERL, "perl"],
      ]) {
        await open({ path }, first);
        expect((await failureOf(open({ path }, second))).errno).toBe("EAGAIN");
        expect((await failureOf(open({ path, readOnly: true }, second))).errno).toBe("EAGAIN");
        await closeAll();
        await open({ path, readOnly: true }, first);
        expect((await failureOf(open({ path }, second))).errno).toBe("EAGAIN");
        await open({ path, readOnly: true }, second);
        await closeAll();
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("hasQemuConflict", () => {
  const table = [
    "1: OFDLCK ADVISORY  READ -1 fe:00:3803471 201 201",
    "2: OFDLCK ADVISORY  READ -1 fe:00:3803471 100 101",
    "3: POSIX  ADVISORY  WRITE 812 fe:00:77 0 EOF",
    "4: OFDLCK ADVISORY  READ -1 fe:00:88 100 100",
    "4: -> OFDLCK ADVISORY  WRITE -1 fe:00:99 0 EOF",
    "5: OFDLCK ADVISORY  READ -1 fe:00:66 201 201",
    "6: OFDLCK ADVISORY  READ -1 103:101:55 0 EOF",
    "",
  ].join("\n");

  it.each([
    ["a writer", 0xfe00n, 3803471n, true, true],
    ["somebody who reads and lets others write", 0xfe00n, 88n, false, false],
    ["somebody who refuses writers", 0xfe00n, 66n, false, true],
    ["a lock that QEMU does not take", 0xfe00n, 77n, false, false],
    ["a lock that is only waited for", 0xfe00n, 99n, false, false],
    ["all of a file on a device with large numbers", 0x110301n, 55n, true, true],
    ["a file of the same number elsewhere", 0xfe01n, 3803471n, false, false],
    ["nothing", 0xfe00n, 1n, false, false],
  ])("sees %s", (_what, dev, ino, forReader, forWriter) => {
    expect(hasQemuConflict(table, { dev, ino }, true)).toBe(forReader);
    expect(hasQemuConflict(table, { dev, ino }, false)).toBe(forWriter);
  });
});

describeWithTools(["perl", "qemu-io", "qemu-img"], "QEMU's locks and QEMU's tools", () => {
  const refused = (what: string): string => `${what}\nIs another process using the image [${inFolder("a.img")}]?\n`;

  it("qemu-io and qemu-img do not get an image that is open for writing", async () => {
    await open();
    const path = inFolder("a.img");
    const write = run("qemu-io", "-f", "raw", "-c", "write 0 512", path);
    expect([write.status, write.text]).toEqual([
      1,
      refused(`qemu-io: can't open device ${path}: Failed to get "write" lock`),
    ]);
    const create = run("qemu-img", "create", "-q", "-f", "raw", path, "1M");
    expect([create.status, create.text]).toEqual([1, refused(`qemu-img: ${path}: Failed to get "write" lock`)]);
    const convert = run("qemu-img", "convert", "-f", "raw", "-O", "raw", path, inFolder("b.img"));
    expect(convert.status).toBe(1);
    expect(convert.text).toContain('Failed to get shared "write" lock');
    // Those who only look, and do not mind a writer, are let in.
    expect(run("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", path).status).toBe(0);
    await closeAll();
    expect(run("qemu-io", "-f", "raw", "-c", "write 0 512", path).status).toBe(0);
  });

  it("qemu-img reads beside our reader, and qemu-io does not write beside it", async () => {
    await open({ readOnly: true });
    const path = inFolder("a.img");
    expect(run("qemu-img", "convert", "-f", "raw", "-O", "raw", path, inFolder("b.img")).status).toBe(0);
    expect(run("qemu-io", "-f", "raw", "-c", "write 0 512", path).text).toContain('Failed to get "write" lock');
  });

  it("what a qemu-io has open for writing is refused, and left as it is", async () => {
    const qemu = companions.start("qemu-io", "-f", "raw", inFolder("a.img"));
    qemu.say("write -P 0x5a 0 4096\n");
    await qemu.hears(/wrote 4096\/4096/);
    for (const readOnly of [false, true]) {
      const error = await failureOf(open({ readOnly }));
      expect(error.message).toBe('Failed to get shared "write" lock');
      expect(error.hint).toBe(`Is another process using the image [${inFolder("a.img")}]?`);
    }
    expect((await failureOf(createImageFile({ path: inFolder("a.img"), lengthBytes: 0 }))).errno).toBe("EAGAIN");
    expect(readFileSync(inFolder("a.img"))[0]).toBe(0x5a);
    expect(statSync(inFolder("a.img")).size).toBe(MIB);
    qemu.say("quit\n");
    await qemu.finish();
    await open();
  });

  it("qemu-io and qemu-img read what the driver wrote, and the driver what they wrote", async () => {
    const path = inFolder("a.img");
    for (const xIo of ["auto", "threads"] as const) {
      const driver = await open({ xIo });
      await driver.write(65_536 - 512, IoVector.of(new Uint8Array(8192).fill(0xa7)));
      await driver.writeZeroes(65_536, 512, { mayUnmap: false, noFallback: false });
      await driver.flush();
      await closeAll();
      const read = run("qemu-io", "-r", "-f", "raw", "-c", "read -P 0xa7 65024 512", "-c", "read -P 0 65536 512", path);
      expect(read.text).not.toContain("Pattern verification failed");
      expect(run("qemu-io", "-r", "-f", "raw", "-c", "read -P 0xa7 66048 7168", path).text).not.toContain("failed");
      expect(run("qemu-io", "-r", "-f", "raw", "-c", "read -P 0xa8 66048 7168", path).text).toContain("failed");
    }
    runWell("qemu-io", "-f", "raw", "-c", "write -P 0x3c 4096 4096", path);
    const driver = await open();
    const buffer = new Uint8Array(4096);
    await driver.read(4096, IoVector.of(buffer));
    expect(new Set(buffer)).toEqual(new Set([0x3c]));
  });

  it("qemu-img sees an image made by the driver as one of zeroes, of the same length", async () => {
    await createImageFile({ path: inFolder("b.img"), lengthBytes: 3 * MIB + 1000 });
    runWell("qemu-img", "create", "-q", "-f", "raw", inFolder("c.img"), String(3 * MIB + 1024));
    expect(run("qemu-img", "compare", "-f", "raw", "-F", "raw", inFolder("b.img"), inFolder("c.img")).text).toBe(
      "Images are identical.\n",
    );
    const info = JSON.parse(run("qemu-img", "info", "--output=json", "-f", "raw", inFolder("b.img")).text);
    const driver = await open({ path: inFolder("b.img") });
    expect([info["virtual-size"], info["actual-size"]]).toEqual([driver.lengthBytes, 0]);
  });

  it("where no perl is, an image that a qemu-io writes to is refused all the same", async () => {
    const folder = mkdtempSync("/dev/shm/vblk-file-");
    try {
      const path = join(folder, "a.img");
      writeFileSync(path, new Uint8Array(512));
      const qemu = companions.start("qemu-io", "-f", "raw", path);
      qemu.say("length\n");
      await qemu.hears(/512 bytes/);
      for (const readOnly of [false, true]) {
        expect((await failureOf(open({ path, readOnly }, NO_PERL))).message).toContain('"write" lock');
      }
      await qemu.kill();
      expect((await open({ path }, NO_PERL)).lockKind).toBe("lock-file");
    } finally {
      await closeAll();
      rmSync(folder, { recursive: true });
    }
  });
});

describeWithTools(["perl", "qemu-system-aarch64"], "QEMU's locks and a virtual machine", () => {
  const machine = ["-M", "virt", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"];

  function drive(options: string): string[] {
    const file = `if=none,id=d,format=raw,file=${inFolder("a.img")}${options}`;
    return [...machine, "-drive", file, "-device", "virtio-blk-device,drive=d"];
  }

  it.each([
    ["", false, 'Failed to get "write" lock'],
    ["", true, 'Failed to get shared "write" lock'],
    [",read-only=on", false, 'Failed to get "write" lock'],
    [",read-only=on", true, undefined],
  ])("a machine's disk (options '%s'), wanted read-only: %s", async (options, readOnly, text) => {
    const vm = companions.start("qemu-system-aarch64", ...drive(options));
    vm.say('{"execute":"qmp_capabilities"}\n');
    await vm.hears(/"return": \{\}/);
    if (text === undefined) expect((await open({ readOnly })).lockKind).toBe("qemu");
    else expect((await failureOf(open({ readOnly }))).message).toBe(text);
  });

  it.each([
    ["", false, 'Failed to get "write" lock'],
    [",read-only=on", false, 'Failed to get shared "write" lock'],
    ["", true, 'Failed to get "write" lock'],
  ])(
    "a machine does not start with a disk (options '%s') that we have open, read-only: %s",
    async (options, readOnly, text) => {
      await open({ readOnly });
      const started = run("qemu-system-aarch64", ...drive(options));
      expect(started.status).toBe(1);
      expect(started.text).toContain(`virtio-blk-device,drive=d: ${text}\nIs another process using the image`);
    },
  );
});

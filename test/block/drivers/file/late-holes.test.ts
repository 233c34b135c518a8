// Holes of an image that is locked as it is used are looked for when somebody goes by them, and whatever is written meanwhile is none.
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { FileDriver, type FileDriverOptions } from "../../../../src/block/drivers/file/file-driver.ts";
import { type FileIo, nodeFileIo } from "../../../../src/block/drivers/file/file-io.ts";
import { devicePermissions, PERM_ALL, PERM_RESIZE, PERM_WRITE } from "../../../../src/block/permissions.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { runWell } from "./support/processes.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const KIB64 = 1 << 16;
const UNITS = 16;
const LENGTH = UNITS * KIB64;
const ZEROES = { mayUnmap: false, noFallback: false };
const NOBODY = { needs: 0, shares: PERM_ALL };
const DISK = devicePermissions(false, false);

const inFolder = useTemporaryFolder();
const opened: FileDriver[] = [];
beforeEach(() => makeSparse([]));
afterEach(async () => {
  for (const driver of opened.splice(0)) await driver.close();
});

/** An image of 16 units of 64 KiB, data in some of them. */
function makeSparse(units: readonly number[]): void {
  writeFileSync(inFolder("a.img"), "");
  truncateSync(inFolder("a.img"), LENGTH);
  for (const unit of units) writePast(unit);
}

/** As somebody who knows of no locks. */
function writePast(unit: number): void {
  const file = openSync(inFolder("a.img"), "r+");
  writeSync(file, data(KIB64), 0, KIB64, unit * KIB64);
  closeSync(file);
}

function data(length: number): Uint8Array {
  return new Uint8Array(length).fill(0xa5);
}

function setPermissions(driver: FileDriver, permissions: { needs: number; shares: number }): void {
  driver.permissionListener?.prepare(permissions);
  driver.permissionListener?.commit();
}

/** In use by a guest's disk, unless told otherwise. Holes are looked for by a perl that notes how long it waits before. */
async function open(
  options: Partial<FileDriverOptions> = {},
  { permissions = DISK, io = nodeFileIo, answer = 'exec perl "$@"' } = {},
): Promise<FileDriver> {
  const looks = `case "$*" in *sysseek*) for pause; do :; done; echo "$pause" >>"${inFolder("looks")}"; ${answer};; esac`;
  writeFileSync(inFolder("perl"), `#!/bin/sh\n${looks}\nexec perl "$@"\n`, { mode: 0o755 });
  writeFileSync(inFolder("looks"), "");
  const seams = { perl: inFolder("perl"), io };
  const driver = await FileDriver.open({ path: inFolder("a.img"), lockAsUsed: true, ...options }, seams);
  opened.push(driver);
  setPermissions(driver, permissions);
  return driver;
}

/** The answer is what was seen before `looked()` came, and is given at `answer()`. */
const HELD = `found=$(perl "$@"); echo >"$(dirname "$0")/looked"; read go <"$(dirname "$0")/go"; echo "$found"; exit`;

function makeGate(): { looked(): Promise<string>; answer(): Promise<void> } {
  for (const name of ["looked", "go"]) runWell("mkfifo", inFolder(name));
  return { looked: () => readFile(inFolder("looked"), "latin1"), answer: () => writeFile(inFolder("go"), "go\n") };
}

/** Of each look, for how many seconds it waited. */
function looks(): string[] {
  return readFileSync(inFolder("looks"), "latin1").split("\n").slice(0, -1);
}

/** Units of which the driver says that they are zero as a whole, from the first byte on. */
async function zeroUnits(driver: FileDriver): Promise<number[]> {
  const units: number[] = [];
  for (let unit = 0; unit * KIB64 < driver.lengthBytes; unit++) {
    const { zero, lengthBytes } = await driver.blockStatus(unit * KIB64, KIB64);
    if (zero && lengthBytes === KIB64) units.push(unit);
  }
  return units;
}

function allBut(...units: number[]): number[] {
  return Array.from({ length: UNITS }, (_, unit) => unit).filter((unit) => !units.includes(unit));
}

async function expectZeroable(driver: FileDriver): Promise<void> {
  await driver.writeZeroes(0, driver.lengthBytes, ZEROES);
  expect(readFileSync(inFolder("a.img")).findIndex((byte) => byte !== 0)).toBe(-1);
}

describeWithTools(["perl", "mkfifo"], "Holes of an image that is locked as it is used", () => {
  it("are looked for once, when somebody first asks, and not for who only reads and writes", async () => {
    makeSparse([3]);
    const driver = await open();
    await driver.write(0, IoVector.of(data(4096)));
    await driver.read(0, IoVector.of(data(4096)));
    await driver.flush();
    expect(looks()).toEqual([]);
    const twice = await Promise.all([zeroUnits(driver), zeroUnits(driver)]);
    expect(twice).toEqual([allBut(0, 3), allBut(0, 3)]);
    expect(looks()).toHaveLength(1);
  });

  it.each(["writeZeroes", "discard"] as const)("are looked for by %s, and stay holes", async (request) => {
    makeSparse([3]);
    const driver = await open();
    const { blocks } = statSync(inFolder("a.img"));
    await driver[request](0, LENGTH, ZEROES);
    expect(looks()).toHaveLength(1);
    expect(statSync(inFolder("a.img")).blocks).toBe(blocks);
    await expectZeroable(driver);
  });

  it("are not looked for where there are none, or nobody could keep others from filling them", async () => {
    makeSparse(allBut());
    expect(await zeroUnits(await open())).toEqual([]);
    makeSparse([]);
    expect(await zeroUnits(await open({ locking: "off", readOnly: true }, { permissions: NOBODY }))).toEqual([]);
    expect(looks()).toEqual([]);
  });

  it("stay known beside the writes of a copy whose target the image is: zeroes there cost neither a write nor a read", async () => {
    makeSparse([0]);
    const read = vi.fn();
    const permissions = { needs: PERM_WRITE, shares: PERM_ALL & ~PERM_RESIZE };
    const driver = await open({}, { permissions, io: { ...nodeFileIo, readv: read, readSync: read, readvSync: read } });
    for (let unit = 1; unit < UNITS; unit++) {
      if (unit % 2 === 0) await driver.writeZeroes(unit * KIB64, KIB64, ZEROES);
      else await driver.write(unit * KIB64, IoVector.of(data(KIB64)));
    }
    expect(looks()).toEqual(["0"]);
    expect(read).not.toHaveBeenCalled();
    expect(statSync(inFolder("a.img")).blocks * 512).toBe(LENGTH / 2 + KIB64);
  });

  it("are none where a write began before the answer", async () => {
    const gate = makeGate();
    const driver = await open({}, { answer: HELD });
    const zero = zeroUnits(driver);
    await gate.looked();
    await driver.write(5 * KIB64 + 512, IoVector.of(data(512)));
    await gate.answer();
    expect(await zero).toEqual(allBut(5));
    await expectZeroable(driver);
  });

  it("are none where a write began before the look and ends after the answer", async () => {
    const gate = makeGate();
    let release: (() => void) | undefined;
    const io: FileIo = {
      ...nodeFileIo,
      writev: (...args) => {
        release = () => nodeFileIo.writev(...args);
      },
    };
    const driver = await open({ xIo: "threads" }, { answer: HELD, io });
    const written = driver.write(5 * KIB64, IoVector.of(data(4096)));
    const zero = zeroUnits(driver);
    await gate.looked();
    await gate.answer();
    expect(await zero).toEqual(allBut(5));
    release!();
    await written;
    io.writev = nodeFileIo.writev;
    await expectZeroable(driver);
  });

  it("keep zeroes that somebody wants to write waiting, and no data", async () => {
    const gate = makeGate();
    const driver = await open({}, { answer: HELD });
    let ended = false;
    const zeroed = Promise.resolve(driver.writeZeroes(0, LENGTH, ZEROES)).then(() => {
      ended = true;
    });
    await gate.looked();
    await driver.write(5 * KIB64, IoVector.of(data(4096)));
    expect(ended).toBe(false);
    await gate.answer();
    await zeroed;
    expect(readFileSync(inFolder("a.img")).every((byte) => byte === 0)).toBe(true);
  });

  it("are none of what the image has grown by, once that is written", async () => {
    const gate = makeGate();
    const driver = await open({}, { answer: HELD });
    const zero = zeroUnits(driver);
    await gate.looked();
    await driver.resize(2 * KIB64);
    await driver.resize(4 * KIB64);
    await driver.write(3 * KIB64, IoVector.of(data(4096)));
    await gate.answer();
    expect(await zero).toEqual([0, 1, 2]);
    await expectZeroable(driver);
  });

  it("do not count when others were let in meanwhile, though they are gone", async () => {
    const gate = makeGate();
    const driver = await open({}, { answer: HELD });
    const zero = zeroUnits(driver);
    await gate.looked();
    setPermissions(driver, NOBODY);
    writePast(5);
    setPermissions(driver, DISK);
    await gate.answer();
    expect(await zero).toEqual([]);
    await expectZeroable(driver);
  });

  it.each([
    ["and nobody has", () => {}, allBut()],
    ["and somebody has", () => writePast(5), []],
  ])(
    "of an image that nobody uses are those of the file when it was looked at, as others may write: %s",
    async (_what, change, units) => {
      const gate = makeGate();
      const driver = await open({}, { answer: HELD, permissions: NOBODY });
      const zero = zeroUnits(driver);
      await gate.looked();
      change();
      await gate.answer();
      expect(await zero).toEqual(units);
      writePast(6);
      expect(await zeroUnits(driver)).toEqual([]);
      await expectZeroable(driver);
    },
  );

  it("do not count when somebody has changed an image that nobody used, and that a disk uses by then", async () => {
    const gate = makeGate();
    const driver = await open({}, { answer: HELD, permissions: NOBODY });
    const zero = zeroUnits(driver);
    await gate.looked();
    writePast(5);
    setPermissions(driver, DISK);
    await gate.answer();
    expect(await zero).toEqual([]);
    await expectZeroable(driver);
  });

  it("are those at the look, and not those at the opening", async () => {
    const driver = await open({}, { permissions: NOBODY });
    writePast(6);
    expect(await zeroUnits(driver)).toEqual(allBut(6));
  });

  it.each([
    ["at once where nobody else can write", DISK, 0, "0"],
    ["at once where others can write and the file's time is past", NOBODY, 100, "0"],
    ["when a change that others make would have another time", NOBODY, 0, "0.02"],
  ])("are looked for %s", async (_what, permissions, agoMs, pause) => {
    const driver = await open({}, { permissions });
    const changed = Math.floor(statSync(inFolder("a.img")).ctimeMs);
    const now = vi.spyOn(Date, "now").mockReturnValue(changed + agoMs);
    const status = driver.blockStatus(0, 512);
    now.mockRestore();
    expect(await status).toMatchObject({ zero: true, lengthBytes: 512 });
    expect(looks()).toEqual([pause]);
  });

  it("do not count when the file has become another's meanwhile", async () => {
    const gate = makeGate();
    const driver = await open({}, { answer: HELD });
    const zero = zeroUnits(driver);
    await gate.looked();
    truncateSync(inFolder("a.img"), 2 * LENGTH);
    driver.activate();
    await gate.answer();
    expect(await zero).toEqual([]);
  });

  it("hold zeroes and nothing else, whatever is written before and after the look", async () => {
    const gate = makeGate();
    const write = fc.record({ at: fc.nat(LENGTH - 1), length: fc.integer({ min: 1, max: 3 * KIB64 }) });
    const writes = fc.array(write, { maxLength: 4 });
    const units = fc.uniqueArray(fc.nat(UNITS - 1), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(units, writes, writes, async (filled, before, meanwhile) => {
        makeSparse(filled.length === UNITS ? [] : filled);
        const driver = await open({}, { answer: HELD });
        const writeAll = async (list: readonly { at: number; length: number }[]): Promise<void> => {
          for (const { at, length } of list) {
            const start = Math.floor(at / 512) * 512;
            const end = Math.min(LENGTH, start + Math.ceil(length / 512) * 512);
            await driver.write(start, IoVector.of(data(end - start)));
          }
        };
        await writeAll(before);
        const zero = zeroUnits(driver);
        await gate.looked();
        await writeAll(meanwhile);
        await gate.answer();
        const bytes = readFileSync(inFolder("a.img"));
        const empty = allBut().filter((unit) =>
          bytes.subarray(unit * KIB64, (unit + 1) * KIB64).every((byte) => byte === 0),
        );
        expect(await zero).toEqual(empty);
        await expectZeroable(driver);
        await opened.pop()!.close();
      }),
      { numRuns: 20 },
    );
  });
});

// What a file driver knows of the holes that an image had when it was opened.
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import fc from "fast-check";
import { afterEach, expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import type { BlockStatus } from "../../../../src/block/driver.ts";
import { FileDriver, type FileDriverOptions } from "../../../../src/block/drivers/file/file-driver.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const MIB = 1 << 20;
const KIB64 = 1 << 16;

const inFolder = useTemporaryFolder();
const opened: FileDriver[] = [];
afterEach(async () => {
  for (const driver of opened.splice(0)) await driver.close();
});

async function open(options: Partial<FileDriverOptions> = {}, perl = "perl"): Promise<FileDriver> {
  const driver = await FileDriver.open({ path: inFolder("a.img"), ...options }, { perl });
  opened.push(driver);
  return driver;
}

/** A file of `lengthBytes` with 64 KiB of data at each of these units of 64 KiB. */
function makeSparse(lengthBytes: number, units: readonly number[]): void {
  const path = inFolder("a.img");
  writeFileSync(path, "");
  truncateSync(path, lengthBytes);
  const file = openSync(path, "r+");
  for (const unit of units) writeSync(file, new Uint8Array(KIB64).fill(0xa5), 0, KIB64, unit * KIB64);
  closeSync(file);
}

/** The runs that the driver tells of, as `zero` or `data` with start and length. */
function statusOf(driver: FileDriver): string[] {
  const runs: string[] = [];
  for (let at = 0; at < driver.lengthBytes; ) {
    const { zero, lengthBytes } = driver.blockStatus(at, driver.lengthBytes - at) as BlockStatus;
    runs.push(`${zero ? "zero" : "data"} ${at}+${lengthBytes}`);
    at += lengthBytes;
  }
  return runs;
}

describeWithTools(["perl"], "Holes of an image", () => {
  it("are zero in the block status, and what lies between them is data", async () => {
    makeSparse(8 * MIB, [16, 17, 48]);
    expect(statusOf(await open())).toEqual([
      `zero 0+${MIB}`,
      `data ${MIB}+${2 * KIB64}`,
      `zero ${MIB + 2 * KIB64}+${2 * MIB - 2 * KIB64}`,
      `data ${3 * MIB}+${KIB64}`,
      `zero ${3 * MIB + KIB64}+${5 * MIB - KIB64}`,
    ]);
  });

  it("are known to readers as well, and none are where data are everywhere", async () => {
    makeSparse(4 * KIB64, [0, 1, 2, 3]);
    expect(statusOf(await open({ readOnly: true }))).toEqual([`data 0+${4 * KIB64}`]);
  });

  it("reach to the end of the last sector of a file that ends within it", async () => {
    makeSparse(MIB + 100, [0]);
    expect(statusOf(await open())).toEqual([`data 0+${KIB64}`, `zero ${KIB64}+${MIB + 512 - KIB64}`]);
  });

  it("are data as soon as they are written to", async () => {
    makeSparse(MIB, []);
    const driver = await open();
    const data = new IoVector(new Uint8Array(4096).fill(1));
    data.push(0, 4096);
    await driver.write(KIB64, data);
    expect(statusOf(driver)).toEqual([
      `zero 0+${KIB64}`,
      `data ${KIB64}+4096`,
      `zero ${KIB64 + 4096}+${MIB - KIB64 - 4096}`,
    ]);
  });

  it("stay holes when zeroes are written to them", async () => {
    makeSparse(64 * MIB, []);
    const driver = await open();
    const { blocks } = statSync(inFolder("a.img"));
    await driver.writeZeroes(0, 64 * MIB, { mayUnmap: false, noFallback: true });
    expect(statSync(inFolder("a.img")).blocks).toBe(blocks);
  });

  it("are not looked for without QEMU's lock: somebody else might fill them", async () => {
    makeSparse(MIB, []);
    expect(statusOf(await open({ locking: "off" }))).toEqual([`data 0+${MIB}`]);
    expect(statusOf(await open({ readOnly: true }, "/nonexistent/perl"))).toEqual([`data 0+${MIB}`]);
  });

  it("hold zeroes and nothing else, whatever is where", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.nat(31)), async (units) => {
        makeSparse(32 * KIB64, units);
        const driver = await FileDriver.open({ path: inFolder("a.img") });
        const bytes = readFileSync(inFolder("a.img"));
        const runs = statusOf(driver);
        await driver.close();
        for (const run of runs) {
          const [kind, range] = run.split(" ") as [string, string];
          const [start, length] = range.split("+").map(Number) as [number, number];
          const isZero = bytes.subarray(start, start + length).every((byte) => byte === 0);
          if (kind === "zero") expect(isZero, run).toBe(true);
        }
      }),
      { numRuns: 20 },
    );
  });
});

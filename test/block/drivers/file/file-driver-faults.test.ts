// What a file driver makes of system calls that fail or do half their work.
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { BlockError } from "../../../../src/base/errors.ts";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { FileDriver } from "../../../../src/block/drivers/file/file-driver.ts";
import { type Fault, FaultyFileIo, type IoCall } from "./support/faulty-file-io.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const LENGTH = 65_536;
const WAYS = [
  { xIo: "auto", segments: 1 },
  { xIo: "auto", segments: 3 },
  { xIo: "threads", segments: 1 },
  { xIo: "threads", segments: 3 },
] as const;

describe.each(WAYS)("FileDriver with x-io=$xIo and $segments segments", ({ xIo, segments }) => {
  const inFolder = useTemporaryFolder();
  const opened: FileDriver[] = [];
  afterEach(async () => {
    for (const driver of opened.splice(0)) await driver.close();
  });

  async function open(plan: (call: IoCall) => Fault): Promise<{ driver: FileDriver; io: FaultyFileIo }> {
    const io = new FaultyFileIo(plan);
    writeFileSync(inFolder("a.img"), new Uint8Array(LENGTH).fill(0x11));
    const driver = await FileDriver.open({ path: inFolder("a.img"), xIo, locking: "off" }, { io });
    opened.push(driver);
    return { driver, io };
  }

  /** `byte` 6000 times, in as many segments as this run is about. */
  function vectorOf(byte: number): IoVector {
    const vector = new IoVector(new Uint8Array(20_000).fill(byte));
    for (let i = 0; i < segments; i++) vector.push(i * 6500, 6000 / segments);
    return vector;
  }

  function bytesOf(vector: IoVector): Set<number> {
    const bytes = new Uint8Array(vector.byteLength);
    vector.copyTo(bytes, 0);
    return new Set(bytes);
  }

  /** The error of an operation, thrown or rejected. */
  async function failureOf(operation: () => void | Promise<void>): Promise<unknown> {
    try {
      await operation();
    } catch (error) {
      return error;
    }
    expect.fail("succeeds");
  }

  it("goes on after every short read, wherever it ends", async () => {
    const { driver, io } = await open(({ number }) => ({ atMost: [1, 1999, 2000, 1, 700][number] ?? 100_000 }));
    const vector = vectorOf(0xff);
    await driver.read(4096, vector);
    expect(bytesOf(vector)).toEqual(new Set([0x11]));
    expect(io.calls.map(({ position }) => position - 4096)).toEqual([0, 1, 2000, 4000, 4001, 4701]);
  });

  it("goes on after every short write, wherever it ends", async () => {
    const { driver, io } = await open(({ number }) => ({ atMost: [1, 1999, 2000, 1, 700][number] ?? 100_000 }));
    await driver.write(4096, vectorOf(0x22));
    const file = readFileSync(inFolder("a.img"));
    expect(new Set(file.subarray(4096, 10_096))).toEqual(new Set([0x22]));
    expect(new Set([file[4095], file[10_096]])).toEqual(new Set([0x11]));
    expect(io.calls.map(({ position }) => position - 4096)).toEqual([0, 1, 2000, 4000, 4001, 4701]);
  });

  it.each(["EINTR", "EAGAIN"])("makes a call again that ended with %s, anywhere in the request", async (code) => {
    const { driver, io } = await open(({ number }) => (number % 2 === 0 ? { code } : { atMost: 2500 }));
    const vector = vectorOf(0xff);
    await driver.read(0, vector);
    expect(bytesOf(vector)).toEqual(new Set([0x11]));
    expect(io.calls.length).toBe(6);
    await driver.write(0, vectorOf(0x33));
    expect(new Set(readFileSync(inFolder("a.img")).subarray(0, 6000))).toEqual(new Set([0x33]));
    expect(io.calls.length).toBe(12);
  });

  it.each([
    ["EINTR", "EIO"],
    ["EAGAIN", "EAGAIN"],
  ])("does not try for ever what always ends with %s", async (code, errno) => {
    const { driver, io } = await open(() => ({ code }));
    expect(await failureOf(() => driver.read(0, vectorOf(0)))).toMatchObject({ name: "BlockError", errno });
    expect(await failureOf(() => driver.write(0, vectorOf(0)))).toMatchObject({ name: "BlockError", errno });
    expect(io.calls.length).toBeLessThan(300);
  });

  it.each(["ENOSPC", "EIO", "EDQUOT", "EFBIG"])(
    "passes %s on as such, in the first call and in a later one",
    async (code) => {
      for (const failing of [0, 1, 2]) {
        const { driver } = await open(({ number }) => (number === failing ? { code } : { atMost: 1000 }));
        const error = await failureOf(() => driver.write(8192, vectorOf(0x44)));
        expect(error).toBeInstanceOf(BlockError);
        expect(error).toMatchObject({ errno: code });
        expect((error as BlockError).message).toContain(`'${inFolder("a.img")}': write of 6000 bytes at 8192: `);
        // What was written before the failure is there; nothing after it is.
        const file = readFileSync(inFolder("a.img"));
        const written = failing * 1000;
        expect(file.subarray(8192, 8192 + written).every((byte) => byte === 0x44)).toBe(true);
        expect(file.subarray(8192 + written).every((byte) => byte === 0x11)).toBe(true);

        const { driver: reading } = await open(({ number }) => (number === failing ? { code } : { atMost: 1000 }));
        expect(await failureOf(() => reading.read(8192, vectorOf(0)))).toMatchObject({ errno: code });
        const { driver: zeroing } = await open(({ number }) => (number === failing ? { code } : { atMost: 1000 }));
        const zeroes = { mayUnmap: false, noFallback: false };
        expect(await failureOf(() => zeroing.writeZeroes(0, 6000, zeroes))).toMatchObject({ errno: code });
        expect(zeroing.blockStatus(0, LENGTH)).toMatchObject({ lengthBytes: LENGTH, data: true });
      }
    },
  );

  it("makes EIO of an error that it has no name for", async () => {
    const { driver } = await open(() => ({ code: "EWEIRD" }));
    expect(await failureOf(() => driver.read(0, vectorOf(0)))).toMatchObject({ errno: "EIO" });
  });

  it("takes a write that moves nothing and says nothing for a full disk", async () => {
    const { driver } = await open(() => ({ atMost: 0 }));
    expect(await failureOf(() => driver.write(0, vectorOf(0x55)))).toMatchObject({ errno: "ENOSPC" });
  });

  it("knows nothing of a range any more when a write to it failed", async () => {
    const io = new FaultyFileIo(({ name }) => (name === "write" ? { code: "EIO" } : undefined));
    const path = inFolder("new.img");
    const driver = await FileDriver.create({ path, lengthBytes: LENGTH, xIo, locking: "off" }, { io });
    opened.push(driver);
    expect(await failureOf(() => driver.write(8192, vectorOf(0x66)))).toMatchObject({ errno: "EIO" });
    expect(driver.blockStatus(0, LENGTH)).toMatchObject({ lengthBytes: 8192, zero: true });
    expect(driver.blockStatus(8192, LENGTH - 8192)).toMatchObject({ lengthBytes: 8192, data: true });
  });
});

// The data of a file driver: what is read and written, zeroed, resized and known of it.
import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { fillZeroes, IoVector } from "../../../../src/base/io-vector.ts";
import {
  type CreateFileOptions,
  createImageFile,
  FileDriver,
  type FileDriverOptions,
} from "../../../../src/block/drivers/file/file-driver.ts";
import { FaultyFileIo } from "./support/faulty-file-io.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const MIB = 1 << 20;

describe("FileDriver", () => {
  const inFolder = useTemporaryFolder();
  const opened: FileDriver[] = [];
  afterEach(async () => {
    for (const driver of opened.splice(0)) await driver.close();
  });

  async function open(options: Partial<FileDriverOptions> = {}, io = new FaultyFileIo()): Promise<FileDriver> {
    const driver = await FileDriver.open({ path: inFolder("a.img"), locking: "off", ...options }, { io });
    opened.push(driver);
    return driver;
  }

  async function create(options: Partial<CreateFileOptions> = {}, io = new FaultyFileIo()): Promise<FileDriver> {
    const whole = { path: inFolder("a.img"), locking: "off", lengthBytes: MIB, ...options } as const;
    const driver = await FileDriver.create(whole, { io });
    opened.push(driver);
    return driver;
  }

  it("reads what the file holds and writes to it at once, within the call", async () => {
    writeFileSync(inFolder("a.img"), pattern(8192, 1));
    const driver = await open();
    expect(driver.driverName).toBe("file");
    expect(driver.lengthBytes).toBe(8192);
    const buffer = new Uint8Array(4096);
    expect(driver.read(512, IoVector.of(buffer))).toBeUndefined();
    expect(buffer).toEqual(pattern(8192, 1).subarray(512, 4608));

    expect(driver.write(1000, IoVector.of(pattern(3000, 2)))).toBeUndefined();
    const expected = pattern(8192, 1);
    expected.set(pattern(3000, 2), 1000);
    expect(new Uint8Array(readFileSync(inFolder("a.img")))).toEqual(expected);
  });

  it("scatters and gathers over the segments of a vector in shared memory and leaves the vector as it was", async () => {
    writeFileSync(inFolder("a.img"), pattern(16384, 3));
    const driver = await open();
    const ram = new Uint8Array(new SharedArrayBuffer(65536));
    const vector = new IoVector(ram);
    vector.push(40000, 512);
    vector.push(100, 4096);
    vector.push(60000, 1);
    vector.push(61000, 511);
    expect(driver.read(1024, vector)).toBeUndefined();
    const gathered = new Uint8Array(5120);
    vector.copyTo(gathered, 0);
    expect(gathered).toEqual(pattern(16384, 3).subarray(1024, 6144));
    expect([vector.first, vector.end, vector.byteLength]).toEqual([0, 4, 5120]);

    expect(driver.write(8192, vector)).toBeUndefined();
    const file = readFileSync(inFolder("a.img"));
    expect(new Uint8Array(file.subarray(8192, 13312))).toEqual(gathered);
    expect(file.length).toBe(16384);
    expect([vector.first, vector.end, vector.byteLength, vector.offsets[0], vector.lengths[0]]).toEqual([
      0, 4, 5120, 40000, 512,
    ]);
  });

  it.each(["auto", "threads"] as const)(
    "moves vectors of more segments than one system call takes (%s)",
    async (xIo) => {
      const driver = await create({ xIo });
      const bytes = pattern(200_000, 4);
      const vector = new IoVector(bytes);
      for (let i = 0; i < 3000; i++) vector.push(i * 64, 48);
      await driver.write(4096, vector);
      const expected = new Uint8Array(144_000);
      vector.copyTo(expected, 0);
      expect(Buffer.compare(readFileSync(inFolder("a.img")).subarray(4096, 148_096), expected)).toBe(0);
      bytes.fill(0xff);
      await driver.read(4096, vector);
      const again = new Uint8Array(144_000);
      vector.copyTo(again, 0);
      expect(Buffer.compare(again, expected)).toBe(0);
      expect(bytes[48]).toBe(0xff);
    },
  );

  it("carries out requests of up to 1 MiB within the call, and larger ones on the pool", async () => {
    const io = new FaultyFileIo();
    const driver = await create({ lengthBytes: 4 * MIB }, io);
    const data = pattern(MIB + 1, 5);
    expect(driver.write(0, IoVector.of(data, 0, MIB))).toBeUndefined();
    expect(driver.read(0, IoVector.of(new Uint8Array(MIB)))).toBeUndefined();
    const write = driver.write(MIB, IoVector.of(data));
    expect(write).toBeInstanceOf(Promise);
    await write;
    const buffer = new Uint8Array(MIB + 1);
    const read = driver.read(MIB, IoVector.of(buffer));
    expect(read).toBeInstanceOf(Promise);
    await read;
    expect(Buffer.compare(buffer, data)).toBe(0);
    expect(io.calls.filter(({ name }) => name !== "ftruncate").map(({ name, sync }) => [name, sync])).toEqual([
      ["write", true],
      ["read", true],
      ["write", false],
      ["read", false],
    ]);
  });

  it("with x-io=threads carries out everything on the pool", async () => {
    const io = new FaultyFileIo();
    writeFileSync(inFolder("a.img"), pattern(8192, 6));
    const driver = await open({ xIo: "threads" }, io);
    const buffer = new Uint8Array(512);
    const pending = [
      driver.read(512, IoVector.of(buffer)),
      driver.write(1024, IoVector.of(pattern(512, 7))),
      driver.writeZeroes(2048, 512, { mayUnmap: false, noFallback: false }),
    ];
    for (const promise of pending) expect(promise).toBeInstanceOf(Promise);
    await Promise.all(pending);
    expect(io.calls.length).toBe(3);
    expect(io.calls.some(({ sync }) => sync)).toBe(false);
    expect(buffer).toEqual(pattern(8192, 6).subarray(512, 1024));
    const expected = pattern(8192, 6);
    expected.set(pattern(512, 7), 1024);
    expected.fill(0, 2048, 2560);
    expect(new Uint8Array(readFileSync(inFolder("a.img")))).toEqual(expected);
  });

  describe.each(["auto", "threads"] as const)("of a file that ends within a sector (x-io=%s)", (xIo) => {
    it("rounds the length up to 512 and reads the missing tail as zeroes", async () => {
      writeFileSync(inFolder("a.img"), pattern(1000, 8));
      const driver = await open({ xIo });
      expect(driver.lengthBytes).toBe(1024);
      const buffer = new Uint8Array(600).fill(0xff);
      const vector = new IoVector(buffer);
      vector.push(500, 20);
      vector.push(0, 492);
      await driver.read(512, vector);
      const expected = new Uint8Array(512);
      expected.set(pattern(1000, 8).subarray(512));
      const got = new Uint8Array(512);
      vector.copyTo(got, 0);
      expect(got).toEqual(expected);
      const one = new Uint8Array(512).fill(0xff);
      await driver.read(512, IoVector.of(one));
      expect(one).toEqual(expected);
      const beyond = new Uint8Array(24).fill(0xff);
      await driver.read(1000, IoVector.of(beyond));
      expect(beyond).toEqual(new Uint8Array(24));
      expect(buffer[492]).toBe(0xff);
      expect(statSync(inFolder("a.img")).size).toBe(1000);
    });

    it("makes the file longer when the tail is written", async () => {
      writeFileSync(inFolder("a.img"), pattern(1000, 9));
      const driver = await open({ xIo });
      await driver.write(512, IoVector.of(pattern(512, 10)));
      expect(driver.lengthBytes).toBe(1024);
      const expected = new Uint8Array(1024);
      expected.set(pattern(1000, 9).subarray(0, 512));
      expected.set(pattern(512, 10), 512);
      expect(new Uint8Array(readFileSync(inFolder("a.img")))).toEqual(expected);
    });

    it("reads zeroes where somebody has cut the file", async () => {
      writeFileSync(inFolder("a.img"), pattern(8192, 11));
      const driver = await open({ xIo });
      truncateSync(inFolder("a.img"), 100);
      const buffer = new Uint8Array(8192).fill(0xff);
      await driver.read(0, IoVector.of(buffer));
      expect(buffer.subarray(0, 100)).toEqual(pattern(8192, 11).subarray(0, 100));
      expect(buffer.subarray(100)).toEqual(new Uint8Array(8092));
    });
  });

  it("opens an empty file as an image of length zero", async () => {
    writeFileSync(inFolder("a.img"), "");
    const driver = await open();
    expect(driver.lengthBytes).toBe(0);
    await driver.resize(4096);
    expect(driver.lengthBytes).toBe(4096);
    expect(driver.blockStatus(0, 4096)).toEqual({ lengthBytes: 4096, allocated: true, data: false, zero: true });
  });

  describe("write zeroes", () => {
    const plain = { mayUnmap: false, noFallback: false };

    it("writes nothing where a new image is zero already: holes stay holes", async () => {
      const io = new FaultyFileIo();
      const driver = await create({ lengthBytes: 256 * MIB }, io);
      const calls = io.calls.length;
      expect(driver.writeZeroes(0, 256 * MIB, plain)).toBeUndefined();
      expect(driver.writeZeroes(1000, 3000, { mayUnmap: true, noFallback: true })).toBeUndefined();
      expect(io.calls.length).toBe(calls);
      expect(statSync(inFolder("a.img")).blocks).toBe(0);
    });

    it("writes to those places only that have been written", async () => {
      const io = new FaultyFileIo();
      const driver = await create({}, io);
      await driver.write(10_000, IoVector.of(pattern(100, 12)));
      await driver.write(500_000, IoVector.of(pattern(10_000, 13)));
      io.calls.length = 0;
      expect(driver.writeZeroes(0, MIB, plain)).toBeUndefined();
      expect(io.calls.map(({ name, position, length }) => [name, position, length])).toEqual([
        ["write", 8192, 4096],
        ["write", 499_712, 12_288],
      ]);
      expect(readFileSync(inFolder("a.img")).every((byte) => byte === 0)).toBe(true);
      io.calls.length = 0;
      await driver.writeZeroes(0, MIB, plain);
      expect(io.calls).toEqual([]);
    });

    it("knows nothing of what was there when the image was opened, zero or not", async () => {
      await createImageFile({ path: inFolder("a.img"), lengthBytes: MIB });
      const io = new FaultyFileIo();
      const driver = await open({}, io);
      await driver.writeZeroes(4096, 8192, plain);
      expect(io.calls.map(({ name, position, length }) => [name, position, length])).toEqual([["write", 4096, 8192]]);
    });

    it("fails with ENOTSUP, nothing written, where it would have to write and must not", async () => {
      const io = new FaultyFileIo();
      const driver = await create({}, io);
      await driver.write(4096, IoVector.of(pattern(512, 14)));
      io.calls.length = 0;
      const zero = (): unknown => driver.writeZeroes(0, MIB, { mayUnmap: true, noFallback: true });
      expect(zero).toThrow(expect.objectContaining({ name: "BlockError", errno: "ENOTSUP" }));
      expect(io.calls).toEqual([]);
    });

    it("of more than 1 MiB goes on the pool, in bounded pieces", async () => {
      writeFileSync(inFolder("a.img"), pattern(5 * MIB, 15));
      const io = new FaultyFileIo();
      const driver = await open({}, io);
      const pending = driver.writeZeroes(100, 3 * MIB, plain);
      expect(pending).toBeInstanceOf(Promise);
      await pending;
      expect(io.calls.map(({ position, length, sync }) => [position, length, sync])).toEqual([
        [100, MIB, false],
        [100 + MIB, MIB, false],
        [100 + 2 * MIB, MIB, false],
      ]);
      const expected = pattern(5 * MIB, 15);
      fillZeroes(expected, 100, 3 * MIB);
      expect(Buffer.compare(readFileSync(inFolder("a.img")), expected)).toBe(0);
      // Known from now on, in whole granules.
      expect(driver.blockStatus(0, 5 * MIB)).toMatchObject({ lengthBytes: 4096, data: true });
      expect(driver.blockStatus(4096, 5 * MIB - 4096)).toMatchObject({ lengthBytes: 3 * MIB - 4096, zero: true });
    });

    it("of the missing tail keeps it zero", async () => {
      writeFileSync(inFolder("a.img"), pattern(1000, 16));
      const driver = await open();
      await driver.writeZeroes(512, 512, plain);
      const buffer = new Uint8Array(1024);
      await driver.read(0, IoVector.of(buffer));
      expect(buffer.subarray(0, 512)).toEqual(pattern(1000, 16).subarray(0, 512));
      expect(buffer.subarray(512)).toEqual(new Uint8Array(512));
    });
  });

  it("makes exactly the range read as zeroes that is discarded, and counts", async () => {
    const driver = await create();
    await driver.write(0, IoVector.of(new Uint8Array(8192).fill(5)));
    await driver.discard(700, 1000);
    const bytes = new Uint8Array(8192);
    await driver.read(0, IoVector.of(bytes));
    expect(bytes).toEqual(new Uint8Array(8192).fill(5).fill(0, 700, 1700));
    expect(driver.discards).toEqual({ done: 1, failed: 0, bytes: 1000 });
  });

  describe("block status", () => {
    it("is data for what was there, and zero for what the driver made and has not written", async () => {
      writeFileSync(inFolder("a.img"), pattern(65536, 17));
      const driver = await open();
      expect(driver.blockStatus(512, 1024)).toEqual({ lengthBytes: 1024, allocated: true, data: true, zero: false });
      await driver.resize(2 * MIB);
      await driver.write(MIB, IoVector.of(pattern(512, 18)));
      expect(driver.blockStatus(0, 2 * MIB)).toMatchObject({ lengthBytes: 65536, data: true, zero: false });
      expect(driver.blockStatus(65536, 100)).toMatchObject({ lengthBytes: 100, data: false, zero: true });
      expect(driver.blockStatus(70000, MIB)).toMatchObject({ lengthBytes: MIB - 70000, data: false, zero: true });
      expect(driver.blockStatus(MIB + 512, MIB - 512)).toMatchObject({ lengthBytes: 3584, data: true });
      expect(driver.blockStatus(MIB + 4096, MIB - 4096)).toMatchObject({ lengthBytes: MIB - 4096, zero: true });
    });

    it("stays data where a write and a write of zeroes overlapped on the pool", async () => {
      const driver = await create({ xIo: "threads" });
      const zeroes = { mayUnmap: false, noFallback: false };
      await driver.write(0, IoVector.of(pattern(65536, 19)));
      await Promise.all([driver.writeZeroes(0, 65536, zeroes), driver.write(0, IoVector.of(pattern(65536, 20)))]);
      expect(driver.blockStatus(0, 65536)).toMatchObject({ lengthBytes: 65536, data: true });
      await Promise.all([driver.write(0, IoVector.of(pattern(65536, 21))), driver.writeZeroes(0, 65536, zeroes)]);
      expect(driver.blockStatus(0, 65536)).toMatchObject({ lengthBytes: 65536, data: true });
      await driver.writeZeroes(0, 65536, zeroes);
      expect(driver.blockStatus(0, 65536)).toMatchObject({ lengthBytes: 65536, zero: true });
    });

    it("stays data where zeroes were written within the call beside a write on the pool", async () => {
      const driver = await create({ lengthBytes: 4 * MIB });
      const pending = driver.write(0, IoVector.of(pattern(2 * MIB, 25)));
      expect(driver.writeZeroes(65536, 65536, { mayUnmap: false, noFallback: false })).toBeUndefined();
      expect(driver.blockStatus(0, 4 * MIB)).toMatchObject({ lengthBytes: 2 * MIB, data: true });
      await pending;
      expect(driver.blockStatus(0, 4 * MIB)).toMatchObject({ lengthBytes: 2 * MIB, data: true });
    });

    it("of images of many TiB takes bounded memory and a larger granule", async () => {
      const lengthBytes = 8 * 2 ** 40;
      const driver = await create({ lengthBytes });
      expect(driver.blockStatus(0, lengthBytes)).toMatchObject({ lengthBytes, zero: true });
      await driver.write(2 ** 42 + 5 * MIB, IoVector.of(pattern(512, 22)));
      expect(driver.blockStatus(0, lengthBytes)).toMatchObject({ lengthBytes: 2 ** 42 + 5 * MIB, zero: true });
      expect(driver.blockStatus(2 ** 42 + 5 * MIB, MIB)).toMatchObject({ lengthBytes: 512 * 1024, data: true });
    });
  });

  describe("resize", () => {
    it("sets the file's length to the byte and the image's to the sector", async () => {
      writeFileSync(inFolder("a.img"), pattern(8192, 23));
      const driver = await open();
      await driver.resize(1000);
      expect([statSync(inFolder("a.img")).size, driver.lengthBytes]).toEqual([1000, 1024]);
      await driver.resize(20_000);
      expect([statSync(inFolder("a.img")).size, driver.lengthBytes]).toEqual([20_000, 20_480]);
      const buffer = new Uint8Array(20_480).fill(0xff);
      await driver.read(0, IoVector.of(buffer));
      expect(buffer.subarray(0, 1000)).toEqual(pattern(8192, 23).subarray(0, 1000));
      expect(buffer.subarray(1000)).toEqual(new Uint8Array(19_480));
    });

    it("refuses what offsets cannot reach, and changes nothing when it fails", async () => {
      for (const xIo of ["auto", "threads"] as const) {
        const io = new FaultyFileIo((call) => (call.name === "ftruncate" ? { code: "EFBIG" } : undefined));
        writeFileSync(inFolder("a.img"), pattern(8192, 24));
        const driver = await open({ xIo }, io);
        const resize = async (lengthBytes: number): Promise<void> => driver.resize(lengthBytes);
        await expect(resize(2 ** 53 - 511)).rejects.toMatchObject({ errno: "EFBIG" });
        expect(io.calls.length).toBe(0);
        for (const lengthBytes of [2 ** 40, 512])
          await expect(resize(lengthBytes)).rejects.toMatchObject({
            errno: "EFBIG",
            message: `Could not resize '${inFolder("a.img")}': File too large`,
          });
        expect(io.calls.map(({ sync }) => sync)).toEqual([xIo === "auto", false]);
        expect(driver.lengthBytes).toBe(8192);
        expect(driver.blockStatus(0, 8192)).toMatchObject({ data: true });
      }
    });
  });
});

/** Bytes that are never zero and differ from seed to seed. */
function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = 1 + ((i * 7 + (i >> 8) * 13 + seed * 31) % 255);
  return bytes;
}

// The driver that keeps nothing.
import { describe, expect, it } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import { NullDriver } from "../../../src/block/drivers/null.ts";

describe("NullDriver", () => {
  it("reads as zeroes whatever was written", async () => {
    const driver = new NullDriver({ lengthBytes: 2 ** 50 });
    const bytes = new Uint8Array(512).fill(3);
    await driver.write();
    await driver.read(2 ** 49, IoVector.of(bytes, 256, 128));
    expect(bytes.every((byte, i) => byte === (i >= 256 && i < 384 ? 0 : 3))).toBe(true);
    expect(driver.blockStatus(0, 4096)).toEqual({ lengthBytes: 4096, allocated: true, data: false, zero: true });
    expect(driver.lengthBytes).toBe(2 ** 50);
  });

  it("leaves buffers alone when asked to, and then knows of no zeroes", async () => {
    const driver = new NullDriver({ lengthBytes: 1024, readZeroes: false, readOnly: true });
    const bytes = new Uint8Array(512).fill(3);
    await driver.read(0, IoVector.of(bytes));
    expect(bytes).toEqual(new Uint8Array(512).fill(3));
    expect(driver.blockStatus(0, 512)).toMatchObject({ data: true, zero: false });
    expect(driver.readOnly).toBe(true);
  });
});

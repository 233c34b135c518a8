// The driver over an array.
import { describe, expect, it } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";

describe("MemoryDriver", () => {
  it("keeps what is written, segment by segment, and nothing beside it", () => {
    const driver = new MemoryDriver({ lengthBytes: 2048 });
    const memory = Uint8Array.from({ length: 2048 }, (_, i) => i % 251);
    const vector = new IoVector(memory);
    vector.push(1000, 300);
    vector.push(0, 212);
    driver.write(512, vector);
    const expected = new Uint8Array(2048);
    expected.set(memory.subarray(1000, 1300), 512);
    expected.set(memory.subarray(0, 212), 812);
    expect(driver.bytes).toEqual(expected);
    const into = new Uint8Array(1024);
    driver.read(256, IoVector.of(into));
    expect(into).toEqual(expected.subarray(256, 1280));
  });

  it("zeroes and discards ranges, and says that all of it is data", () => {
    const bytes = new Uint8Array(2048).fill(7);
    const driver = new MemoryDriver({ bytes });
    driver.writeZeroes(512, 512);
    driver.discard(1536, 512);
    expect(driver.bytes).toBe(bytes);
    expect([0, 511, 512, 1023, 1024, 1535, 1536, 2047].map((at) => bytes[at])).toEqual([7, 7, 0, 0, 7, 7, 0, 0]);
    expect(driver.blockStatus(0, 1024)).toEqual({ lengthBytes: 1024, allocated: true, data: true, zero: false });
  });

  it("grows with zeroes, shrinks, and rounds its length up to 512", () => {
    const driver = new MemoryDriver({ bytes: new Uint8Array(1024).fill(7) });
    driver.resize(1500);
    expect(driver.lengthBytes).toBe(1536);
    expect([...driver.bytes.subarray(1023, 1025)]).toEqual([7, 0]);
    driver.resize(512);
    expect(driver.bytes).toEqual(new Uint8Array(512).fill(7));
  });

  it("asserts a length in sectors", () => {
    expect(() => new MemoryDriver({ lengthBytes: 1000 })).toThrow("no multiple of 512");
    expect(new MemoryDriver({ lengthBytes: 512, readOnly: true }).readOnly).toBe(true);
  });
});

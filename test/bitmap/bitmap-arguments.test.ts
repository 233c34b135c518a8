// The arguments of `block-dirty-bitmap-add`: docs/reference/bitmaps.md §2.2 and §3.1.
import { describe, expect, it } from "vitest";
import { QmpError } from "../../src/base/errors.ts";
import {
  checkBitmapName,
  checkGranularity,
  defaultGranularity,
  isBitmapNameTooLong,
} from "../../src/bitmap/bitmap-arguments.ts";

describe("checkBitmapName", () => {
  it("refuses the empty name alone", () => {
    expect(() => checkBitmapName("")).toThrow(new QmpError("Bitmap name cannot be empty"));
    for (const name of ["b", " ", "\0", "'\"\\", "ü", "💾"]) expect(() => checkBitmapName(name)).not.toThrow();
  });
});

describe("isBitmapNameTooLong", () => {
  it("allows 1023 bytes of UTF-8", () => {
    expect([isBitmapNameTooLong("x".repeat(1023)), isBitmapNameTooLong("x".repeat(1024))]).toEqual([false, true]);
    expect([isBitmapNameTooLong("ü".repeat(511)), isBitmapNameTooLong("ü".repeat(512))]).toEqual([false, true]);
    expect([isBitmapNameTooLong("💾".repeat(255)), isBitmapNameTooLong("💾".repeat(256))]).toEqual([false, true]);
  });
});

describe("checkGranularity", () => {
  it("takes powers of two from 512 to 2^31", () => {
    for (let exponent = 9; exponent <= 31; exponent++) expect(() => checkGranularity(2 ** exponent)).not.toThrow();
  });

  it("refuses others with QEMU's texts", () => {
    for (const value of [0, 1, 256, 511, 513, 768, 2 ** 31 + 1, 2 ** 32 - 1]) {
      expect(() => checkGranularity(value)).toThrow(new QmpError("Granularity must be power of 2 and at least 512"));
    }
    for (const value of [-1, -512, 2 ** 32, 2 ** 40]) {
      expect(() => checkGranularity(value)).toThrow(new QmpError("Parameter 'granularity' expects uint32_t"));
    }
    for (const value of [0.5, 512.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => checkGranularity(value)).toThrow(new QmpError("Parameter 'granularity' expects uint64"));
    }
  });
});

describe("defaultGranularity", () => {
  it("is the cluster size within 4 KiB and 64 KiB, and 64 KiB without clusters", () => {
    const sizes = [undefined, 512, 4096, 32768, 65536, 2 * 1024 * 1024];
    expect(sizes.map(defaultGranularity)).toEqual([65536, 4096, 4096, 32768, 65536, 65536]);
  });
});

// Geometry, changes, merge and truncation of the hierarchical bitmap: docs/reference/bitmaps.md §1.1 and §1.2.
import { describe, expect, it } from "vitest";
import { fitsBitmap, HierarchicalBitmap } from "../../src/bitmap/hierarchical-bitmap.ts";
import { dirtyAreas } from "./dirty-area-list.ts";

const MIB = 1 << 20;

describe("HierarchicalBitmap geometry", () => {
  it("starts clean, with the size and granularity given", () => {
    const bitmap = new HierarchicalBitmap(4097, 4096);
    expect([bitmap.sizeBytes, bitmap.granularityBytes, bitmap.countBytes]).toEqual([4097, 4096, 0]);
    expect(bitmap.nextDirty(0)).toBe(-1);
  });

  it("counts a partial last group in full: 4097 bytes of 4 KiB groups are 8192 dirty bytes", () => {
    const bitmap = new HierarchicalBitmap(4097, 4096);
    bitmap.set(0, 4097);
    expect(bitmap.countBytes).toBe(8192);
  });

  it("may have no byte at all", async () => {
    const bitmap = new HierarchicalBitmap(0, 65536);
    expect([bitmap.nextDirty(0), bitmap.nextZero(0), bitmap.iterate().next()]).toEqual([-1, -1, -1]);
    expect(bitmap.areas().next()).toBe(false);
    expect(await bitmap.sha256()).toBe("af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
  });

  it("takes granularities from 1 byte to 2^63", () => {
    const fine = new HierarchicalBitmap(10, 1);
    fine.set(3, 2);
    expect(dirtyAreas(fine)).toEqual([[3, 2]]);
    const coarse = new HierarchicalBitmap(2 ** 53, 2 ** 63);
    coarse.set(2 ** 52, 1);
    expect([coarse.countBytes, coarse.nextDirty(5)]).toEqual([2 ** 63, 5]);
    expect(dirtyAreas(coarse)).toEqual([[0, 2 ** 53]]);
  });

  it("refuses granularities that are no power of two", () => {
    for (const granularity of [0, -1, 0.5, 3, 768, 2 ** 64, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => new HierarchicalBitmap(1024, granularity)).toThrow("granularity is not a power of two");
    }
  });

  it("refuses more than 2^53 bytes or 2^41 bits, and says so beforehand", () => {
    const tooLarge: [number, number][] = [
      [2 ** 53 + 2, 65536],
      [2 ** 41 + 1, 1],
      [2 ** 50 + 512, 512],
      [-1, 512],
      [Number.NaN, 512],
    ];
    for (const [size, granularity] of tooLarge) {
      expect(fitsBitmap(size, granularity)).toBe(false);
      expect(() => new HierarchicalBitmap(size, granularity)).toThrow("bitmap of more than 2^53 bytes or 2^41 bits");
    }
    expect([fitsBitmap(2 ** 53, 4096), fitsBitmap(2 ** 50, 512), fitsBitmap(0, 1)]).toEqual([true, true, true]);
  });
});

describe("HierarchicalBitmap.set", () => {
  it("rounds outwards to whole groups", () => {
    const bitmap = new HierarchicalBitmap(MIB, 65536);
    bitmap.set(65535, 2);
    expect(dirtyAreas(bitmap)).toEqual([[0, 131072]]);
    bitmap.set(MIB - 1, 1);
    expect(dirtyAreas(bitmap)).toEqual([
      [0, 131072],
      [MIB - 65536, 65536],
    ]);
  });

  it("counts only bits that were clear", () => {
    const bitmap = new HierarchicalBitmap(MIB, 4096);
    bitmap.set(4096, 8192);
    bitmap.set(0, 16384);
    bitmap.set(0, 16384);
    expect(bitmap.countBytes).toBe(16384);
  });

  it("does nothing for an empty range, wherever it lies", () => {
    const bitmap = new HierarchicalBitmap(MIB, 4096);
    bitmap.set(0, 0);
    bitmap.set(2 * MIB, 0);
    expect(bitmap.countBytes).toBe(0);
  });

  it("takes a range that ends with the last group, and none beyond", () => {
    const bitmap = new HierarchicalBitmap(4097, 4096);
    bitmap.set(4096, 4096);
    expect(bitmap.countBytes).toBe(4096);
    expect(() => bitmap.set(4096, 4097)).toThrow("set: outside the bitmap");
    expect(() => bitmap.set(-1, 1)).toThrow("set: outside the bitmap");
    expect(() => bitmap.set(0, -1)).toThrow("set: outside the bitmap");
    expect(() => bitmap.set(Number.NaN, 1)).toThrow("set: outside the bitmap");
    expect(bitmap.countBytes).toBe(4096);
  });
});

describe("HierarchicalBitmap.reset", () => {
  it("clears whole groups", () => {
    const bitmap = new HierarchicalBitmap(MIB, 65536);
    bitmap.set(0, MIB);
    bitmap.reset(65536, 131072);
    expect(dirtyAreas(bitmap)).toEqual([
      [0, 65536],
      [196608, MIB - 196608],
    ]);
    expect(bitmap.countBytes).toBe(MIB - 131072);
    bitmap.reset(65536, 131072);
    expect(bitmap.countBytes).toBe(MIB - 131072);
  });

  it("does nothing for an empty range", () => {
    const bitmap = new HierarchicalBitmap(MIB, 65536);
    bitmap.set(0, 1);
    bitmap.reset(0, 0);
    bitmap.reset(77, 0);
    expect(bitmap.countBytes).toBe(65536);
  });

  it("never clears a part of a group, but for one that the end cuts off", () => {
    const bitmap = new HierarchicalBitmap(10000, 4096);
    bitmap.set(0, 10000);
    expect(() => bitmap.reset(1, 4096)).toThrow("reset: a part of a group");
    expect(() => bitmap.reset(0, 4097)).toThrow("reset: a part of a group");
    expect(() => bitmap.reset(8192, 1807)).toThrow("reset: a part of a group");
    expect(() => bitmap.reset(8192, 8192)).toThrow("reset: outside the bitmap");
    expect(() => bitmap.reset(-4096, 4096)).toThrow("reset: outside the bitmap");
    expect(bitmap.countBytes).toBe(12288);
    bitmap.reset(8192, 1808);
    expect(dirtyAreas(bitmap)).toEqual([[0, 8192]]);
  });

  it("knows groups that are larger than 32 bits can tell", () => {
    const bitmap = new HierarchicalBitmap(2 ** 40, 2 ** 33);
    bitmap.set(0, 2 ** 40);
    expect(() => bitmap.reset(2 ** 32, 2 ** 33)).toThrow("reset: a part of a group");
    expect(() => bitmap.reset(0, 2 ** 32)).toThrow("reset: a part of a group");
    bitmap.reset(2 ** 33, 2 ** 33);
    expect(bitmap.countBytes).toBe(2 ** 40 - 2 ** 33);
  });

  it("of everything leaves nothing", () => {
    const bitmap = new HierarchicalBitmap(MIB + 1, 512);
    bitmap.set(0, MIB + 1);
    bitmap.resetAll();
    expect([bitmap.countBytes, bitmap.nextDirty(0), bitmap.get(MIB)]).toEqual([0, -1, false]);
  });
});

describe("HierarchicalBitmap.get", () => {
  it("tells the state of the group that a byte lies in", () => {
    const bitmap = new HierarchicalBitmap(MIB, 65536);
    bitmap.set(65536, 1);
    expect([65535, 65536, 131071, 131072].map((offset) => bitmap.get(offset))).toEqual([false, true, true, false]);
    expect(() => bitmap.get(MIB)).toThrow("get: outside the bitmap");
    expect(() => bitmap.get(-1)).toThrow("get: outside the bitmap");
  });
});

describe("HierarchicalBitmap.merge", () => {
  const make = (granularity: number, ...ranges: [number, number][]): HierarchicalBitmap => {
    const bitmap = new HierarchicalBitmap(MIB, granularity);
    for (const [offset, length] of ranges) bitmap.set(offset, length);
    return bitmap;
  };

  it("is the union of both", () => {
    const bitmap = make(4096, [0, 8192]);
    bitmap.merge(make(4096, [4096, 8192], [MIB - 4096, 4096]));
    expect(dirtyAreas(bitmap)).toEqual([
      [0, 12288],
      [MIB - 4096, 4096],
    ]);
    expect(bitmap.countBytes).toBe(16384);
  });

  it("rounds outwards from fine to coarse, and fills from coarse to fine", async () => {
    // The hashes are those that a real QEMU shows for the same two merges.
    const fine = make(4096, [69632, 4096]);
    const coarse = make(65536, [69632, 4096]);
    const mergedCoarse = make(65536);
    mergedCoarse.merge(fine);
    expect(mergedCoarse.countBytes).toBe(65536);
    expect(await mergedCoarse.sha256()).toBe("d86e8112f3c4c4442126f8e9f44f16867da487f29052bf91b810457db34209a4");
    const mergedFine = make(512);
    mergedFine.merge(coarse);
    expect(mergedFine.countBytes).toBe(65536);
    expect(await mergedFine.sha256()).toBe("086028e85f4503f264db6cfded8fdeb3011306a8534f69c2f332cb503ebf0bbc");
  });

  it("into a third one replaces what was there", () => {
    const result = make(4096, [500_000, 1]);
    HierarchicalBitmap.merge(make(4096, [0, 1]), make(65536, [65536, 1]), result);
    expect(dirtyAreas(result)).toEqual([
      [0, 4096],
      [65536, 65536],
    ]);
    HierarchicalBitmap.merge(make(4096), make(4096), result);
    expect(result.countBytes).toBe(0);
  });

  it("into one of the two keeps that one's bits", () => {
    const a = make(4096, [0, 1]);
    HierarchicalBitmap.merge(a, make(4096, [8192, 1]), a);
    expect(dirtyAreas(a)).toEqual([
      [0, 4096],
      [8192, 4096],
    ]);
    HierarchicalBitmap.merge(make(65536, [65536, 1]), a, a);
    expect(a.countBytes).toBe(8192 + 65536);
    HierarchicalBitmap.merge(a, a, a);
    expect(a.countBytes).toBe(8192 + 65536);
  });

  it("takes bitmaps of one size only", () => {
    expect(() => make(4096).merge(new HierarchicalBitmap(MIB - 1, 4096))).toThrow("merge: bitmaps of different sizes");
  });
});

describe("HierarchicalBitmap.truncate", () => {
  it("keeps the bit of the group in which the new end lies and forgets those behind", () => {
    // From 1 MiB to 15.5 groups, as seen with a real QEMU: the straddling bit stays.
    const bitmap = new HierarchicalBitmap(MIB, 65536);
    bitmap.set(0, MIB);
    bitmap.truncate(15.5 * 65536);
    expect([bitmap.sizeBytes, bitmap.countBytes]).toEqual([15.5 * 65536, MIB]);
    bitmap.truncate(14 * 65536 + 1);
    expect(bitmap.countBytes).toBe(15 * 65536);
    bitmap.truncate(14 * 65536);
    expect(bitmap.countBytes).toBe(14 * 65536);
  });

  it("adds clean groups, also where bits had been before", () => {
    const bitmap = new HierarchicalBitmap(MIB, 65536);
    bitmap.set(0, MIB);
    bitmap.truncate(65536);
    bitmap.truncate(2 * MIB);
    expect(dirtyAreas(bitmap)).toEqual([[0, 65536]]);
    bitmap.set(2 * MIB - 1, 1);
    expect(bitmap.countBytes).toBe(131072);
  });

  it("lets the cut-off last group grow into a whole one", () => {
    const bitmap = new HierarchicalBitmap(1, 65536);
    bitmap.set(0, 1);
    bitmap.truncate(65536);
    expect(dirtyAreas(bitmap)).toEqual([[0, 65536]]);
  });

  it("goes to nothing and back", () => {
    const bitmap = new HierarchicalBitmap(MIB, 512);
    bitmap.set(0, MIB);
    bitmap.truncate(0);
    expect(bitmap.countBytes).toBe(0);
    bitmap.truncate(MIB);
    expect([bitmap.countBytes, bitmap.nextDirty(0)]).toEqual([0, -1]);
    expect(() => bitmap.truncate(2 ** 51)).toThrow("bitmap of more than 2^53 bytes or 2^41 bits");
    expect(bitmap.sizeBytes).toBe(MIB);
  });
});

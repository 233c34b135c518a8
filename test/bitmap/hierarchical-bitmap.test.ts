// The hierarchical bitmap, row by row of docs/reference/bitmaps.md §1.1 and §1.2.
import { describe, expect, it } from "vitest";
import { DirtyArea, DirtyStatus, fitsBitmap, HierarchicalBitmap } from "../../src/bitmap/hierarchical-bitmap.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** All areas that `nextDirtyArea` finds, each as `[offset, length]`. */
function dirtyAreas(bitmap: HierarchicalBitmap, max = Number.POSITIVE_INFINITY): [number, number][] {
  const areas: [number, number][] = [];
  const area = new DirtyArea();
  for (let at = 0; bitmap.nextDirtyArea(at, bitmap.sizeBytes, max, area); at = area.offset + area.length) {
    areas.push([area.offset, area.length]);
  }
  return areas;
}

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

describe("HierarchicalBitmap.nextDirty and nextZero", () => {
  const bitmap = new HierarchicalBitmap(10000, 1024);
  bitmap.set(2048, 2048);
  bitmap.set(9999, 1);

  it("find the first item from the start on", () => {
    expect(bitmap.nextDirty(0)).toBe(2048);
    expect(bitmap.nextDirty(4096)).toBe(9216);
    expect(bitmap.nextZero(2048)).toBe(4096);
  });

  it("answer with the start itself within a group that is as asked", () => {
    expect(bitmap.nextDirty(2500, 10)).toBe(2500);
    expect(bitmap.nextZero(100, 10)).toBe(100);
  });

  it("answer -1 if the range holds none, is empty, or begins at the end", () => {
    expect(bitmap.nextDirty(0, 2048)).toBe(-1);
    expect(bitmap.nextDirty(0, 2049)).toBe(2048);
    expect(bitmap.nextZero(2048, 2048)).toBe(-1);
    expect(bitmap.nextZero(2048, 2049)).toBe(4096);
    expect([bitmap.nextDirty(2048, 0), bitmap.nextZero(0, 0)]).toEqual([-1, -1]);
    expect([bitmap.nextDirty(10000), bitmap.nextZero(20000)]).toEqual([-1, -1]);
  });

  it("cut the range off at the size, within the last group", () => {
    expect(bitmap.nextZero(9216, 5000)).toBe(-1);
    expect(bitmap.nextDirty(9999, 5000)).toBe(9999);
  });

  it("refuse negative ranges", () => {
    expect(() => bitmap.nextDirty(-1)).toThrow("nextDirty: negative range");
    expect(() => bitmap.nextDirty(0, -1)).toThrow("nextDirty: negative range");
    expect(() => bitmap.nextZero(-1)).toThrow("nextZero: negative range");
    expect(() => bitmap.nextZero(0, -1)).toThrow("nextZero: negative range");
  });
});

describe("HierarchicalBitmap.nextDirtyArea", () => {
  const bitmap = new HierarchicalBitmap(10000, 1024);
  bitmap.set(2048, 2048);
  bitmap.set(9999, 1);
  const area = new DirtyArea();

  it("finds runs, the last one up to the size", () => {
    expect(dirtyAreas(bitmap)).toEqual([
      [2048, 2048],
      [9216, 784],
    ]);
  });

  it("cuts runs off after the length asked for, and at the end of the range", () => {
    expect(dirtyAreas(bitmap, 1000)).toEqual([
      [2048, 1000],
      [3048, 1000],
      [4048, 48],
      [9216, 784],
    ]);
    expect(bitmap.nextDirtyArea(3000, 3500, 9999, area)).toBe(true);
    expect([area.offset, area.length]).toEqual([3000, 500]);
  });

  it("finds none in a clean or empty range", () => {
    expect(bitmap.nextDirtyArea(0, 2048, 1, area)).toBe(false);
    expect(bitmap.nextDirtyArea(4096, 9216, 1, area)).toBe(false);
    expect(bitmap.nextDirtyArea(2048, 2048, 1, area)).toBe(false);
    expect(bitmap.nextDirtyArea(3000, 2048, 1, area)).toBe(false);
    expect(bitmap.nextDirtyArea(10000, 20000, 1, area)).toBe(false);
  });

  it("needs a length", () => {
    expect(() => bitmap.nextDirtyArea(0, 10000, 0, area)).toThrow("empty area");
    expect(() => bitmap.nextDirtyArea(-1, 10000, 1, area)).toThrow("negative start");
  });
});

describe("HierarchicalBitmap.areas", () => {
  it("walks the runs of a range, cut off at both ends", () => {
    const bitmap = new HierarchicalBitmap(10000, 1024);
    bitmap.set(0, 3072);
    bitmap.set(5000, 1);
    bitmap.set(8192, 1808);
    const areas = bitmap.areas(100, 9000);
    const found: [number, number][] = [];
    while (areas.next()) found.push([areas.offset, areas.length]);
    expect(found).toEqual([
      [100, 2972],
      [4096, 1024],
      [8192, 808],
    ]);
    expect(areas.next()).toBe(false);
    expect(() => bitmap.areas(-1)).toThrow("areas: negative start");
  });

  it("sees what changes behind the cursor, also a truncation", () => {
    const bitmap = new HierarchicalBitmap(2 ** 40, 65536);
    bitmap.set(0, 65536);
    bitmap.set(2 ** 39, 65536);
    const areas = bitmap.areas();
    expect(areas.next()).toBe(true);
    bitmap.set(2 ** 38, 131072);
    expect([areas.next(), areas.offset, areas.length]).toEqual([true, 2 ** 38, 131072]);
    bitmap.truncate(2 ** 38 + 65536);
    expect(areas.next()).toBe(false);
  });

  it("ends with the last group of a bitmap that was truncated on the way", () => {
    for (const groups of [5, 64]) {
      const bitmap = new HierarchicalBitmap(2 ** 40, 65536);
      bitmap.set(0, 65536);
      bitmap.set(131072, 2 ** 40 - 131072);
      const areas = bitmap.areas();
      expect(areas.next()).toBe(true);
      bitmap.truncate(groups * 65536 - 1);
      expect([areas.next(), areas.offset, areas.length]).toEqual([true, 131072, (groups - 2) * 65536]);
      expect(areas.next()).toBe(false);
    }
  });
});

describe("HierarchicalBitmap.status", () => {
  it("tells the state at the start and how far it holds within the range", () => {
    const bitmap = new HierarchicalBitmap(10000, 1024);
    bitmap.set(2048, 2048);
    const status = new DirtyStatus();
    const statusOf = (start: number, length: number): [boolean, number] => {
      bitmap.status(start, length, status);
      return [status.dirty, status.length];
    };
    expect(statusOf(0, 10000)).toEqual([false, 2048]);
    expect(statusOf(0, 1000)).toEqual([false, 1000]);
    expect(statusOf(2048, 7952)).toEqual([true, 2048]);
    expect(statusOf(3000, 10)).toEqual([true, 10]);
    expect(statusOf(4096, 5904)).toEqual([false, 5904]);
    expect(() => statusOf(0, 0)).toThrow("status: outside the bitmap");
    expect(() => statusOf(0, 10001)).toThrow("status: outside the bitmap");
    expect(() => statusOf(-1, 2)).toThrow("status: outside the bitmap");
  });
});

describe("BitmapIterator", () => {
  it("gives the first byte of each dirty group, from the group of the start on", () => {
    const bitmap = new HierarchicalBitmap(MIB, 4096);
    for (const offset of [0, 8192, 4096 * 33, MIB - 1]) bitmap.set(offset, 1);
    const iterator = bitmap.iterate(8192 + 4095);
    expect([iterator.next(), iterator.next(), iterator.next(), iterator.next()]).toEqual([
      8192,
      4096 * 33,
      MIB - 4096,
      -1,
    ]);
    expect(iterator.next()).toBe(-1);
    expect(() => bitmap.iterate(MIB)).toThrow("iterate: outside the bitmap");
  });

  it("is a live view: it skips what was cleared and finds what was set ahead of it", () => {
    const bitmap = new HierarchicalBitmap(MIB, 4096);
    bitmap.set(0, 16384);
    const iterator = bitmap.iterate();
    expect(iterator.next()).toBe(0);
    bitmap.reset(4096, 8192);
    expect(iterator.next()).toBe(12288);
    bitmap.set(4096, 1);
    bitmap.set(MIB - 1, 1);
    expect([iterator.next(), iterator.next()]).toEqual([MIB - 4096, -1]);
  });

  it("sees a chunk get memory of its own, and a truncation", () => {
    const bitmap = new HierarchicalBitmap(2 ** 32, 1024);
    bitmap.set(0, 2 ** 32);
    const iterator = bitmap.iterate();
    expect(iterator.next()).toBe(0);
    bitmap.reset(1024, 2 ** 31);
    expect(iterator.next()).toBe(2 ** 31 + 1024);
    bitmap.truncate(2 ** 20);
    expect(iterator.next()).toBe(-1);
  });

  it("fills batches that together are what `next` gives", () => {
    const bitmap = new HierarchicalBitmap(16 * MIB, 512);
    for (let offset = 0; offset < 16 * MIB; offset += 1536) bitmap.set(offset, 1);
    bitmap.set(3 * MIB, 300_000);
    const one = bitmap.iterate(1000);
    const expected: number[] = [];
    for (let offset = one.next(); offset >= 0; offset = one.next()) expected.push(offset);
    const batch = new Float64Array(100);
    const iterator = bitmap.iterate(1000);
    const found: number[] = [];
    found.push(iterator.next());
    for (let n = iterator.nextBatch(batch); n > 0; n = iterator.nextBatch(batch)) found.push(...batch.subarray(0, n));
    expect(found).toEqual(expected);
    expect([iterator.nextBatch(batch), iterator.next()]).toEqual([0, -1]);
    expect(() => iterator.nextBatch(new Float64Array(31))).toThrow("room for 32 offsets");
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

describe("HierarchicalBitmap of more than one chunk of 2^20 bits", () => {
  const CHUNK_BYTES = 2 ** 20 * 512;

  it("changes a range that begins and ends with bits of the same number in two chunks", () => {
    const bitmap = new HierarchicalBitmap(3 * CHUNK_BYTES, 512);
    bitmap.set(1536, CHUNK_BYTES + 512);
    expect(bitmap.countBytes).toBe(CHUNK_BYTES + 512);
    bitmap.reset(1536, CHUNK_BYTES + 512);
    expect([bitmap.countBytes, bitmap.nextDirty(0)]).toEqual([0, -1]);
  });

  it("finds a clean group at the end of a chunk on the way to the begin of the next", () => {
    const bitmap = new HierarchicalBitmap(2 * CHUNK_BYTES, 512);
    bitmap.set(0, CHUNK_BYTES - 512);
    bitmap.set(CHUNK_BYTES, 512);
    expect(bitmap.nextZero(0, CHUNK_BYTES + 512)).toBe(CHUNK_BYTES - 512);
    expect(dirtyAreas(bitmap)).toEqual([
      [0, CHUNK_BYTES - 512],
      [CHUNK_BYTES, 512],
    ]);
    const areas = bitmap.areas(0, CHUNK_BYTES + 512);
    expect([areas.next(), areas.length, areas.next(), areas.offset]).toEqual([
      true,
      CHUNK_BYTES - 512,
      true,
      CHUNK_BYTES,
    ]);
  });

  it("joins an area across chunks, up to a limit in the second", () => {
    const bitmap = new HierarchicalBitmap(3 * CHUNK_BYTES, 512);
    bitmap.set(CHUNK_BYTES - 1024, CHUNK_BYTES + 2048);
    expect(dirtyAreas(bitmap)).toEqual([[CHUNK_BYTES - 1024, CHUNK_BYTES + 2048]]);
    expect(bitmap.nextZero(CHUNK_BYTES - 1024, 2048)).toBe(-1);
    expect(bitmap.nextZero(CHUNK_BYTES - 1024)).toBe(2 * CHUNK_BYTES + 1024);
    expect(dirtyAreas(bitmap, CHUNK_BYTES)).toEqual([
      [CHUNK_BYTES - 1024, CHUNK_BYTES],
      [2 * CHUNK_BYTES - 1024, 2048],
    ]);
  });
});

describe("HierarchicalBitmap of 2^41 bits", () => {
  const SIZE = 2 ** 53;
  const GRANULARITY = 4096;

  it("takes memory only where bits differ", async () => {
    const bitmap = new HierarchicalBitmap(SIZE, GRANULARITY);
    const before = process.memoryUsage().arrayBuffers;
    bitmap.set(SIZE - 1, 1);
    bitmap.set(2 ** 50 - GRANULARITY, 2 * GRANULARITY);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MIB);
    expect(bitmap.countBytes).toBe(3 * GRANULARITY);
    expect(dirtyAreas(bitmap)).toEqual([
      [2 ** 50 - GRANULARITY, 2 * GRANULARITY],
      [SIZE - GRANULARITY, GRANULARITY],
    ]);
    expect([bitmap.get(SIZE - GRANULARITY - 1), bitmap.get(SIZE - GRANULARITY)]).toEqual([false, true]);
    expect(bitmap.iterate(2 ** 51).next()).toBe(SIZE - GRANULARITY);
    await expect(bitmap.sha256()).rejects.toMatchObject({ name: "BlockError", errno: "ENOMEM" });
  });

  it("can be set, searched and reset as a whole", () => {
    const bitmap = new HierarchicalBitmap(SIZE, GRANULARITY);
    const before = process.memoryUsage().arrayBuffers;
    bitmap.set(0, SIZE);
    expect([bitmap.countBytes, bitmap.nextZero(0)]).toEqual([SIZE, -1]);
    bitmap.reset(2 ** 52, GRANULARITY);
    expect(bitmap.nextZero(0)).toBe(2 ** 52);
    expect(dirtyAreas(bitmap)).toEqual([
      [0, 2 ** 52],
      [2 ** 52 + GRANULARITY, 2 ** 52 - GRANULARITY],
    ]);
    bitmap.reset(GRANULARITY, SIZE - GRANULARITY);
    expect(bitmap.countBytes).toBe(GRANULARITY);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 * MIB);
  });
});

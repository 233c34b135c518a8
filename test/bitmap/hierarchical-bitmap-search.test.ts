// Searches in the hierarchical bitmap, and the views that walk it: docs/reference/bitmaps.md §1.2.
import { describe, expect, it } from "vitest";
import { DirtyArea, DirtyStatus, HierarchicalBitmap } from "../../src/bitmap/hierarchical-bitmap.ts";
import { dirtyAreas } from "./dirty-area-list.ts";

const MIB = 1 << 20;

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

// The hierarchical bitmap where it has more than one chunk of bits, and at its limits: docs/reference/bitmaps.md §1.1.
import { describe, expect, it } from "vitest";
import { HierarchicalBitmap } from "../../src/bitmap/hierarchical-bitmap.ts";
import { dirtyAreas } from "./dirty-area-list.ts";

const MIB = 1 << 20;

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

// Merging bitmaps: docs/reference/bitmaps.md §3.4, docs/reference/corrections.md A7.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DirtyBitmap } from "../../src/bitmap/dirty-bitmap.ts";
import { DirtyBitmapList } from "../../src/bitmap/dirty-bitmap-list.ts";
import { mergeDirtyBitmaps } from "../../src/bitmap/merge-bitmaps.ts";

const SIZE = 1 << 20;

function bitmap(
  name: string,
  granularityBytes: number,
  dirty: readonly [number, number][] = [],
  sizeBytes = SIZE,
): DirtyBitmap {
  const made = new DirtyBitmapList(sizeBytes).add({ name, granularityBytes });
  for (const [offset, length] of dirty) made.set(offset, length);
  return made;
}

describe("mergeDirtyBitmaps", () => {
  it("takes in other granularities, rounded outwards, from other nodes", () => {
    const target = bitmap("t", 65_536);
    mergeDirtyBitmaps(target, [bitmap("a", 512, [[512, 512]]), bitmap("b", 262_144, [[262_144, 1]])]);
    expect(target.countBytes).toBe(5 * 65_536);
    expect([target.bits.get(0), target.bits.get(65_536), target.bits.get(262_144), target.bits.get(458_752)]).toEqual([
      true,
      false,
      true,
      true,
    ]);
  });

  it("changes nothing for the target among its own sources, and for no sources at all", () => {
    const target = bitmap("t", 65_536, [[0, 1]]);
    mergeDirtyBitmaps(target, [target, target]);
    mergeDirtyBitmaps(target, []);
    expect(target.countBytes).toBe(65_536);
  });

  it("restores the target when a later source fails: another size, busy, inconsistent, or not to be found", () => {
    const target = bitmap("t", 65_536, [[0, 1]]);
    const good = bitmap("good", 65_536, [[131_072, 1]]);
    const busy = bitmap("busy", 65_536);
    busy.setBusy(true);
    const inconsistent = bitmap("bad", 65_536);
    inconsistent.setInconsistent();
    const cases: [DirtyBitmap, string][] = [
      [
        bitmap("long", 65_536, [], 2 * SIZE),
        "Bitmaps are of different sizes (destination size is 1048576, source size is 2097152) and can't be merged",
      ],
      [busy, "Bitmap 'busy' is currently in use by another operation and cannot be used"],
      [inconsistent, "Bitmap 'bad' is inconsistent and cannot be used"],
    ];
    for (const [bad, text] of cases) expect(() => mergeDirtyBitmaps(target, [good, bad])).toThrow(text);
    const lookUp = function* (): Generator<DirtyBitmap> {
      yield good;
      throw new Error("not found");
    };
    expect(() => mergeDirtyBitmaps(target, lookUp())).toThrow("not found");
    expect([target.countBytes, target.bits.get(0)]).toEqual([65_536, true]);
  });

  it("looks at the target before the source, and takes a readonly source but no readonly target", () => {
    const target = bitmap("t", 65_536);
    const source = bitmap("s", 65_536, [[0, 1]]);
    source.setReadonly(true);
    mergeDirtyBitmaps(target, [source]);
    expect(target.countBytes).toBe(65_536);
    target.setReadonly(true);
    source.setBusy(true);
    expect(() => mergeDirtyBitmaps(target, [source])).toThrow("Bitmap 't' is readonly and cannot be modified");
  });

  it("returns the bits that were there, which undo it", () => {
    const target = bitmap("t", 65_536, [[0, 1]]);
    const before = mergeDirtyBitmaps(target, [bitmap("s", 512, [[SIZE - 1, 1]])]);
    expect(target.countBytes).toBe(2 * 65_536);
    target.exchangeBits(before);
    expect([target.countBytes, target.bits.get(0)]).toEqual([65_536, true]);
  });

  it("is idempotent, and gives the same bits in either order", () => {
    const ranges = fc.array(fc.tuple(fc.nat(SIZE - 4096), fc.integer({ min: 1, max: 4096 })), { maxLength: 10 });
    const granularity = fc.constantFrom(512, 4096, 65_536);
    fc.assert(
      fc.property(ranges, ranges, granularity, granularity, (first, second, ga, gb) => {
        const merged = [
          [0, 1],
          [1, 0],
          [0, 1, 0, 1],
        ].map((order) => {
          const target = bitmap("t", 4096);
          const sources = [bitmap("a", ga, first), bitmap("b", gb, second)];
          mergeDirtyBitmaps(
            target,
            order.map((i) => sources[i]!),
          );
          return target;
        });
        const bits = merged.map(({ bits: { sizeBytes }, bits: all }) =>
          Array.from({ length: sizeBytes / 4096 }, (_, i) => all.get(i * 4096)),
        );
        expect(bits[1]).toEqual(bits[0]);
        expect(bits[2]).toEqual(bits[0]);
      }),
    );
  });
});

// Bitmaps that are frozen, and their successors: docs/reference/bitmaps.md §2.4.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { DirtyBitmapList } from "../../src/bitmap/dirty-bitmap-list.ts";

const GRANULE = 65_536;
const SIZE = 16 * GRANULE;
const BUSY = "Bitmap 'b' is currently in use by another operation and cannot be used";

/** A list with bitmap `b`, in which granule 1 is dirty. */
function listWithB(options: { disabled?: boolean } = {}) {
  const list = new DirtyBitmapList(SIZE);
  const b = list.add({ name: "b", granularityBytes: GRANULE, ...options });
  b.set(GRANULE, 1);
  return { list, b };
}

function dirtyGranules({ bits }: { bits: { get(offset: number): boolean } }): number[] {
  return Array.from({ length: SIZE / GRANULE }, (_, i) => i).filter((i) => bits.get(i * GRANULE));
}

describe("a frozen bitmap", () => {
  it("leaves recording to an anonymous successor at the head of the list", () => {
    const { list, b } = listWithB();
    const successor = list.createSuccessor(b);
    list.setDirty(5 * GRANULE, 1);
    expect([...list]).toEqual([successor, b]);
    expect([b.enabled, b.recording, b.busy, dirtyGranules(b)]).toEqual([false, true, true, [1]]);
    expect([successor.name, successor.enabled, dirtyGranules(successor)]).toEqual([undefined, true, [5]]);
    expect(successor.granularityBytes).toBe(GRANULE);
  });

  it("abdicates: the successor has the name and what was written since, in its place in the list", () => {
    const { list, b } = listWithB();
    b.persistent = true;
    list.createSuccessor(b);
    const other = list.add({ name: "other" });
    list.setDirty(5 * GRANULE, 1);
    const heir = list.abdicate(b);
    expect([...list]).toEqual([other, heir]);
    expect([heir.name, heir.enabled, heir.busy, heir.persistent, dirtyGranules(heir)]).toEqual([
      "b",
      true,
      false,
      true,
      [5],
    ]);
    expect(heir.successor).toBeUndefined();
  });

  it("is reclaimed with what was dirty before and what was written since", () => {
    const { list, b } = listWithB();
    list.createSuccessor(b);
    list.setDirty(5 * GRANULE, 1);
    expect(list.reclaim(b)).toBe(b);
    expect([...list]).toEqual([b]);
    expect([b.name, b.enabled, b.recording, b.busy, dirtyGranules(b)]).toEqual(["b", true, true, false, [1, 5]]);
  });

  it.each([
    ["abdicates", []],
    ["is reclaimed", [1]],
  ] as const)("that was disabled has a disabled successor, records nothing, and %s disabled", (how, expected) => {
    const { list, b } = listWithB({ disabled: true });
    list.createSuccessor(b);
    expect(b.recording).toBe(false);
    list.setDirty(5 * GRANULE, 1);
    const after = how === "abdicates" ? list.abdicate(b) : list.reclaim(b);
    expect([after.enabled, dirtyGranules(after)]).toEqual([false, expected]);
  });

  it.each([
    ["createSuccessor", BUSY, (list: DirtyBitmapList) => list.createSuccessor(list.get("b"))],
    ["remove", BUSY, (list: DirtyBitmapList) => list.remove("b")],
    ["clear", BUSY, (list: DirtyBitmapList) => list.clear("b")],
    ["enable", BUSY, (list: DirtyBitmapList) => list.enable("b")],
    ["disable", BUSY, (list: DirtyBitmapList) => list.disable("b")],
    ["add", "Bitmap already exists: b", (list: DirtyBitmapList) => list.add({ name: "b" })],
  ] as const)("refuses %s and stays as it is", (_, text, command) => {
    const { list, b } = listWithB();
    const successor = list.createSuccessor(b);
    expect(() => command(list)).toThrow(text);
    expect([...list]).toEqual([successor, b]);
    expect([b.successor, b.busy, dirtyGranules(b), dirtyGranules(successor)]).toEqual([successor, true, [1], []]);
  });

  it("follows its node's length together with its successor", () => {
    const { list, b } = listWithB();
    const successor = list.createSuccessor(b);
    list.truncate(2 * SIZE);
    expect([b.sizeBytes, successor.sizeBytes]).toEqual([2 * SIZE, 2 * SIZE]);
  });

  it("cannot be released, nor can one without a successor abdicate or be reclaimed", () => {
    const { list, b } = listWithB();
    expect(() => list.abdicate(b)).toThrow(AssertionError);
    expect(() => list.reclaim(b)).toThrow(AssertionError);
    list.createSuccessor(b);
    expect(() => list.release(b)).toThrow(AssertionError);
  });

  it("loses no write, whatever comes: success leaves W, failure leaves P ∪ W", () => {
    const granules = fc.array(fc.nat(SIZE / GRANULE - 1), { maxLength: 20 });
    fc.assert(
      fc.property(granules, granules, fc.boolean(), (before, during, success) => {
        const list = new DirtyBitmapList(SIZE);
        const b = list.add({ name: "b", granularityBytes: GRANULE });
        for (const granule of before) list.setDirty(granule * GRANULE, 1);
        list.createSuccessor(b);
        for (const granule of during) list.setDirty(granule * GRANULE + 7, 3);
        const after = success ? list.abdicate(b) : list.reclaim(b);
        const expected = new Set(success ? during : [...before, ...during]);
        expect(new Set(dirtyGranules(after))).toEqual(expected);
        expect(list.count).toBe(1);
      }),
    );
  });
});

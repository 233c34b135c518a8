// The hierarchical bitmap against its flat twin: random programs of all operations over many sizes and granularities.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DirtyArea, DirtyStatus, HierarchicalBitmap } from "../../src/bitmap/hierarchical-bitmap.ts";
import { FlatBitmap } from "./flat-bitmap.ts";

const CHUNK_BITS = 2 ** 20;
const SOAK = process.env["VBLK_SOAK"] === undefined ? 1 : 50;

interface Real {
  bitmap: HierarchicalBitmap;
}
type Command = fc.Command<FlatBitmap, Real>;

/** A place in a bitmap whose size is known only when the command runs. */
type Place = { readonly kind: "fraction" | "bit" | "end"; readonly value: number; readonly delta: number };

const place: fc.Arbitrary<Place> = fc.oneof(
  fc.record({
    kind: fc.constant("fraction" as const),
    value: fc.double({ min: 0, max: 1, noNaN: true }),
    delta: fc.constant(0),
  }),
  // At and around the ends of words, of groups of words, and of chunks.
  fc.record({
    kind: fc.constant("bit" as const),
    value: fc.constantFrom(0, 1, 31, 32, 64, 1024, 32768, CHUNK_BITS - 32, CHUNK_BITS, CHUNK_BITS + 32, 2 * CHUNK_BITS),
    delta: fc.integer({ min: -3, max: 3 }),
  }),
  fc.record({ kind: fc.constant("end" as const), value: fc.constant(0), delta: fc.integer({ min: -70, max: 0 }) }),
);

type Geometry = { readonly size: number; readonly granularity: number };

/** The item of a place: at most the size. */
function itemAt(model: Geometry, { kind, value, delta }: Place, unit = 1): number {
  const base = kind === "fraction" ? value * model.size : kind === "bit" ? value * model.granularity : model.size;
  return Math.min(Math.max(Math.floor((base + delta * unit) / unit) * unit, 0), model.size);
}

/** A range of the model from one place to another, its ends at multiples of `unit` or at the size. */
function rangeOf(model: FlatBitmap, [a, b]: readonly [Place, Place], unit = 1): { start: number; length: number } {
  const from = itemAt(model, a, unit);
  const to = itemAt(model, b, unit);
  const start = Math.min(from, to) - (Math.min(from, to) % unit);
  return { start, length: Math.max(from, to) - start };
}

const range = fc.tuple(place, place);

/** A command that does `run`, and checks the count afterwards. */
function command(name: string, input: unknown, run: (model: FlatBitmap, bitmap: HierarchicalBitmap) => void): Command {
  return {
    check: () => true,
    run: (model, { bitmap }) => {
      run(model, bitmap);
      expect(bitmap.countBytes).toBe(model.countBytes);
    },
    toString: () => `${name}(${JSON.stringify(input)})`,
  };
}

function expectSame(model: FlatBitmap, bitmap: HierarchicalBitmap): void {
  expect(bitmap.sizeBytes).toBe(model.size);
  expect(bitmap.countBytes).toBe(model.countBytes);
  const bytes = new Uint8Array(bitmap.serializationSize(0, model.size));
  bitmap.serialize(0, model.size, bytes);
  expect(Buffer.compare(bytes, model.packed())).toBe(0);
  const found: { offset: number; length: number }[] = [];
  const areas = bitmap.areas();
  while (areas.next()) found.push({ offset: areas.offset, length: areas.length });
  expect(found).toEqual(model.areas(0, model.size));
}

/** Walks the iterator, changing the bitmap on the way. */
function walk(
  model: FlatBitmap,
  bitmap: HierarchicalBitmap,
  from: Place,
  changes: readonly [Place, Place, boolean][],
): void {
  const first = Math.min(itemAt(model, from), Math.max(model.size - 1, 0));
  const iterator = bitmap.iterate(first);
  let bit = model.bitOf(first);
  for (let step = 0; step < 200; step++) {
    const [a, b, dirty] = changes[step % Math.max(changes.length, 1)] ?? [from, from, true];
    if (step < changes.length) {
      const { start, length } = rangeOf(model, [a, b], model.granularity);
      for (const each of [model, bitmap]) dirty ? each.set(start, length) : each.reset(start, length);
    }
    const next = model.bits.indexOf(1, bit);
    expect(iterator.next()).toBe(next < 0 ? -1 : next * model.granularity);
    if (next < 0) break;
    bit = next + 1;
  }
  const batch = new Float64Array(32 + (bit % 50));
  const rest: number[] = [];
  for (let n = iterator.nextBatch(batch); n > 0 && rest.length < 500; n = iterator.nextBatch(batch)) {
    rest.push(...batch.subarray(0, n));
  }
  for (const offset of rest) {
    bit = model.bits.indexOf(1, bit);
    expect(offset).toBe(bit * model.granularity);
    bit++;
  }
  if (rest.length < 500) expect(model.bits.indexOf(1, bit)).toBe(-1);
}

/** A bitmap of its own and its twin, with the given dirty ranges. */
function another(
  size: number,
  granularity: number,
  ranges: readonly (readonly [Place, Place])[],
): [FlatBitmap, HierarchicalBitmap] {
  const model = new FlatBitmap(size, granularity);
  const bitmap = new HierarchicalBitmap(size, granularity);
  for (const each of ranges) {
    const { start, length } = rangeOf(model, each);
    model.set(start, length);
    bitmap.set(start, length);
  }
  return [model, bitmap];
}

function commands(maxSize: number): fc.Arbitrary<Command>[] {
  const area = new DirtyArea();
  const status = new DirtyStatus();
  return [
    range.map((input) =>
      command("set", input, (model, bitmap) => {
        const { start, length } = rangeOf(model, input);
        model.set(start, length);
        bitmap.set(start, length);
      }),
    ),
    place.map((input) =>
      command("setOne", input, (model, bitmap) => {
        const item = itemAt(model, input);
        if (item === model.size) return;
        model.set(item, 1);
        bitmap.set(item, 1);
        expect(bitmap.get(item)).toBe(true);
      }),
    ),
    range.map((input) =>
      command("reset", input, (model, bitmap) => {
        const { start, length } = rangeOf(model, input, model.granularity);
        model.reset(start, length);
        bitmap.reset(start, length);
      }),
    ),
    place.map((input) =>
      command("resetOne", input, (model, bitmap) => {
        const item = itemAt(model, input, model.granularity);
        const start = item - (item % model.granularity);
        const length = Math.min(model.granularity, model.size - start);
        model.reset(start, length);
        bitmap.reset(start, length);
        if (length > 0) expect(bitmap.get(start)).toBe(false);
      }),
    ),
    fc.constant(
      command("resetAll", [], (model, bitmap) => {
        model.bits.fill(0);
        bitmap.resetAll();
      }),
    ),
    range.map((input) =>
      command("search", input, (model, bitmap) => {
        const { start, length } = rangeOf(model, input);
        expect(bitmap.nextDirty(start, length)).toBe(model.next(1, start, length));
        expect(bitmap.nextZero(start, length)).toBe(model.next(0, start, length));
        expect(bitmap.nextDirty(start)).toBe(model.next(1, start, model.size));
        expect(bitmap.nextZero(start)).toBe(model.next(0, start, model.size));
        if (start < model.size) expect(bitmap.get(start)).toBe(model.get(start));
      }),
    ),
    fc.tuple(range, fc.integer({ min: 0, max: 60 })).map((input) =>
      command("nextDirtyArea", input, (model, bitmap) => {
        const { start, length } = rangeOf(model, input[0]);
        const max = 2 ** input[1];
        const expected = model.nextArea(start, start + length, max);
        expect(bitmap.nextDirtyArea(start, start + length, max, area)).toBe(expected !== undefined);
        if (expected !== undefined) expect({ ...area }).toEqual(expected);
      }),
    ),
    range.map((input) =>
      command("areas", input, (model, bitmap) => {
        const { start, length } = rangeOf(model, input);
        const expected = model.areas(start, start + length);
        const areas = bitmap.areas(start, start + length);
        for (const { offset, length } of expected) {
          expect([areas.next(), areas.offset, areas.length]).toEqual([true, offset, length]);
        }
        expect(areas.next()).toBe(false);
      }),
    ),
    range.map((input) =>
      command("status", input, (model, bitmap) => {
        const { start, length } = rangeOf(model, input);
        if (length === 0) return;
        bitmap.status(start, length, status);
        const dirty = model.get(start);
        const change = model.next(dirty ? 0 : 1, start, length);
        expect({ ...status }).toEqual({ dirty, length: (change < 0 ? start + length : change) - start });
      }),
    ),
    fc
      .tuple(place, fc.array(fc.tuple(place, place, fc.boolean()), { maxLength: 4 }))
      .map((input) => command("walk", input, (model, bitmap) => walk(model, bitmap, ...input))),
    fc.tuple(fc.array(range, { maxLength: 4 }), fc.constantFrom(1, 1, 1, 1 / 4, 2, 64)).map((input) =>
      command("merge", input, (model, bitmap) => {
        const granularity = Math.max(model.granularity * input[1], 1);
        const [otherModel, other] = another(model.size, granularity, input[0]);
        model.merge(otherModel);
        bitmap.merge(other);
        expectSame(otherModel, other);
      }),
    ),
    fc.tuple(fc.array(range, { maxLength: 4 }), fc.array(range, { maxLength: 4 })).map((input) =>
      command("mergeInto", input, (model, bitmap) => {
        const [otherModel, other] = another(model.size, model.granularity, input[0]);
        const [resultModel, result] = another(model.size, model.granularity, input[1]);
        HierarchicalBitmap.merge(bitmap, other, result);
        resultModel.bits.fill(0);
        resultModel.merge(model);
        resultModel.merge(otherModel);
        expectSame(resultModel, result);
      }),
    ),
    place.map((input) =>
      command("truncate", input, (model, bitmap) => {
        const size = itemAt({ size: maxSize, granularity: model.granularity }, input);
        model.truncate(size);
        bitmap.truncate(size);
      }),
    ),
    range.map((input) =>
      command("serialize", input, (model, bitmap) => {
        const { start, length } = rangeOf(model, input, bitmap.serializationAlignBytes);
        const bytes = new Uint8Array(bitmap.serializationSize(start, length));
        bitmap.serialize(start, length, bytes);
        const from = model.bitOf(start) / 8;
        expect(Buffer.compare(bytes, model.packed().subarray(from, from + bytes.length))).toBe(0);
      }),
    ),
    fc.tuple(range, fc.constantFrom("bytes", "zeroes", "ones"), fc.integer()).map((input) =>
      command("deserialize", input, (model, bitmap) => {
        const { start, length } = rangeOf(model, input[0], bitmap.serializationAlignBytes);
        if (input[1] === "zeroes") {
          model.reset(start, length);
          bitmap.deserializeZeroes(start, length);
        } else if (input[1] === "ones") {
          model.set(start, length);
          bitmap.deserializeOnes(start, length);
        } else {
          // Bits past the end included, which are to be dropped.
          const bytes = new Uint8Array(bitmap.serializationSize(start, length));
          for (let i = 0, x = input[2] | 1; i < bytes.length; i++) {
            x = Math.imul(x, 1664525) + 1013904223;
            bytes[i] = (x >>> 30) % 3 === 0 ? 0 : x >>> 24;
          }
          const first = model.bitOf(start);
          const count = Math.ceil((start + length) / model.granularity) - first;
          for (let i = 0; i < count; i++) model.bits[first + i] = (bytes[i >> 3]! >> (i & 7)) & 1;
          bitmap.deserialize(start, length, bytes);
        }
      }),
    ),
  ];
}

function checkAgainstTwin(size: number, granularity: number, numRuns: number, maxCommands: number): void {
  // The number of bits stays within half as many again.
  const maxSize = Math.ceil(size * 1.5);
  fc.assert(
    fc.property(fc.commands(commands(maxSize), { maxCommands, size: "max" }), (program) => {
      const model = new FlatBitmap(size, granularity);
      const real = { bitmap: new HierarchicalBitmap(size, granularity) };
      fc.modelRun(() => ({ model, real }), program);
      expectSame(model, real.bitmap);
    }),
    { numRuns: numRuns * SOAK },
  );
}

describe("HierarchicalBitmap and its flat twin agree after every operation", () => {
  const small: [string, number, number][] = [
    ["1 bit of 1 byte", 1, 1],
    ["1 bit of a partial group", 1000, 4096],
    ["2 bits, the second partial", 4097, 4096],
    ["31 bits", 31, 1],
    ["32 bits", 32 * 512, 512],
    ["33 bits", 33 * 512 - 1, 512],
    ["64 bits", 64 * 65536, 65536],
    ["197 bits, the last partial", 197 * 4 - 3, 4],
    ["1025 bits", 1025 * 1024, 1024],
    ["40,000 bits", 40_000 * 512 + 1, 512],
    ["70,000 bits of 64 GiB", 70_000 * 2 ** 36 - 5, 2 ** 36],
  ];
  for (const [title, size, granularity] of small) {
    it(`on ${title}`, () => checkAgainstTwin(size, granularity, 60, 60));
  }

  const large: [string, number, number][] = [
    ["2^20 bits", CHUNK_BITS * 512, 512],
    ["2^20 bits and one", CHUNK_BITS * 65536 + 1, 65536],
    ["2.5 Mi bits", 2.5 * CHUNK_BITS * 4096 - 7, 4096],
  ];
  for (const [title, size, granularity] of large) {
    it(`on ${title}`, () => checkAgainstTwin(size, granularity, 4, 40));
  }
});

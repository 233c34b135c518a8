// Scatter-gather lists against a naive twin: the list of the offsets of all their bytes.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { fillZeroes, IoVector } from "../../src/base/io-vector.ts";

const BUFFER = 300;

/** The vector's bytes, each as its offset in the buffer, by its tables. */
function offsetsOf(vector: IoVector): number[] {
  const offsets: number[] = [];
  for (let i = vector.first; i < vector.end; i++)
    for (let j = 0; j < vector.lengths[i]!; j++) offsets.push(vector.offsets[i]! + j);
  return offsets;
}

function numbered(length: number, from = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (from + i) & 0xff);
}

type Step =
  | { readonly kind: "push"; readonly offset: number; readonly length: number }
  | { readonly kind: "front" | "back"; readonly part: number }
  | { readonly kind: "slice"; readonly part: number; readonly of: number };

const part = fc.double({ min: 0, max: 1, noNaN: true });
const push = fc
  .record({ offset: fc.nat(BUFFER - 1), length: fc.nat(60) })
  .map(({ offset, length }): Step => ({ kind: "push", offset, length: Math.min(length, BUFFER - offset) }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: push, weight: 4 },
  { arbitrary: fc.record({ kind: fc.constantFrom("front" as const, "back" as const), part }), weight: 2 },
  { arbitrary: fc.record({ kind: fc.constant("slice" as const), part, of: part }), weight: 1 },
);

/** Runs the steps on a vector and on its twin. */
function build(bytes: Uint8Array, steps: readonly Step[]): { vector: IoVector; twin: number[] } {
  let vector = new IoVector(bytes);
  let twin: number[] = [];
  for (const next of steps) {
    const length = next.kind === "push" ? 0 : Math.floor(next.part * twin.length);
    switch (next.kind) {
      case "push":
        vector.push(next.offset, next.length);
        twin = [...twin, ...Array.from({ length: next.length }, (_, i) => next.offset + i)];
        break;
      case "front":
        vector.dropFront(length);
        twin = twin.slice(length);
        break;
      case "back":
        vector.dropBack(length);
        twin = twin.slice(0, twin.length - length);
        break;
      case "slice": {
        const from = Math.floor(next.of * (twin.length - length));
        vector = new IoVector(new Uint8Array(0)).slice(vector, from, length);
        twin = twin.slice(from, from + length);
        break;
      }
    }
  }
  return { vector, twin };
}

describe("IoVector", () => {
  it("holds the same bytes as its twin after any pushes, drops and slices", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const { vector, twin } = build(numbered(BUFFER), steps);
        expect(offsetsOf(vector)).toEqual(twin);
        expect(vector.byteLength).toBe(twin.length);
        expect(vector.count).toBe(vector.end - vector.first);
        expect(vector.abandoned).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });

  it("copies out, copies in and zeroes exactly its bytes, in order", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.nat(20), (steps, at) => {
        const bytes = numbered(BUFFER, 1);
        const { vector, twin } = build(bytes, steps);
        const target = new Uint8Array(twin.length + 40).fill(0xaa);
        vector.copyTo(target, at);
        const copied = new Uint8Array(twin.length + 40).fill(0xaa);
        for (const [i, offset] of twin.entries()) copied[at + i] = bytes[offset]!;
        expect([...target]).toEqual([...copied]);

        const filled = bytes.slice();
        for (const [i, offset] of twin.entries()) filled[offset] = (100 + at + i) & 0xff;
        vector.copyFrom(numbered(twin.length + at, 100), at);
        expect([...bytes]).toEqual([...filled]);

        for (const offset of twin) filled[offset] = 0;
        vector.clearData();
        expect([...bytes]).toEqual([...filled]);
      }),
      { numRuns: 500 },
    );
  });

  it("touches nothing once it is abandoned, and keeps its length", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), part, (steps, drop) => {
        const bytes = numbered(BUFFER, 1);
        const { vector, twin } = build(bytes, steps);
        vector.abandon();
        expect(vector.abandoned).toBe(true);
        expect(vector.byteLength).toBe(twin.length);
        expect(offsetsOf(vector)).toEqual([]);
        const target = new Uint8Array(twin.length).fill(0xaa);
        vector.copyTo(target, 0);
        vector.copyFrom(new Uint8Array(twin.length).fill(0x55), 0);
        vector.clearData();
        const length = Math.floor(drop * twin.length);
        vector.dropFront(Math.floor(length / 2));
        vector.dropBack(length - Math.floor(length / 2));
        expect(vector.byteLength).toBe(twin.length - length);
        const slice = new IoVector(bytes).slice(vector, 0, vector.byteLength);
        expect([slice.abandoned, slice.byteLength]).toEqual([true, vector.byteLength]);
        slice.clearData();
        expect([...bytes]).toEqual([...numbered(BUFFER, 1)]);
        expect(target.every((byte) => byte === 0xaa)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("takes its slices, and theirs, along when it is abandoned", () => {
    const bytes = numbered(64);
    const vector = IoVector.of(bytes);
    vector.revocable = true;
    const slice = new IoVector(bytes).slice(vector, 8, 32);
    const inner = new IoVector(bytes).slice(slice, 8, 16);
    expect([inner.abandoned, inner.revocable]).toEqual([false, true]);
    vector.abandon();
    inner.copyFrom(new Uint8Array(16), 0);
    slice.clearData();
    expect([...bytes]).toEqual([...numbered(64)]);
    expect([slice.abandoned, inner.abandoned]).toEqual([true, true]);
    expect([slice.byteLength, inner.byteLength]).toEqual([32, 16]);
  });

  it("takes its slices along to another buffer", () => {
    const vector = IoVector.of(numbered(64));
    const inner = new IoVector(new Uint8Array(0)).slice(new IoVector(new Uint8Array(0)).slice(vector, 8, 32), 8, 4);
    const moved = numbered(64, 100);
    vector.bytes = moved;
    const target = new Uint8Array(4);
    inner.copyTo(target, 0);
    expect([...target]).toEqual([116, 117, 118, 119]);
    inner.clearData();
    expect([...moved.subarray(15, 21)]).toEqual([115, 0, 0, 0, 0, 120]);
  });

  it("is as new after clear, also after it was abandoned or a slice", () => {
    const vector = IoVector.of(numbered(16));
    vector.abandon();
    vector.clear();
    vector.bytes = numbered(16);
    vector.push(4, 2);
    expect([vector.abandoned, vector.byteLength, offsetsOf(vector)]).toEqual([false, 2, [4, 5]]);
    const source = IoVector.of(numbered(8));
    vector.slice(source, 0, 8);
    vector.clear();
    source.abandon();
    vector.push(0, 1);
    expect([vector.abandoned, offsetsOf(vector)]).toEqual([false, [0]]);
  });

  it("of a buffer is all of it, from an offset on, or a part", () => {
    expect(offsetsOf(IoVector.of(numbered(3)))).toEqual([0, 1, 2]);
    expect(offsetsOf(IoVector.of(numbered(3), 1))).toEqual([1, 2]);
    expect(offsetsOf(IoVector.of(numbered(9), 4, 2))).toEqual([4, 5]);
  });

  it("refuses to drop or to slice more than there is, or to slice itself", () => {
    const vector = IoVector.of(numbered(8));
    expect(() => vector.dropFront(9)).toThrow(AssertionError);
    expect(() => vector.dropBack(9)).toThrow(AssertionError);
    expect(() => new IoVector(vector.bytes).slice(vector, 1, 8)).toThrow(AssertionError);
    expect(() => vector.slice(vector, 0, 1)).toThrow(AssertionError);
    expect(offsetsOf(vector)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });
});

describe("fillZeroes", () => {
  it("zeroes its range and nothing beside it, at lengths around its step of 64 KiB", () => {
    const bytes = new Uint8Array(200_000);
    for (const [offset, length] of [
      [0, 0],
      [1, 1],
      [3, 65_535],
      [3, 65_536],
      [3, 65_537],
      [7, 131_072],
      [10, 199_980],
    ] as const) {
      bytes.fill(1);
      fillZeroes(bytes, offset, length);
      const expected = new Uint8Array(bytes.length).fill(1).fill(0, offset, offset + length);
      expect(Buffer.compare(bytes, expected), `${offset}, ${length}`).toBe(0);
    }
  });
});

// What is known to be zero, beside a history that tells of any byte what became of it.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KnownZeroes } from "../../../../src/block/drivers/file/known-zeroes.ts";

const GIB = 2 ** 30;
const GRANULE = 4096;

type Event = { kind: "zeroed" | "written"; start: number; end: number } | { kind: "resized"; from: number; to: number };

/** True if the byte at `at` is zero for certain, by all that has happened. */
function isZero(history: readonly Event[], at: number): boolean {
  for (const event of history.toReversed()) {
    if (event.kind === "resized") {
      if (at >= event.from && at < event.to) return true;
    } else if (at >= event.start && at < event.end) return event.kind === "zeroed";
  }
  return false;
}

/** Places where something may differ: the edges of all events and granules nearby. */
function edges(history: readonly Event[], lengthBytes: number, granule: number): number[] {
  const places = history.flatMap((event) =>
    event.kind === "resized" ? [event.from, event.to] : [event.start, event.end],
  );
  const around = places.flatMap((at) => [
    at - 1,
    at,
    Math.floor(at / granule) * granule,
    Math.ceil(at / granule) * granule,
  ]);
  return [...new Set([0, lengthBytes - 1, ...around])].filter((at) => at >= 0 && at < lengthBytes);
}

describe("KnownZeroes", () => {
  it.each([
    ["of small images", 51_200, GRANULE],
    ["of images whose granule changes as they grow and shrink", 300 * GIB, 32 * 1024],
  ])("claims of no byte that it is zero that may be another: %s", (_title, maxLength, granule) => {
    const range = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      size: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const step = fc.oneof(
      fc.record({ kind: fc.constantFrom("zeroed" as const, "written" as const), range }),
      fc.record({ kind: fc.constant("resized" as const), to: fc.nat(maxLength / 512) }),
    );
    fc.assert(
      fc.property(fc.nat(maxLength / 512), fc.array(step, { maxLength: 12 }), (sectors, steps) => {
        let length = sectors * 512;
        const known = new KnownZeroes(length);
        const history: Event[] = [];
        for (const each of steps) {
          if (each.kind === "resized") {
            history.push({ kind: "resized", from: length, to: each.to * 512 });
            length = each.to * 512;
            known.resize(length);
          } else {
            const start = Math.floor(each.range.at * length);
            const end = start + Math.floor(each.range.size * (length - start));
            history.push({ kind: each.kind, start, end });
            if (each.kind === "zeroed") known.add(start, end - start);
            else known.remove(start, end - start);
          }
          for (const at of edges(history, length, granule)) {
            const claimed = known.covers(at, 1);
            if (claimed) expect(isZero(history, at)).toBe(true);
            expect(known.nextUnknown(at, 1)).toBe(claimed ? -1 : at);
            expect(known.nextZero(at, 1)).toBe(claimed ? at : -1);
            if (claimed) expect(known.any).toBe(true);
          }
        }
      }),
    );
  });

  it("knows of every whole granule, and of the last one, cut off by the end", () => {
    const known = new KnownZeroes(10_240);
    expect(known.any).toBe(false);
    known.add(1, 4095);
    expect(known.any).toBe(false);
    known.add(4095, 6145);
    expect([known.any, known.nextZero(0, 10_240), known.nextUnknown(4096, 6144)]).toEqual([true, 4096, -1]);
    known.remove(8191, 1);
    expect([known.nextZero(0, 10_240), known.nextUnknown(8192, 2048)]).toEqual([8192, -1]);
    known.remove(10_239, 1);
    expect(known.any).toBe(false);
  });

  it("keeps what it knows when the granule grows with the image, and when it shrinks again", () => {
    const known = new KnownZeroes(64 * GIB);
    known.add(GIB, GIB);
    known.resize(256 * GIB);
    expect([known.nextZero(0, 64 * GIB), known.nextUnknown(GIB, GIB)]).toEqual([GIB, -1]);
    expect([known.nextZero(2 * GIB, 254 * GIB), known.nextUnknown(64 * GIB, 192 * GIB)]).toEqual([64 * GIB, -1]);
    // 2^24 granules are all there are room for: one byte written takes 16 KiB.
    known.remove(100 * GIB, 1);
    expect(known.nextZero(100 * GIB, GIB)).toBe(100 * GIB + 16_384);
    known.resize(GIB + 8192);
    expect([known.nextZero(0, GIB + 8192), known.nextUnknown(GIB, 8192)]).toEqual([GIB, -1]);
    known.remove(GIB, 4096);
    expect(known.nextZero(0, GIB + 8192)).toBe(GIB + 4096);
  });

  it("has nothing to know of an empty image", () => {
    const known = new KnownZeroes(0);
    known.add(0, 0);
    known.remove(0, 0);
    expect([known.any, known.covers(0, 0)]).toEqual([false, true]);
    known.resize(512);
    expect(known.covers(0, 512)).toBe(true);
  });
});

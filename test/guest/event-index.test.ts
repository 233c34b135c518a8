// The arithmetic of the event index, against single steps.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { passesEvent } from "../../guest/index.ts";

describe("passesEvent", () => {
  it("is true exactly when one of the steps fills slot `event`", () => {
    const index = fc.integer({ min: 0, max: 0xffff });
    fc.assert(
      fc.property(
        index,
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: -45, max: 45 }),
        (from, steps, distance) => {
          const event = (from + distance) & 0xffff;
          let passed = false;
          for (let step = 0; step < steps; step++) if (((from + step) & 0xffff) === event) passed = true;
          expect(passesEvent(event, (from + steps) & 0xffff, from)).toBe(passed);
        },
      ),
    );
  });

  it("holds across the wrap at 2^16", () => {
    expect(passesEvent(0xffff, 0x0000, 0xffff)).toBe(true);
    expect(passesEvent(0x0000, 0x0000, 0xffff)).toBe(false);
    expect(passesEvent(0x0000, 0x0001, 0xffff)).toBe(true);
    expect(passesEvent(0xfffe, 0x0001, 0xffff)).toBe(false);
  });

  it("holds for the largest batch, 32768", () => {
    expect(passesEvent(0x0000, 0x8000, 0x0000)).toBe(true);
    expect(passesEvent(0x7fff, 0x8000, 0x0000)).toBe(true);
    expect(passesEvent(0x8000, 0x8000, 0x0000)).toBe(false);
  });
});

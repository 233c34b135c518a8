// Counting bits in arrays of words, and their little-endian bytes.
import fc from "fast-check";
import { expect, it } from "vitest";
import { countBits, lowestBit, popcount } from "../../src/bitmap/words.ts";

const word = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 1, 1 << 31));

it("popcount and lowestBit read a word as 32 bits", () => {
  fc.assert(
    fc.property(word, (value) => {
      const digits = (value >>> 0).toString(2);
      expect(popcount(value)).toBe(digits.replaceAll("0", "").length);
      if (value !== 0) expect(lowestBit(value)).toBe(digits.length - 1 - digits.lastIndexOf("1"));
    }),
  );
});

it("countBits is the sum of its words, from any word to any other", () => {
  fc.assert(
    fc.property(fc.array(word, { maxLength: 100 }), fc.nat(100), fc.nat(100), (list, a, b) => {
      const words = Int32Array.from(list);
      const from = Math.min(a, b, list.length);
      const to = Math.min(Math.max(a, b), list.length);
      const expected = list.slice(from, to).reduce((sum, each) => sum + popcount(each), 0);
      expect(countBits(words, from, to)).toBe(expected);
    }),
  );
});

// Bytes to write, and a fast comparison of what came back.

import { expect } from "vitest";

/** Bytes that differ from place to place and from seed to seed. */
export function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7 + (i >> 8)) & 0xff);
}

/** As `toEqual`, which takes milliseconds for a few KiB. */
export function sameBytes(bytes: Uint8Array, expected: Uint8Array): void {
  expect(bytes).toHaveLength(expected.length);
  expect(Buffer.compare(bytes, expected)).toBe(0);
}

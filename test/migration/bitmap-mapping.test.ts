// The checks of block-bitmap-mapping: docs/reference/persistence-migration.md §5.4.
import { describe, expect, it } from "vitest";
import { QmpError } from "../../src/base/errors.ts";
import { type BitmapMappingNode, checkBitmapMapping } from "../../src/migration/bitmap-mapping.ts";

describe("block-bitmap-mapping", () => {
  const prefix = "Invalid mapping given for block-bitmap-mapping: ";
  const node = (
    name: string,
    alias: string,
    ...bitmaps: readonly (readonly [string, string])[]
  ): BitmapMappingNode => ({
    "node-name": name,
    alias,
    bitmaps: bitmaps.map(([one, other]) => ({ name: one, alias: other })),
  });
  const cases: readonly (readonly [string, readonly BitmapMappingNode[]])[] = [
    ["The node alias '1' is not well-formed", [node("a", "1")]],
    ["The node alias '' is not well-formed", [node("a", "")]],
    [`The node alias '${"a".repeat(256)}' is longer than 255 bytes`, [node("a", "a".repeat(256))]],
    [`The node name '${"a".repeat(32)}' is longer than 31 bytes`, [node("a".repeat(32), "a")]],
    ["The node name 'a' is mapped twice", [node("a", "x"), node("a", "x")]],
    ["The node alias 'x' is used twice", [node("a", "x"), node("b", "x")]],
    [`The bitmap alias '${"é".repeat(128)}' is longer than 255 bytes`, [node("a", "x", ["b", "é".repeat(128)])]],
    [`The bitmap name '${"b".repeat(1024)}' is longer than 1023 bytes`, [node("a", "x", ["b".repeat(1024), "y"])]],
    ["The bitmap 'a'/'b' is mapped twice", [node("a", "x", ["b", "y"], ["b", "z"])]],
    ["The bitmap alias 'x'/'y' is used twice", [node("a", "x", ["b", "y"], ["c", "y"])]],
  ];
  for (const [message, mapping] of cases) {
    it(`is refused: ${message.slice(0, 60)}`, () => {
      expect(() => checkBitmapMapping(mapping)).toThrow(new QmpError(prefix + message));
    });
  }
});

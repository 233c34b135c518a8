// Values as QEMU prints them.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AssertionError } from "../../../src/base/assert.ts";
import { JsonStream } from "../../../src/qmp/json/json-stream.ts";
import { printJson } from "../../../src/qmp/json/print-json.ts";
import { JsonDouble, type JsonValue } from "../../../src/qmp/json/value.ts";

describe("printJson", () => {
  it.each<readonly [unknown, string]>([
    [null, "null"],
    [true, "true"],
    [{}, "{}"],
    [[], "[]"],
    [{ a: 1, b: [2, { c: "x" }] }, '{"a": 1, "b": [2, {"c": "x"}]}'],
    [{ a: undefined, b: 1 }, '{"b": 1}'],
    [0, "0"],
    [-0, "0"],
    [9007199254740991, "9007199254740991"],
    [2 ** 62, "4611686018427387904"],
    [2 ** 63, "9223372036854775808"],
    [2 ** 64, "1.8446744073709552e+19"],
    [18446744073709551615n, "18446744073709551615"],
    [-9223372036854775808n, "-9223372036854775808"],
    [1.5, "1.5"],
    ["é€😀", '"\\u00E9\\u20AC\\uD83D\\uDE00"'],
    ['"\\/\b\f\n\r\t', '"\\"\\\\/\\b\\f\\n\\r\\t"'],
    ["\0\x1f\x7f\x80 ~", '"\\u0000\\u001F\\u007F\\u0080 ~"'],
    ["\ud800 \udc00 \ufdd0 \uffff \u{1fffe}", '"\\uFFFD \\uFFFD \\uFFFD \\uFFFD \\uFFFD"'],
  ])("prints %o as %s", (value, text) => {
    expect(printJson(value)).toBe(text);
  });

  // What QEMU 7.2 gives back for these ids.
  it.each<[number, string]>([
    [1, "1"],
    [100, "100"],
    [-0, "-0"],
    [0, "0"],
    [0.1, "0.10000000000000001"],
    [0.0001, "0.0001"],
    [0.00001, "1.0000000000000001e-05"],
    [1e15, "1000000000000000"],
    [1e16, "10000000000000000"],
    [1e17, "1e+17"],
    [1e20, "1e+20"],
    [1e22, "1e+22"],
    [1.2345678901234568e17, "1.2345678901234568e+17"],
    [1.2345678901234568e29, "1.2345678901234568e+29"],
    [1.7976931348623157e308, "1.7976931348623157e+308"],
    [2.2250738585072014e-308, "2.2250738585072014e-308"],
    [5e-324, "4.9406564584124654e-324"],
    [131073 / 2 ** 17, "1.0000076293945312"],
    [1e23, "9.9999999999999992e+22"],
    [Infinity, "inf"],
    [-Infinity, "-inf"],
    [NaN, "nan"],
  ])("prints the double %d", (value, text) => {
    expect(printJson(new JsonDouble(value))).toBe(text);
  });

  it("prints doubles so that they are the same when they are read", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const text = printJson(new JsonDouble(value));
        expect(Number(text)).toBe(value);
        expect(text.replace(/^-/, "").replace(/^0\.0*|e.*|\./g, "").length).toBeLessThanOrEqual(17);
      }),
    );
  });

  it("prints one member a line where that is asked for", () => {
    expect(printJson({ a: [1, { b: [] }], z: {} }, { pretty: true })).toBe(
      '{\r\n    "a": [\r\n        1,\r\n        {\r\n            "b": [\r\n            ]\r\n        }\r\n    ],\r\n    "z": {\r\n    }\r\n}',
    );
  });

  it("prints what it has read", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.boolean(), (value, pretty) => {
        const stream = new JsonStream();
        stream.push(new TextEncoder().encode(`${printJson(value, { pretty })}\n`));
        const item = stream.next() as { value: JsonValue };
        expect(printJson(item.value)).toBe(printJson(value));
      }),
    );
  });

  it("refuses what JSON has no form for", () => {
    expect(() => printJson({ a: () => 1 })).toThrow(AssertionError);
    expect(() => printJson([undefined])).toThrow(AssertionError);
    expect(() => printJson(Symbol("x"))).toThrow(AssertionError);
  });
});

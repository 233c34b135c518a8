// QMP's JSON dialect: what each input gives, in whatever pieces it comes, and the limits that hold for hostile ones.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type JsonItem, type JsonLimits, JsonStream } from "../../../src/qmp/json/json-stream.ts";
import type { JsonValue } from "../../../src/qmp/json/value.ts";
import { JSON_INPUTS, type Outcome } from "../support/json-inputs.ts";

const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

function read(pieces: Iterable<Uint8Array>, limits?: JsonLimits): (JsonItem | string)[] {
  const stream = new JsonStream(limits);
  const items: JsonItem[] = [];
  for (const piece of pieces) {
    stream.push(piece);
    for (let item = stream.next(); item !== undefined; item = stream.next()) items.push(item);
  }
  return items.map((item) => ("error" in item ? item.error : item));
}

/** The bytes cut at these places, each a fraction of their length. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [0, ...places.map((place) => Math.floor(place * bytes.length)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

describe("JsonStream", () => {
  it.each(JSON_INPUTS)("reads %j", (input, outcome) => {
    expect(read([latin1(input)])).toEqual(outcome);
    // Whatever it was, the next line is understood.
    expect(read([latin1(`${input}\n[7]`)])).toEqual([...outcome, { value: [7] }]);
  });

  it("gives objects no prototype, so that no name means anything", () => {
    const [item] = read([latin1('{"__proto__":{"a":1}}')]) as [{ value: object }];
    expect(Object.getPrototypeOf(item.value)).toBe(null);
    expect(Object.keys(item.value)).toEqual(["__proto__"]);
  });

  it("reads the same in whatever pieces the bytes come", () => {
    const piece = fc.oneof(
      fc.constantFrom(...JSON_INPUTS.map(([input]) => `${input}\n`)),
      fc.json().map((text) => `${text} `),
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 8 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 }),
        (texts, places) => {
          const bytes = latin1(texts.join("").replace(/[^\0-\xff]/g, "?"));
          const whole = read([bytes]);
          expect(read(cut(bytes, places))).toEqual(whole);
          expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(whole);
        },
      ),
    );
  });

  it("neither throws nor hangs on any bytes, and gives no more items than bytes", () => {
    const noise = fc.oneof(
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
      {
        weight: 3,
        arbitrary: fc
          .array(fc.constantFrom(..."{}[]:,\"'\\ \nu0123456789abcdef.eE+-truenull@\x00\x7f\xc3\xa9\xff"), {
            maxLength: 200,
          })
          .map((characters) => latin1(characters.join(""))),
      },
    );
    fc.assert(
      fc.property(noise, (bytes) => {
        expect(read([bytes]).length).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 2000 },
    );
  });

  it("reads what JSON.parse reads, as JSON.parse does", () => {
    const value = fc.jsonValue({ noUnicodeString: false }).filter((value) => isPlain(value as JsonValue));
    fc.assert(
      fc.property(value, (value) => {
        const text = `${JSON.stringify(value)}\n`;
        expect(read([new TextEncoder().encode(text)])).toEqual([{ value }]);
      }),
    );
  });
});

/** No doubles, which have a form of their own here, and no text that UTF-8 cannot hold. */
function isPlain(value: JsonValue): boolean {
  if (typeof value === "number") return Number.isSafeInteger(value) && !Object.is(value, -0);
  if (typeof value === "string") return isText(value);
  if (Array.isArray(value)) return value.every(isPlain);
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(([key, member]) => isText(key) && isPlain(member as JsonValue));
}

function isText(text: string): boolean {
  return !/[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]/.test(text);
}

describe("JsonStream's limits", () => {
  const VALUE = "JSON parse error, expecting value";

  it("let 1024 braces and brackets be open, of either kind", () => {
    const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
    expect(read([latin1(deep(1024))]).length).toBe(1);
    expect(typeof read([latin1(deep(1024))])[0]).toBe("object");
    // The bracket that is too much is gone, and each that closes one is a mistake of its own.
    expect(read([latin1(deep(1025))])).toEqual(["JSON nesting depth limit exceeded", ...Array(1025).fill(VALUE)]);
    const mixed = `${'{"a":['.repeat(512)}${"]}".repeat(512)}`;
    expect(typeof read([latin1(mixed)])[0]).toBe("object");
    expect(read([latin1(`[${mixed}]`)])[0]).toBe("JSON nesting depth limit exceeded");
  });

  it("hold for the tokens of one value", () => {
    const list = (tokens: number) => latin1(`[${"1,".repeat((tokens - 3) / 2)}1]`);
    const limits = { depth: 8, tokens: 100, tokenBytes: 1 << 20 };
    expect(read([list(99)], limits)).toEqual([{ value: Array(49).fill(1) }]);
    expect(read([list(101)], limits)).toEqual(["JSON token count limit exceeded"]);
    expect(read([list(103)], limits)).toEqual(["JSON token count limit exceeded", { value: 1 }, VALUE]);
    // Each value counts from the start.
    expect(read([list(99), list(99)], limits).length).toBe(2);
  });

  it("hold for the bytes of all tokens of one value", () => {
    const limits = { depth: 8, tokens: 100, tokenBytes: 64 };
    const string = (bytes: number) => `"${"a".repeat(bytes - 2)}"`;
    expect(read([latin1(string(63))], limits)).toEqual([{ value: "a".repeat(61) }]);
    expect(read([latin1(string(64))], limits)).toEqual(["JSON token size limit exceeded"]);
    expect(read([latin1(`[${string(61)}]`)], limits)).toEqual([{ value: ["a".repeat(59)] }]);
    expect(read([latin1(`[${string(62)}]`)], limits)).toEqual(["JSON token size limit exceeded"]);
    expect(read([latin1(`[${string(30)}   ,   ${string(30)}]7 `)], limits)).toEqual([
      { value: ["a".repeat(28), "a".repeat(28)] },
      { value: 7 },
    ]);
  });

  it("cut a token that is too long, and read on behind the cut", () => {
    const limits = { depth: 8, tokens: 100, tokenBytes: 64 };
    const TOO_LONG = "JSON token size limit exceeded";
    const invalid = (word: string) => `JSON parse error, invalid keyword '${word}'`;
    // 65 bytes are gone; eight letters are left, and a quote that begins another string.
    expect(read([latin1(`"${"a".repeat(72)}"7 \n8 \n9 `)], limits)).toEqual([
      TOO_LONG,
      invalid("aaaaaaaa"),
      "JSON parse error, stray '\"7 \n'",
      { value: 9 },
    ]);
    expect(read([latin1(`[${"1".repeat(65 + 2)}]`)], limits)).toEqual([TOO_LONG, { value: 11 }, VALUE]);
    expect(read([latin1(`${"a".repeat(65 * 3)}b `)], limits)).toEqual([TOO_LONG, TOO_LONG, TOO_LONG, invalid("b")]);
    expect(read([latin1(`"${"\\n".repeat(40)} `)], limits)).toEqual([TOO_LONG, "JSON parse error, stray '\\'"]);
  });

  it("do not make an integer of a million digits cost more than a double", () => {
    const [item] = read([latin1(`[${"9".repeat(1 << 20)}]`)]) as [{ value: [{ value: number }] }];
    expect(item.value[0].value).toBe(Infinity);
  });

  it("are QEMU's where none are given", () => {
    const outcome: Outcome = ["JSON token count limit exceeded"];
    const list = latin1(`[${"1,".repeat((1 << 20) - 1)}1]`);
    expect(read([list])).toEqual(outcome);
    expect(typeof read([list.subarray(0, list.length - 3), latin1("]")])[0]).toBe("object");
  });
});

// Arguments checked against their types: the first mistake, in QEMU's words, and what right ones become.
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { QmpError } from "../../../src/base/errors.ts";
import { parseJson } from "../../../src/qmp/json/parse-json.ts";
import { JsonDouble } from "../../../src/qmp/json/value.ts";
import { visitJson } from "../../../src/qmp/schema/json-reader.ts";
import { visitKeyval, visitOption } from "../../../src/qmp/schema/keyval-reader.ts";
import {
  alternate,
  any,
  array,
  bool,
  enumeration,
  extend,
  int,
  int32,
  number,
  object,
  optional,
  size,
  str,
  type Type,
  uint8,
  uint64,
  union,
} from "../../../src/qmp/schema/types.ts";
import { describeWithTools } from "../../support/tools.ts";
import { SAMPLE_ARGUMENTS, SAMPLE_BLOCKDEV } from "../support/sample-types.ts";
import { WRONG_ARGUMENTS, WRONG_OPTIONS } from "../support/wrong-arguments.ts";

const json = (type: Type<unknown>, text: string) => visitJson(type, parseJson(text));

describe("visitJson", () => {
  it.each(WRONG_ARGUMENTS)("refuses %s %s", (command, args, desc) => {
    expect(() => json(SAMPLE_ARGUMENTS[command]!, args)).toThrow(new QmpError(desc));
  });

  it("gives what the type names, with nothing else in it", () => {
    const value = json(
      SAMPLE_BLOCKDEV,
      '{"size":512,"driver":"raw","cache":{"direct":true},"file":{"driver":"null-co","latency-ns":-1}}',
    );
    expect(value).toEqual({
      driver: "raw",
      cache: { direct: true },
      file: { driver: "null-co", "latency-ns": 18446744073709551615n },
      size: 512,
    });
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  it.each<[Type<unknown>, string, unknown]>([
    [int, "9007199254740991", 9007199254740991],
    [int, "9007199254740993", 9007199254740993n],
    [int, "-9223372036854775808", -9223372036854775808n],
    [uint64, "18446744073709551615", 18446744073709551615n],
    [uint64, "-1", 18446744073709551615n],
    [size, "-9223372036854775808", 9223372036854775808n],
    [int32, "-2147483648", -2147483648],
    [uint8, "255", 255],
    [number, "1.5", 1.5],
    [number, "7", 7],
    [number, "18446744073709551616", 2 ** 64],
    [any, '{"a":[1.0]}', { a: [new JsonDouble(1)] }],
  ])("reads an integer or a double as %o from %s", (type, text, value) => {
    expect(json(type, text)).toEqual(value);
  });

  it.each<[Type<unknown>, string, string]>([
    [int32, "2147483648", "Parameter 'null' expects int32_t"],
    [int32, "-2147483649", "Parameter 'null' expects int32_t"],
    [int32, "1.0", "Invalid parameter type for 'null', expected: integer"],
    [uint8, "256", "Parameter 'null' expects uint8_t"],
    [number, '"1"', "Invalid parameter type for 'null', expected: number"],
  ])("refuses %o from %s", (type, text, message) => {
    expect(() => json(type, text)).toThrow(new QmpError(message));
  });

  it("takes plain objects of a script, and counts undefined as absent", () => {
    const type = object({ a: int, b: optional(str), c: optional(number) });
    expect(visitJson(type, { a: 2 ** 60, b: undefined, c: 0.5 })).toEqual({ a: 1152921504606846976n, c: 0.5 });
    expect(() => visitJson(type, { a: 0.5 })).toThrow("Invalid parameter type for 'a', expected: integer");
    expect(() => visitJson(type, { b: "x" })).toThrow("Parameter 'a' is missing");
    expect(() => visitJson(type, Object.create({ a: 1 }))).toThrow("Parameter 'a' is missing");
  });

  it("has the TypeScript types of the descriptions", () => {
    const action = union("type", { id: optional(int) }, { stop: object({}), move: object({ by: array(uint8) }) });
    const type = extend(object({ mode: enumeration("fast", "slow") }), {
      action,
      where: optional(alternate("Where", str, object({ node: str }))),
      really: optional(bool),
    });
    const value = visitJson(type, { mode: "slow", action: { type: "move", by: [1, 2] }, where: { node: "n" } });
    const mode: "fast" | "slow" = value.mode;
    const where: string | { readonly node: string } | undefined = value.where;
    const really: boolean | undefined = value.really;
    const sum: number = value.action.type === "move" ? value.action.by.reduce((a, b) => a + b, 0) : -1;
    expect({ mode, where, really, sum }).toEqual({ mode: "slow", where: { node: "n" }, really: undefined, sum: 3 });
    // @ts-expect-error the branch `stop` has no such member
    expect(value.action.type === "stop" && value.action.by).toBe(false);
  });

  it("gives a value or a QmpError for anything at all", () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.values(SAMPLE_ARGUMENTS)), fc.object(), (type, value) => {
        try {
          visitJson(type, value);
        } catch (error) {
          if (!(error instanceof QmpError)) throw error;
        }
      }),
    );
  });
});

describe("visitKeyval", () => {
  const options = (text: string) => visitOption(SAMPLE_BLOCKDEV, text, "driver");

  it.each(WRONG_OPTIONS)("refuses %s", (text, message) => {
    expect(() => options(text)).toThrow(new QmpError(message));
  });

  it.each<[string, unknown]>([
    ["null-co,node-name=n", { driver: "null-co", "node-name": "n" }],
    ["null-co,node-name=n,", { driver: "null-co", "node-name": "n" }],
    ["driver=null-co,node-name=a,,b=c", { driver: "null-co", "node-name": "a,b=c" }],
    ["null-co,size=1,size=2", { driver: "null-co", size: 2 }],
    ["null-co,size= 0x10", { driver: "null-co", size: 16 }],
    ["null-co,size=010", { driver: "null-co", size: 8 }],
    ["null-co,size=+1", { driver: "null-co", size: 1 }],
    ["null-co,size=-9223372036854775808", { driver: "null-co", size: -9223372036854775808n }],
    ["null-co,latency-ns=-1", { driver: "null-co", "latency-ns": 18446744073709551615n }],
    ["null-co,read-only=yes,cache.direct=off", { driver: "null-co", "read-only": true, cache: { direct: false } }],
    ["raw,file=n0", { driver: "raw", file: "n0" }],
    ["raw,file.driver=null-co,file.size=1", { driver: "raw", file: { driver: "null-co", size: 1 } }],
    ["qcow2,file=n0,backing=", { driver: "qcow2", file: "n0", backing: "" }],
    ["qcow2,file=n0,overlap-check=all", { driver: "qcow2", file: "n0", "overlap-check": "all" }],
    [
      "quorum,vote-threshold=1,children.01=n1,children.00=n0",
      { driver: "quorum", "vote-threshold": 1, children: ["n0", "n1"] },
    ],
    ['{"driver":"null-co","size":1}', { driver: "null-co", size: 1 }],
  ])("reads %s", (text, value) => {
    expect(options(text)).toEqual(value);
  });

  // As -object memory-backend-ram,size=… takes them.
  it.each<[string, number | bigint | undefined]>([
    ["0", 0],
    ["1", 1],
    ["1B", 1],
    ["1k", 1024],
    ["1K", 1024],
    ["1.5M", 1572864],
    ["1.k", 1024],
    ["1.3k", 1331],
    ["1.0B", 1],
    [" +1M", 1048576],
    ["010k", 10240],
    ["0x10", 16],
    ["2e", 2305843009213693952n],
    ["18446744073709551615", 18446744073709551615n],
    ["00000000000000000000000000000001k", 1024],
    ["x", undefined],
    ["", undefined],
    [" ", undefined],
    ["-1", undefined],
    ["-0", undefined],
    ["1.5", undefined],
    [".5k", undefined],
    ["1.5.k", undefined],
    ["1 M", undefined],
    ["1M ", undefined],
    ["1MM", undefined],
    ["1KiB", undefined],
    ["1e3", undefined],
    ["0x1.8k", undefined],
    ["inf", undefined],
    ["16E", undefined],
    ["18446744073709551616", undefined],
  ])("reads the size '%s' as %s", (text, value) => {
    const read = () => visitKeyval(object({ size }), `size=${text}`);
    if (value === undefined) expect(read).toThrow(new QmpError("Parameter 'size' expects a size value"));
    else expect(read()).toEqual({ size: value });
  });

  it("reads numbers, and anything", () => {
    const type = object({ n: optional(number), a: optional(any) });
    expect(visitKeyval(type, "n=1.5e3,a.b.0=x,a.b.1=y")).toEqual({ n: 1500, a: { b: ["x", "y"] } });
    expect(() => visitKeyval(type, "n=")).toThrow("Parameter 'n' expects number");
    expect(() => visitKeyval(type, "n=inf")).toThrow("Parameter 'n' expects number");
  });

  it("lets a key nest only so deep", () => {
    expect(() => visitKeyval(object({}), `${"a.".repeat(5000)}b=1`)).toThrow(/nests too deep$/);
  });

  it("gives a value or a QmpError for any text", () => {
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.constantFrom("driver", "=", ",", ".", "0", "1", "file", "null-co", "raw", "size", "help", "x")),
    );
    fc.assert(
      fc.property(text, (text) => {
        try {
          options(typeof text === "string" ? text : text.join(""));
        } catch (error) {
          if (!(error instanceof QmpError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describeWithTools(["qemu-system-aarch64"], "options beside QEMU", () => {
  it.each(WRONG_OPTIONS)("are refused in the same words: %s", (text, message) => {
    const nodes = ["-blockdev", "null-co,node-name=n0", "-blockdev", "null-co,node-name=n1"];
    const { stderr } = spawnSync(
      "qemu-system-aarch64",
      ["-M", "none", "-display", "none", ...nodes, "-blockdev", text],
      { encoding: "utf8" },
    );
    expect(stderr).toBe(`qemu-system-aarch64: -blockdev ${text}: ${message}\n`);
  });
});

// One JSON value as an option's argument.
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { QmpError } from "../../../src/base/errors.ts";
import { parseJson } from "../../../src/qmp/json/parse-json.ts";
import { describeWithTools } from "../../support/tools.ts";

const REFUSED: readonly [text: string, message: string][] = [
  ["{", "JSON parse error, premature EOI"],
  ['{"a":1', "JSON parse error, premature EOI"],
  ['{"a":[1', "JSON parse error, premature EOI"],
  ['{"a" "b"', "JSON parse error, missing : in object pair"],
  ['{"a":1 2', "JSON parse error, expected separator in dict"],
  ['{"a":1,"a":2', "JSON parse error, duplicate key"],
  ['{"a":tru', "JSON parse error, invalid keyword 'tru'"],
  ['{"driver":"nul', "JSON parse error, stray '\"nul'"],
  ['{"a":-', "JSON parse error, stray '-'"],
  ['{"a":1.', "JSON parse error, stray '1.'"],
  ["{@", "JSON parse error, stray '@'"],
  ['{"a":@ "b":@}', "JSON parse error, stray '@'"],
  ["{]", "JSON parse error, expecting value"],
  ["{} {}", "Expecting at most one JSON value"],
  ["{}1", "Expecting at most one JSON value"],
  ["{},", "Expecting at most one JSON value"],
  ["{}}", "Expecting at most one JSON value"],
  ["{}@", "Expecting at most one JSON value"],
  [`{"a":${"[".repeat(1024)}`, "JSON nesting depth limit exceeded"],
];

describe("parseJson", () => {
  it("gives the one value that is there", () => {
    expect(parseJson(' {"driver": \'raw\', "size": 512} \n')).toEqual({ driver: "raw", size: 512 });
    expect(parseJson("17")).toBe(17);
    expect(parseJson("null")).toBe(null);
    expect(parseJson('"é"')).toBe("é");
  });

  it.each(REFUSED)("refuses %j", (text, message) => {
    expect(() => parseJson(text)).toThrow(new QmpError(message));
  });

  it("refuses a text without a value", () => {
    expect(() => parseJson("  ")).toThrow("Expecting a JSON value");
  });
});

describeWithTools(["qemu-system-aarch64"], "parseJson beside QEMU", () => {
  it.each(REFUSED)("refuses %j in the same words", (text, message) => {
    const { stderr } = spawnSync("qemu-system-aarch64", ["-M", "none", "-display", "none", "-blockdev", text], {
      encoding: "utf8",
    });
    expect(stderr).toBe(`qemu-system-aarch64: -blockdev ${text}: ${message}\n`);
  });
});

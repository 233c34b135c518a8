// `-trace`: QEMU's spellings, what they switch on and off, and mistakes.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseTraceOptions } from "../../machine/trace-options.ts";
import { tracePoint } from "../../src/base/trace.ts";
import { withFolder } from "../support/cli.ts";

const NAMES = ["test_options_a", "test_options_b", "test_options_cc"];
for (const name of NAMES) tracePoint(name);

function chosen(...values: string[]): string[] {
  const { matches, warnings } = parseTraceOptions(values);
  expect(warnings).toEqual([]);
  return NAMES.filter(matches);
}

describe("-trace", () => {
  it.each([
    [["test_options_a"], ["test_options_a"]],
    [["enable=test_options_a"], ["test_options_a"]],
    [["test_options_?"], ["test_options_a", "test_options_b"]],
    [["test_options_*"], NAMES],
    [
      ["test_options_*", "-test_options_b"],
      ["test_options_a", "test_options_cc"],
    ],
    [["-test_options_b", "test_options_*"], NAMES],
    [["TEST_options_a*"], []],
    [[], []],
  ])("%j chooses %j", (values, names) => {
    expect(chosen(...values)).toEqual(names);
  });

  it("reads patterns from a file, a line each, without comments", () =>
    withFolder(async (folder) => {
      const path = join(folder, "events");
      writeFileSync(path, "# a comment\n\ntest_options_*\n  -test_options_a\n");
      expect(chosen(`events=${path}`)).toEqual(["test_options_b", "test_options_cc"]);
      expect(() => parseTraceOptions([`events=${path}x`])).toThrow(`${path}x: No such file or directory`);
    }));

  it("says where to and how, the last time counting", () => {
    expect(parseTraceOptions(["a*,file=one,x-format=json", "b*,file=two"])).toMatchObject({
      file: "two",
      format: "json",
      help: false,
    });
    expect(parseTraceOptions(["help"]).help).toBe(true);
    expect(parseTraceOptions(["enable=help"]).help).toBe(true);
  });

  it("warns of names that nothing has, and refuses what it does not know", () => {
    expect(parseTraceOptions(["nope", "test_options_a", "nope_*", "-gone"]).warnings).toEqual([
      "trace event 'nope' does not exist",
      "trace event '-gone' does not exist",
    ]);
    expect(() => parseTraceOptions(["zz=1"])).toThrow("Invalid parameter 'zz'");
    expect(() => parseTraceOptions(["a*,x-format=xml"])).toThrow("x-format");
  });
});

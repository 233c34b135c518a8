// The rules of style that neither the formatter nor the linter knows, and what a file must not give away of where it was written.
import { describe, expect, it } from "vitest";
import { listProjectFiles, readProjectFile } from "../support/project-files.ts";

const files = listProjectFiles();
const written = files.filter((path) => path !== "package-lock.json");
const sources = files.filter((path) => /\.[cm]?[jt]s$/.test(path));

const LONGEST_LINES = 400;
/** Files that are longer, each with the reason why it stays in one piece. */
const LONG_FILES: Readonly<Record<string, string>> = {};

/** Every line of these files that matches, as `path:line: text`. `example` proves that the pattern finds what it is for. */
function findLines(paths: readonly string[], pattern: RegExp, example: string): string[] {
  expect(example).toMatch(pattern);
  return paths.flatMap((path) =>
    readProjectFile(path)
      .split("\n")
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

describe("the names of files", () => {
  it("are kebab-case where they are sources", () => {
    const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.property)?(\.(test|config))?\.(ts|mjs)$/;
    expect(["dirtyBitmap.ts", "Node.ts", "dirty_bitmap.ts"].some((name) => kebab.test(name))).toBe(false);
    expect(sources.length).toBeGreaterThan(20);
    expect(sources.filter((path) => !kebab.test(path.slice(path.lastIndexOf("/") + 1)))).toEqual([]);
  });

  it("say what is in them: no utils, helpers, manager or common", () => {
    const empty = /(^|[/-])(utils?|helpers?|managers?|commons?|misc)([-./]|$)/;
    expect(["src/utils/a.ts", "src/job-manager.ts", "test/helpers.ts"].every((path) => empty.test(path))).toBe(true);
    expect(files.filter((path) => empty.test(path))).toEqual([]);
  });
});

describe("a source file", () => {
  it("starts with a sentence on what it is", () => {
    // The comment that the file starts with, a line or a few, up to its full stop.
    const sentence = /^\/\/ \S.*(\n\/\/.*)*[.:](\n[^/]|\n\/\/|$)/;
    expect(["// One.\nx", "// One\n// and more.\nx"].every((text) => sentence.test(text))).toBe(true);
    expect(["x", "// no full stop\nx", "\n// Late."].some((text) => sentence.test(text))).toBe(false);
    expect(sources.filter((path) => !sentence.test(readProjectFile(path)))).toEqual([]);
  });

  it(`has at most ${LONGEST_LINES} lines, or a reason`, () => {
    const long = sources.filter((path) => readProjectFile(path).trimEnd().split("\n").length > LONGEST_LINES);
    expect(long).toEqual(Object.keys(LONG_FILES).sort());
  });
});

// The patterns are put together from pieces so that they do not find themselves.
describe("no file", () => {
  it("leaves something to be done later", () => {
    const mark = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"].join("|")})\\b`);
    expect(findLines(written, mark, `// ${"TO"}${"DO"}: the rest`)).toEqual([]);
  });

  it("names a folder of the machine that it was written on", () => {
    const folder = new RegExp(
      `(^|[^\\w.~-])/(${["wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers"].join("|")})(/|\\b[^-\\w])`,
    );
    expect(findLines(written, folder, `cd "/${"ro"}${"ot"}/project"`)).toEqual([]);
  });

  it("names a package registry", () => {
    const host = new RegExp(
      ["registry", "\\.npm|npm", "js\\.(org|com)|npm", "mirror|artifact", "ory|verd", "accio"].join(""),
      "i",
    );
    expect(findLines(files, host, `https://${"registry"}.${"npm"}${"js"}.org/`)).toEqual([]);
  });
});

describe("package-lock.json", () => {
  const { packages } = JSON.parse(readProjectFile("package-lock.json")) as {
    packages: Record<
      string,
      { resolved?: string; integrity?: string; os?: string[]; optionalDependencies?: Record<string, string> }
    >;
  };
  const installed = Object.entries(packages).filter(([path]) => path !== "");

  it("names versions and checksums, not where they were fetched from", () => {
    expect(installed.length).toBeGreaterThan(10);
    expect(installed.filter(([, entry]) => entry.resolved !== undefined)).toEqual([]);
    // What is for other systems alone may have been out of reach when the file was written.
    expect(installed.filter(([, entry]) => entry.integrity === undefined && entry.os === undefined)).toEqual([]);
  });

  it("has the builds for other systems as well: `npm ci` refuses a file that leaves one out", () => {
    const names = installed.flatMap(([, entry]) => Object.keys(entry.optionalDependencies ?? {}));
    expect(names).toContain("@biomejs/cli-darwin-arm64");
    expect(names.filter((name) => packages[`node_modules/${name}`] === undefined)).toEqual([]);
  });
});

// What the linter's patterns cannot see of imports: they compare the text of a path, not the file that it leads to.
import { posix } from "node:path";
import { describe, expect, it } from "vitest";
import { readImports, walkImports } from "../support/imports.ts";
import { listProjectFiles, readProjectFile } from "../support/project-files.ts";

const sources = listProjectFiles().filter((path) => path.endsWith(".ts") && !path.startsWith("test/fixtures/"));

/** `./a/../b.ts` leads somewhere else than it seems to; `../b.ts` does not. */
function isShortest(specifier: string): boolean {
  if (!specifier.startsWith(".")) return true;
  const normal = posix.normalize(specifier);
  return specifier === (normal.startsWith(".") ? normal : `./${normal}`);
}

describe("readImports", () => {
  it("finds every form of import", () => {
    const text = `
      import { a } from "./a.ts";
      import type { B } from "./b.ts";
      import { type C } from "./c.ts";
      import "./d.ts";
      export * from "./e.ts";
      export type { F } from "./f.ts";
      const g = await import("./g.ts");
      let h: import("./h.ts").H;
    `;
    expect(readImports(text)).toEqual([
      { specifier: "./a.ts", kind: "value" },
      { specifier: "./b.ts", kind: "type" },
      { specifier: "./c.ts", kind: "value" },
      { specifier: "./d.ts", kind: "value" },
      { specifier: "./e.ts", kind: "value" },
      { specifier: "./f.ts", kind: "type" },
      { specifier: "./g.ts", kind: "value" },
      { specifier: "./h.ts", kind: "inside-type" },
    ]);
  });
});

describe("the paths of imports", () => {
  it("are in their shortest form, so that a pattern sees where they lead", () => {
    expect(["./a.ts", "../a/b.ts", "node:fs"].every(isShortest)).toBe(true);
    expect(["./../a.ts", "../a/../b.ts", "././a.ts", "./a//b.ts"].some(isShortest)).toBe(false);
    const roundabout = sources.flatMap((path) =>
      readImports(readProjectFile(path))
        .filter(({ specifier }) => !isShortest(specifier))
        .map(({ specifier }) => `${path}: ${specifier}`),
    );
    expect(roundabout).toEqual([]);
  });

  it("stand in import statements, never inside a type, where the linter does not look", () => {
    const hidden = sources.flatMap((path) =>
      readImports(readProjectFile(path))
        .filter(({ kind }) => kind === "inside-type")
        .map(({ specifier }) => `${path}: ${specifier}`),
    );
    expect(hidden).toEqual([]);
  });
});

describe("the root of the package", () => {
  it("needs no Node and no package: nothing that it leads to on the web imports either", () => {
    const graph = walkImports("index.ts", { "#platform": "src/platform/web.ts" });
    expect(graph.foreign).toEqual([]);
    expect(graph.files).toContain("src/platform/web.ts");
  });

  it("has one file that knows Node, behind the condition `node` of #platform", () => {
    const graph = walkImports("index.ts", { "#platform": "src/platform/node.ts" });
    expect(graph.foreign.filter((mention) => !mention.endsWith("(from src/platform/node.ts)"))).toEqual([]);
    expect(graph.foreign.some((mention) => mention.startsWith("node:"))).toBe(true);
  });
});

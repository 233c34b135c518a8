// The import rules of docs/architecture.md, as biome.json states them: each is broken by a fixture, and an allowed twin passes.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const fixtures = join(root, "test/fixtures/import-rules");
const biome = join(root, "node_modules/@biomejs/biome/bin/biome");

interface Diagnostic {
  /** `lint/<group>/<rule>` */
  readonly category: string;
  readonly message: string;
  readonly location: { readonly path: string };
}

interface RestrictedImports {
  readonly level: string;
  readonly options: { readonly patterns: readonly { readonly message: string }[] };
}

interface Configuration {
  readonly linter: { readonly rules: { readonly style: { readonly noRestrictedImports: RestrictedImports } } };
  readonly overrides: readonly {
    readonly linter?: {
      readonly rules: { readonly style?: { readonly noRestrictedImports?: RestrictedImports | "off" } };
    };
  }[];
}

/** The fixtures, each with the names of the rules that its first line says it breaks; none where the line says "Allowed". */
function readExpectations(): Map<string, readonly string[]> {
  const expected = new Map<string, readonly string[]>();
  for (const entry of readdirSync(fixtures, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const [, heading] = /^\/\/ ([\w, ]+)[:.]/.exec(readFileSync(path, "utf8")) ?? [];
    if (heading === undefined) throw new Error(`${path}: the first line names no rule`);
    expected.set(path.slice(fixtures.length + 1), heading === "Allowed" ? [] : heading.split(", "));
  }
  return expected;
}

/** The messages of all sets of import rules in biome.json. */
function readRuleMessages(): string[] {
  const configuration = JSON.parse(readFileSync(join(root, "biome.json"), "utf8")) as Configuration;
  const sets = [configuration.linter.rules.style.noRestrictedImports];
  for (const { linter } of configuration.overrides) {
    const set = linter?.rules.style?.noRestrictedImports;
    if (set !== undefined && set !== "off") sets.push(set);
  }
  return sets.flatMap((set) => set.options.patterns.map((pattern) => pattern.message));
}

describe("import rules", () => {
  const tree = mkdtempSync(join(tmpdir(), "vblk-import-rules-"));
  const expected = readExpectations();
  let diagnostics: readonly Diagnostic[] = [];

  // The rules go by where a file stands, so the fixtures are linted in a tree of their own that is laid out as the project is.
  beforeAll(() => {
    cpSync(fixtures, tree, { recursive: true });
    for (const name of ["biome.json", ".gitignore"]) cpSync(join(root, name), join(tree, name));
    const run = spawnSync(process.execPath, [biome, "lint", "--reporter=json", "--max-diagnostics=none", "."], {
      cwd: tree,
      encoding: "utf8",
    });
    if (run.status !== 1) throw new Error(`biome exited with ${run.status}: ${run.stderr}`);
    ({ diagnostics } = JSON.parse(run.stdout) as { diagnostics: readonly Diagnostic[] });
  });
  afterAll(() => rmSync(tree, { recursive: true }));

  it.each([...expected])("%s breaks %j and nothing else", (path, rules) => {
    const broken = diagnostics.filter((diagnostic) => diagnostic.location.path === path);
    expect(broken.map((diagnostic) => diagnostic.category.split("/").at(-1)).sort()).toEqual([...rules].sort());
  });

  it("leave no set of rules in biome.json without a fixture that breaks it", () => {
    const seen = new Set(diagnostics.map((diagnostic) => diagnostic.message));
    const messages = readRuleMessages();
    expect(new Set(messages).size).toBe(messages.length);
    expect(messages.filter((message) => !seen.has(message))).toEqual([]);
  });
});

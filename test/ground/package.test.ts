// The package as its users get it: packed, installed into an empty project, used from plain Node, from TypeScript and in a browser.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { createContext, runInContext } from "node:vm";
import { publint } from "publint";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listProjectFiles, PROJECT_ROOT } from "../support/project-files.ts";

const INSTALL_TIMEOUT_MS = 300_000;

/** The environment of a user's shell: nothing of npm's or vitest's that would lead back to this project. */
function userEnvironment(): NodeJS.ProcessEnv {
  const mine =
    /^(npm_(?!config_(registry|cache|userconfig))|VITEST|VBLK_|NODE_OPTIONS|NODE_ENV|INIT_CWD|TEST$|DEV$|PROD$|SSR$|MODE$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !mine.test(name)));
}

describe("the packed package", () => {
  const folder = mkdtempSync(join(tmpdir(), "vblk-package-"));
  const consumer = join(folder, "consumer");
  const installed = join(consumer, "node_modules/virtio-blk");

  /** What the program printed; all of it in the error if it fails. */
  function run(command: string, args: readonly string[], cwd: string = consumer): string {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8", env: userEnvironment() });
    if (status !== 0) throw new Error(`${command} ${args.join(" ")}: exit code ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  // A copy of the project is built, so that a build in the project itself is neither disturbed nor relied on.
  beforeAll(() => {
    const project = join(folder, "project");
    for (const path of listProjectFiles()) cpSync(join(PROJECT_ROOT, path), join(project, path));
    symlinkSync(join(PROJECT_ROOT, "node_modules"), join(project, "node_modules"));
    run("npm", ["pack", "--silent", "--pack-destination", folder], project);
    const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
    if (tarball === undefined) throw new Error("npm pack made no archive");

    cpSync(join(PROJECT_ROOT, "test/fixtures/package"), consumer, { recursive: true });
    writeFileSync(join(consumer, "package.json"), '{ "private": true, "type": "module" }\n');
    run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, tarball)]);
  }, INSTALL_TIMEOUT_MS);
  afterAll(() => rmSync(folder, { recursive: true }));

  it("holds the built package, its documentation and the examples, and no source or test", () => {
    const files = readdirSync(installed, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(installed, join(entry.parentPath, entry.name)));
    expect(files).toEqual(
      expect.arrayContaining(["LICENSE", "README.md", "CHANGELOG.md", "dist/index.js", "dist/index.d.ts"]),
    );
    const expected =
      /^(package\.json|LICENSE|README\.md|CHANGELOG\.md|docs\/[\w-]+\.md|examples\/[\w-]+\.ts|dist\/.+\.(js|d\.ts))$/;
    expect(files.filter((path) => !expected.test(path))).toEqual([]);
  });

  it("has a package.json without a fault that publint knows", async () => {
    const { messages } = await publint({ pkgDir: installed, pack: false, strict: true });
    expect(messages).toEqual([]);
  });

  it("runs a disk and its guest on plain Node", () => {
    expect(run(process.execPath, ["use.mjs"]).split("\n")).toEqual([
      "probed: true",
      "image as written: true",
      "backup as before: true",
      "refused: true",
      "conformance: 0 violated, 10 kept",
      "absent program: StartError",
      "",
    ]);
  });

  it("installs the command vblk", () => {
    expect(run("npx", ["--no-install", "vblk", "--help"])).toContain("vblk run");
  });

  it("runs guest scripts in TypeScript from the command line, its own examples first", () => {
    const script = join("node_modules/virtio-blk/examples/load-generator.ts");
    const { ok } = JSON.parse(run("npx", ["--no-install", "vblk", "run", script, "--json"])) as { ok: boolean };
    expect(ok).toBe(true);
  });

  it("type-checks on Node, its own declarations included", () => {
    // What a user would install as @types/node.
    mkdirSync(join(consumer, "node_modules/@types"), { recursive: true });
    symlinkSync(join(PROJECT_ROOT, "node_modules/@types/node"), join(consumer, "node_modules/@types/node"));
    const compiler = join(PROJECT_ROOT, "node_modules/typescript/bin/tsc");
    expect(run(process.execPath, [compiler, "--project", "tsconfig.node.json"])).toBe("");
  });

  it("type-checks for the web, its own declarations included, without the types of Node", () => {
    const compiler = join(PROJECT_ROOT, "node_modules/typescript/bin/tsc");
    expect(run(process.execPath, [compiler, "--project", "tsconfig.web.json"])).toBe("");
  });

  it("runs a disk and its guest in a browser: bundled, and with nothing but a browser's globals", async () => {
    const output = await build({
      root: consumer,
      configFile: false,
      logLevel: "error",
      define: { "process.env.NODE_ENV": '"production"' },
      build: { write: false, minify: false, lib: { entry: "web.ts", formats: ["iife"], name: "disk" } },
    });
    const [bundle] = (Array.isArray(output) ? output : [output]).flatMap((one) => ("output" in one ? one.output : []));
    if (bundle?.type !== "chunk") throw new Error("vite made no bundle");
    expect(bundle.code.match(/["'`]node:[\w/]+/g)).toBeNull();

    const browser = createContext({
      performance,
      MessageChannel,
      TextEncoder,
      TextDecoder,
      setTimeout,
      clearTimeout,
      crypto,
      AbortController,
      AbortSignal,
    });
    runInContext(bundle.code, browser);
    expect(await runInContext("disk.writeAndReadBack()", browser)).toBe("written and read back");
  });

  it("shows no path of the machine that built it", () => {
    for (const entry of readdirSync(join(installed, "dist"), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) expect(readFileSync(join(entry.parentPath, entry.name), "utf8")).not.toContain(folder);
    }
  });
});

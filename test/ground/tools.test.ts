// Tests that need a tool: run with it, skipped and counted without it, failed without it where it is required.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findTool } from "../support/tools.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const vitest = join(root, "node_modules/vitest/vitest.mjs");
const summarise = join(root, "scripts/summarise-tests.mjs");

describe("describeWithTools", () => {
  const folder = mkdtempSync(join(tmpdir(), "vblk-tools-"));
  const bin = join(folder, "bin");
  const results = join(folder, "results.json");

  beforeAll(() => {
    mkdirSync(bin);
    writeFileSync(join(bin, "vblk-test-tool"), "#!/bin/sh\necho here\n");
    chmodSync(join(bin, "vblk-test-tool"), 0o755);
    writeFileSync(join(bin, "not-executable"), "");
    mkdirSync(join(bin, "directory"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Runs the fixture as `npm test` would, then the script that counts its results. */
  function runFixture(environment: Record<string, string>): { status: number | null; output: string; summary: string } {
    const { VBLK_REQUIRE_TOOLS: _, ...inherited } = process.env;
    const run = spawnSync(process.execPath, [vitest, "run", "--config", "test/fixtures/tools/vitest.config.ts"], {
      cwd: root,
      encoding: "utf8",
      env: { ...inherited, VBLK_TEST_RESULTS: results, NO_COLOR: "1", ...environment },
    });
    const counted = spawnSync(process.execPath, [summarise, results], { encoding: "utf8" });
    return { status: run.status, output: run.stdout + run.stderr, summary: counted.stdout };
  }

  it("runs its tests when the tool is on the search path", () => {
    const run = runFixture({ PATH: `${bin}${delimiter}${process.env["PATH"]}` });
    expect(run).toMatchObject({ status: 0, summary: "2 passed, 0 failed, 0 skipped\n" });
    expect(run.output).not.toContain("Skipped");
  });

  it("skips its tests when the tool is missing, tells why, and counts each", () => {
    const run = runFixture({});
    expect(run).toMatchObject({ status: 0, summary: "0 passed, 0 failed, 2 skipped\n" });
    expect(run.output).toContain("Skipped 2 tests: vblk-test-tool not on PATH");
  });

  it("fails when the tool is missing and tools are required", () => {
    const run = runFixture({ VBLK_REQUIRE_TOOLS: "1" });
    expect(run).toMatchObject({ status: 1, summary: "0 passed, 1 failed, 0 skipped\n" });
    expect(run.output).toContain("vblk-test-tool not found");
  });

  it("takes neither a directory nor a file without permission to execute for a tool", () => {
    const path = `${join(folder, "absent")}${delimiter}${bin}`;
    expect(findTool("vblk-test-tool", path)).toBe(join(bin, "vblk-test-tool"));
    expect(findTool("not-executable", path)).toBeUndefined();
    expect(findTool("directory", path)).toBeUndefined();
    expect(findTool("absent", path)).toBeUndefined();
  });
});

describe("summarise-tests", () => {
  const folder = mkdtempSync(join(tmpdir(), "vblk-summary-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  function summariseJson(json: string): { status: number | null; stdout: string } {
    const path = join(folder, "results.json");
    writeFileSync(path, json);
    const { status, stdout } = spawnSync(process.execPath, [summarise, path], { encoding: "utf8" });
    return { status, stdout };
  }

  it("counts a file that could not be loaded as one failure", () => {
    const json = JSON.stringify({
      success: false,
      testResults: [
        { status: "failed", assertionResults: [] },
        { status: "passed", assertionResults: [{ status: "passed" }, { status: "skipped" }, { status: "todo" }] },
      ],
    });
    expect(summariseJson(json)).toEqual({ status: 1, stdout: "1 passed, 1 failed, 2 skipped\n" });
  });

  it("fails on a run without a single test", () => {
    expect(summariseJson(JSON.stringify({ success: true, testResults: [] }))).toEqual({
      status: 1,
      stdout: "0 passed, 0 failed, 0 skipped\n",
    });
  });

  it("fails when the run failed outside its tests", () => {
    const json = JSON.stringify({
      success: false,
      testResults: [{ status: "passed", assertionResults: [{ status: "passed" }] }],
    });
    expect(summariseJson(json)).toEqual({ status: 1, stdout: "1 passed, 0 failed, 0 skipped\n" });
  });
});

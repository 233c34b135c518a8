// `vblk conformance` as a user runs it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonReport } from "../../guest/conformance/reports/json.ts";
import { runCli, startCli, withFolder } from "../support/cli.ts";

const FOLDER = mkdtempSync(join(tmpdir(), "vblk-"));
/** A program of its own, as targets are. */
const FAKE = join(FOLDER, "fake");

beforeAll(() => {
  const script = fileURLToPath(new URL("../support/fake-qtest-program.mjs", import.meta.url));
  writeFileSync(FAKE, `#!/bin/sh\nexec '${process.execPath}' '${script}' "$@"\n`, { mode: 0o755 });
});
afterAll(() => rmSync(FOLDER, { recursive: true }));

/** Two cases on a program that is no device; an answer may take half a second. */
async function examineFake(mode: string): Promise<{ report: JsonReport; stderr: string; code: number | null }> {
  const args = ["conformance", "--target", FAKE, "--only", "STAT-DEV-005,MMIO-DEV-001", "--json", "-"];
  const options = ["--variant", "modern-split", "--timeout", "500"];
  const { stdout, stderr, code } = await runCli([...args, ...options], { env: { FAKE_TARGET: mode } });
  return { report: stdout === "" ? (undefined as never) : (JSON.parse(stdout) as JsonReport), stderr, code };
}

describe("vblk conformance", () => {
  it("tells by chapter that this project's device keeps what was looked at, with status 0", async () => {
    const { stdout, code } = await runCli(["conformance", "--only", "STAT-DEV-*", "--variant", "modern-split"]);
    expect(stdout).toMatch(/^2\.1 Device status field +10$/m);
    expect(stdout).toContain("10 requirements: 10 kept");
    expect(code).toBe(0);
  });

  it("writes the same run in every form", async () => {
    await withFolder(async (folder) => {
      const [json, junit, html] = ["r.json", "r.xml", "r.html"].map((name) => join(folder, name));
      const args = ["conformance", "--only", "MMIO-DEV-00?", "--json", json!, "--junit", junit!, "--html", html!, "-q"];
      const { stdout, stderr, code } = await runCli(args);
      expect({ stdout, stderr, code }).toEqual({ stdout: "", stderr: "", code: 0 });
      const { requirements } = JSON.parse(readFileSync(json!, "utf8")) as JsonReport;
      expect(requirements.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `MMIO-DEV-00${n}`));
      expect(readFileSync(junit!, "utf8")).toContain('failures="0" errors="0"');
      expect(readFileSync(html!, "utf8")).toContain("<code>MMIO-DEV-009</code>");
    });
  });

  it("lists cases and variants without running one", async () => {
    const { stdout, code } = await runCli(["conformance", "--list", "--only", "*DRIVER_OK*", "--target", "/no/such"]);
    expect(stdout).toContain(
      "  STAT-DEV-001 uses no available buffer before DRIVER_OK (modern-split, modern-packed)\n",
    );
    expect(code).toBe(0);
  });

  it("says what is wrong with its options, with status 2", async () => {
    const variant = await runCli(["conformance", "--variant", "modern-split,ancient"]);
    expect(variant.stderr).toContain("'ancient' is none of modern-split, modern-packed, legacy-split");
    const timeout = await runCli(["conformance", "--timeout", "soon"]);
    expect(timeout.stderr).toContain("a number of milliseconds");
    const only = await runCli(["conformance", "--only", "NO-SUCH-*"]);
    expect(only.stderr).toContain("no case matches 'NO-SUCH-*'");
    expect([variant.code, timeout.code, only.code]).toEqual([2, 2, 2]);
  });

  it("says that a target does not start, with status 1", async () => {
    const none = await runCli(["conformance", "--target", "/no/such/program"]);
    expect(none.stderr).toContain("Could not examine '/no/such/program': '/no/such/program' did not start: spawn");
    const other = await runCli(["conformance", "--target", "false"]);
    expect(other.stderr).toContain("'false' did not start: it ended with status 1");
    expect([none.code, other.code]).toEqual([1, 1]);
  });

  it("ends in order on Ctrl-C", async () => {
    const cli = startCli(["conformance", "--target", FAKE, "--timeout", "2000"], { env: { FAKE_TARGET: "hang" } });
    const said = new Promise<void>((resolve) => cli.process.stderr!.on("data", () => resolve())); // the first progress
    await said;
    cli.process.kill("SIGINT");
    const { code, stdout, stderr } = await cli.result;
    expect(stderr).toContain("ended by SIGINT");
    expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
  });
});

describe("vblk conformance on a program that is no device", () => {
  it("tells that it hangs, and goes on with a fresh one", async () => {
    const { report, code } = await examineFake("hang");
    expect(report.counts).toMatchObject({ lost: 2, error: 0 });
    expect(report.requirements[1]!.cases[0]!.reason).toBe("no answer within 500 ms");
    expect(code).toBe(1);
  });

  it("tells that it died, and its last words", async () => {
    const { report } = await examineFake("die");
    expect(report.counts).toMatchObject({ lost: 2, error: 0 });
    const { reason } = report.requirements[0]!.cases[0]!;
    expect(reason).toMatch(/^the qtest socket was closed at its other end.*fake: something terrible happened$/);
  });

  it("tells that its answers are none", async () => {
    const { report } = await examineFake("garbage");
    expect(report.counts).toMatchObject({ lost: 2, error: 0 });
    expect(report.requirements[0]!.cases[0]!.reason).toMatch(/^qtest: 'readl 0xa003e04' was answered '0xnonsense'/);
  });

  it("tells that it says what nobody asked for", async () => {
    const { report } = await examineFake("chatter");
    expect(report.counts).toMatchObject({ lost: 2, error: 0 });
  });

  it("does not take in an answer without an end", async () => {
    const { report } = await examineFake("flood");
    expect(report.counts).toMatchObject({ lost: 2, error: 0 });
    expect(report.requirements[0]!.cases[0]!.reason).toMatch(/an answer is too long|no answer within/);
  });

  it("says that there is no monitor", async () => {
    const { stderr, code } = await examineFake("no-qmp");
    expect(stderr).toContain("the monitor said 'hello, who is there?', which is not QMP");
    expect(code).toBe(1);
  });
});

// Tests against Debian's own programs (qemu-img, qemu-io, nbdinfo, …): run where those exist, told and counted as skipped where not.
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { describe, expect, it } from "vitest";

/** Set to `1` (as `.ci/run` does), a missing tool is a failed test instead of a skipped one. */
export const REQUIRE_TOOLS_VARIABLE = "VBLK_REQUIRE_TOOLS";

/**
 * Where a program of this name stands on the search path, or `undefined` if nowhere.
 * @param tool a bare program name, `qemu-img`
 * @param searchPath directories joined as in `PATH`; the process's own by default
 */
export function findTool(tool: string, searchPath: string = process.env["PATH"] ?? ""): string | undefined {
  for (const directory of searchPath.split(delimiter)) {
    if (directory === "") continue;
    const candidate = join(directory, tool);
    if (isExecutableFile(candidate)) return candidate;
  }
  return undefined;
}

/**
 * A `describe` whose tests run the named programs. If one of them is not on the path, the tests are skipped, each counted, under a title
 * that names what is missing; with `VBLK_REQUIRE_TOOLS=1` one failing test stands in their place. The body is called while tests
 * are collected, present tools or not, so it starts programs only inside tests and hooks.
 */
export function describeWithTools(tools: readonly string[], title: string, body: () => void): void {
  const missing = tools.filter((tool) => findTool(tool) === undefined);
  if (missing.length === 0) {
    describe(title, body);
  } else if (process.env[REQUIRE_TOOLS_VARIABLE] === "1") {
    describe(title, () => {
      it(`finds ${tools.join(", ")} on PATH`, () => {
        expect.fail(`${missing.join(", ")} not found, and ${REQUIRE_TOOLS_VARIABLE}=1 forbids to skip`);
      });
    });
  } else {
    describe.skip(`${title} (skipped: ${missing.join(", ")} not on PATH)`, body);
  }
}

function isExecutableFile(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // absent or not ours to run: the same to a caller who looks for a program
  }
}

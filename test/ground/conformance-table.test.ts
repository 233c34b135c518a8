// docs/conformance.md against the suite, the code's comments and what is kept of QEMU's results.
import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { deviceRequirements } from "../../guest/conformance/requirement.ts";
import { listProjectFiles, PROJECT_ROOT, readProjectFile } from "../support/project-files.ts";

it("docs/conformance.md is what scripts/conformance-table.mjs writes", () => {
  const args = ["scripts/conformance-table.mjs", "--check"];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: PROJECT_ROOT, encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

it("a comment @virtio names a requirement that there is", () => {
  const known = new Set(deviceRequirements.map(({ id }) => id));
  const unknown = listProjectFiles()
    .filter((path) => /^(devices|src)\/.*\.ts$/.test(path))
    .flatMap((path) =>
      [...readProjectFile(path).matchAll(/@virtio ([^\n]*)/g)].flatMap(([, ids]) => ids!.trim().split(/[ ,]+/)),
    )
    .filter((id) => !known.has(id));
  expect(unknown).toEqual([]);
});

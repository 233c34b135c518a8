// Random programs on qcow2 images against a naive twin: docs/reference/persistence-migration.md §3, backup.md §3.

import { describe, it } from "vitest";
import { runProgram } from "./run-program.ts";
import { runPrograms } from "./seeds.ts";

const PROGRAMS = process.env["VBLK_SOAK"] === undefined ? 1000 : 30_000;

describe("qcow2 images under random programs", () => {
  it(
    "are what their naive twins are after every step, and after a crash at any of them",
    {
      timeout: PROGRAMS * 1000,
    },
    () => runPrograms(PROGRAMS, { tools: false }, (program) => runProgram(program)),
  );
});

// Random programs on qcow2 images against a naive twin: docs/reference/persistence-migration.md §3, backup.md §3.

import { describe, it } from "vitest";
import { type ModelTest, runSeeds } from "../shorten.ts";
import { makeProgram, type Program, printProgram } from "./program.ts";
import { runProgram } from "./run-program.ts";
import { stepCounts, withoutSteps } from "./shorter.ts";

const SOAK = process.env["VBLK_SOAK"] !== undefined;
const PROGRAMS = SOAK ? 20_000 : 1200;
/** A seed to run alone: that of a failure. And where to begin, to run others than every time. */
const ONLY = process.env["VBLK_MODEL_SEED"];
const FIRST = Number(ONLY ?? process.env["VBLK_MODEL_FIRST"] ?? 1);

const programs: ModelTest<Program> = {
  make: (seed) => makeProgram(seed, { tools: false }),
  async run(program) {
    await runProgram(program);
  },
  print: printProgram,
  steps: stepCounts,
  without: withoutSteps,
};

describe("qcow2 images under random programs", () => {
  it(
    "are what their naive twins are after every step, and after a crash at any of them",
    {
      timeout: PROGRAMS * 1000,
    },
    () => runSeeds(programs, FIRST, ONLY === undefined ? PROGRAMS : 1),
  );
});

// Which programs of the qcow2 model test run, and how one that fails is told.

import { onTestFailed } from "vitest";
import { runSeeds } from "../shorten.ts";
import { makeProgram, type Program, type ProgramOptions, printProgram } from "./program.ts";
import { stepCounts, withoutSteps } from "./shorter.ts";

/** A seed to run alone: that of a failure. And where to begin, to run others than every time. */
const ONLY = process.env["VBLK_MODEL_SEED"];
const FIRST = Number(ONLY ?? process.env["VBLK_MODEL_FIRST"] ?? 1);

/** Runs `count` programs, or the one that is asked for. One that hangs can say nothing itself: its seed is told when time is up. */
export function runPrograms(
  count: number,
  options: ProgramOptions,
  run: (program: Program) => Promise<unknown>,
): Promise<void> {
  let seed = FIRST;
  onTestFailed(() => console.error(`the last program was that of VBLK_MODEL_SEED=${seed}`));
  const test = {
    make: (number: number): Program => makeProgram(number, options),
    async run(program: Program): Promise<void> {
      seed = program.seed;
      await run(program);
    },
    print: printProgram,
    steps: stepCounts,
    without: withoutSteps,
  };
  return runSeeds(test, FIRST, ONLY === undefined ? count : 1);
}

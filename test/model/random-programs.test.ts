// Random programs of a guest and of a user of the monitor, on a machine whose I/O is slow, out of order and fails, against a naive twin.

import { describe, it } from "vitest";
import { makeGraphProgram } from "./graph-program.ts";
import { makeProgram, type Program, printProgram } from "./program.ts";
import { runProgram } from "./run-program.ts";
import { type ModelTest, runSeeds } from "./shorten.ts";

const SOAK = process.env["VBLK_SOAK"] !== undefined;
const PROGRAMS = SOAK ? 1_000_000 : 3000;
const GRAPH_PROGRAMS = SOAK ? 300_000 : 2000;
/** A seed to run alone: that of a failure. And where to begin, to run others than every time. */
const ONLY = process.env["VBLK_MODEL_SEED"];
const FIRST = Number(ONLY ?? process.env["VBLK_MODEL_FIRST"] ?? 1);

const LISTS = ["user", "guest"] as const;

function modelTest(make: (seed: number) => Program): ModelTest<Program> {
  return {
    make,
    run: runProgram,
    print: printProgram,
    steps: (program) => LISTS.map((list) => program[list].length),
    without(program, index, at, count) {
      const list = LISTS[index]!;
      return { ...program, [list]: program[list].filter((_, i) => i < at || i >= at + count) };
    },
  };
}

describe("A machine under random programs", () => {
  it(
    "does what its naive twin does; loses no write; changes nothing by a command that fails; hangs and leaks nothing",
    {
      timeout: PROGRAMS * 1000,
    },
    () => runSeeds(modelTest(makeProgram), FIRST, ONLY === undefined ? PROGRAMS : 1),
  );

  it(
    "keeps its block graph whole whatever is added, deleted and reopened below jobs and devices",
    {
      timeout: GRAPH_PROGRAMS * 1000,
    },
    () => runSeeds(modelTest(makeGraphProgram), FIRST, ONLY === undefined ? GRAPH_PROGRAMS : 1),
  );
});

// Random programs on qcow2 images against a naive twin, and before Debian's own programs: docs/reference/persistence-migration.md §3, backup.md §3.

import { beforeAll, describe, it, onTestFailed } from "vitest";
import { describeWithTools } from "../../support/tools.ts";
import { type ModelTest, runSeeds } from "../shorten.ts";
import { runJudged } from "./judge.ts";
import { makeProgram, type Program, printProgram } from "./program.ts";
import { runProgram } from "./run-program.ts";
import { stepCounts, withoutSteps } from "./shorter.ts";
import { makeStartImages, type ToolImage } from "./start-images.ts";
import { ToolFolder } from "./tool-folder.ts";

const SOAK = process.env["VBLK_SOAK"] !== undefined;
const PROGRAMS = SOAK ? 30_000 : 1000;
const JUDGED_PROGRAMS = SOAK ? 6000 : 150;
/** A seed to run alone: that of a failure. And where to begin, to run others than every time. */
const ONLY = process.env["VBLK_MODEL_SEED"];
const FIRST = Number(ONLY ?? process.env["VBLK_MODEL_FIRST"] ?? 1);

/** Of the program that runs: one that hangs can say nothing itself. */
let seed = 0;
const tellSeed = (): void => console.error(`the last program was that of VBLK_MODEL_SEED=${seed}`);

function modelTest(tools: boolean, run: (program: Program) => Promise<unknown>): ModelTest<Program> {
  return {
    make: (seed) => makeProgram(seed, { tools }),
    async run(program) {
      seed = program.seed;
      await run(program);
    },
    print: printProgram,
    steps: stepCounts,
    without: withoutSteps,
  };
}

const count = (programs: number): number => (ONLY === undefined ? programs : 1);

describe("qcow2 images under random programs", () => {
  it(
    "are what their naive twins are after every step, and after a crash at any of them",
    {
      timeout: PROGRAMS * 1000,
    },
    () => runSeeds(modelTest(false, runProgram), FIRST, count(PROGRAMS)),
  );
});

describeWithTools(["qemu-img", "qemu-io", "qemu-storage-daemon"], "qcow2 images under random programs", () => {
  let start: readonly ToolImage[];

  beforeAll(() => {
    const folder = new ToolFolder();
    try {
      start = makeStartImages(folder);
    } finally {
      folder.dispose();
    }
  });

  it("are right, and what their naive twins are, with snapshots, bitmaps and backups, as qemu-img sees them", {
    timeout: JUDGED_PROGRAMS * 5000,
  }, () => {
    onTestFailed(tellSeed);
    const test = modelTest(true, (program) => runJudged(program, start));
    return runSeeds(test, FIRST, count(JUDGED_PROGRAMS));
  });
});

// Thousands of programs against every layout: no exception, no hang, no byte written that no descriptor allowed, and after a reset
// a device that works.
import { describe, expect, it } from "vitest";
import { Random } from "../support/simulation.ts";
import { runProgram } from "./fuzz-run.ts";
import { ProgramGenerator } from "./generate.ts";
import { FUZZ_LAYOUTS } from "./program.ts";

const PROGRAMS = process.env["VBLK_SOAK"] === undefined ? 2500 : 400_000;
const STEPS = 40;
/** A machine that is busy with other things takes its time. */
const TIMEOUT_MS = process.env["VBLK_SOAK"] === undefined ? 240_000 : 7_200_000;
/** A program that failed once is repeated with `VBLK_FUZZ_SEED=…`. */
const SEED = process.env["VBLK_FUZZ_SEED"];

describe("a device under a guest that does anything", () => {
  it(
    "answers or stops, writes where it may, and works again after a reset",
    async () => {
      const first = SEED === undefined ? 1 : Number(SEED);
      const last = SEED === undefined ? PROGRAMS : first;
      const mistakes = new Map<string, number>();
      const layouts = new Map<string, number>();
      const sum = { changedBytes: 0, verified: 0, broken: 0, zoneRequests: 0, packedOnFurtherQueues: 0 };
      for (let seed = first; seed <= last; seed++) {
        const program = new ProgramGenerator(new Random(seed)).program(STEPS);
        try {
          const report = await runProgram(program);
          for (const [name, count] of report.mistakes) mistakes.set(name, (mistakes.get(name) ?? 0) + count);
          layouts.set(program.setup.layout, (layouts.get(program.setup.layout) ?? 0) + 1);
          sum.changedBytes += report.changedBytes;
          sum.verified += report.verified;
          sum.zoneRequests += report.zoneRequests;
          if (program.setup.layout === "packed") sum.packedOnFurtherQueues += report.onFurtherQueues;
          if ((report.deviceStatus & 0x40) !== 0) sum.broken++;
        } catch (error) {
          throw new Error(`VBLK_FUZZ_SEED=${seed}: ${error instanceof Error ? error.message : error}`, {
            cause: error,
          });
        }
      }
      if (process.env["VBLK_FUZZ_TALLY"] !== undefined) console.log(sum, mistakes, layouts);
      if (SEED !== undefined) return;
      // It would be no proof if guests did nothing of use, or only one thing.
      expect([...layouts.keys()].sort()).toEqual([...FUZZ_LAYOUTS].sort());
      expect(sum.verified / PROGRAMS).toBeGreaterThan(1);
      expect(sum.zoneRequests / PROGRAMS).toBeGreaterThan(0.05);
      expect(sum.packedOnFurtherQueues / PROGRAMS).toBeGreaterThan(0.05);
      expect(sum.broken / PROGRAMS).toBeGreaterThan(0.02);
      expect(mistakes.size).toBeGreaterThan(40);
      expect(sum.changedBytes / PROGRAMS).toBeGreaterThan(250);
    },
    TIMEOUT_MS,
  );
});

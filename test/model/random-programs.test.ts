// Random programs of a guest and of a user of the monitor, on a machine whose I/O is slow, out of order and fails, against a naive twin.

import { describe, expect, it } from "vitest";
import { makeProgram, type Program, printProgram } from "./program.ts";
import { runProgram } from "./run-program.ts";

const PROGRAMS = process.env["VBLK_SOAK"] === undefined ? 4000 : 1_000_000;
/** So many programs are tried to find a shorter one that fails as well. */
const SHORTENINGS = 400;
/** A seed to run alone: that of a failure. */
const ONLY = process.env["VBLK_MODEL_SEED"];
const FIRST = Number(process.env["VBLK_MODEL_FIRST"] ?? 1);

async function failureOf(program: Program): Promise<unknown> {
  try {
    await runProgram(program);
    return undefined;
  } catch (error) {
    return error ?? new Error("failed with nothing");
  }
}

/** Leaves out what is not needed to fail. */
async function shorten(program: Program): Promise<Program> {
  let best = program;
  let tries = 0;
  for (const list of ["user", "guest"] as const) {
    for (let size = Math.ceil(best[list].length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < best[list].length && tries < SHORTENINGS; tries++) {
        const shorter = { ...best, [list]: best[list].filter((_, i) => i < at || i >= at + size) };
        if ((await failureOf(shorter)) === undefined) at += size;
        else best = shorter;
      }
    }
  }
  return best;
}

describe("A machine under random programs", () => {
  it("does what its naive twin does; loses no write; changes nothing by a command that fails; hangs and leaks nothing", {
    timeout: PROGRAMS * 1000,
  }, async () => {
    const first = ONLY === undefined ? FIRST : Number(ONLY);
    const count = ONLY === undefined ? PROGRAMS : 1;
    for (let seed = first; seed < first + count; seed++) {
      const failure = await failureOf(makeProgram(seed));
      if (failure === undefined) continue;
      const shortest = await shorten(makeProgram(seed));
      const cause = (await failureOf(shortest)) ?? failure;
      const message = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
      expect.fail(`VBLK_MODEL_SEED=${seed} fails alone, and so does:\n${printProgram(shortest)}\n${message}`);
    }
  });
});

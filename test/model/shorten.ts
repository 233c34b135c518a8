// Runs programs of the model test by their seeds, and finds of one that fails a shorter one that fails too.

import { type Program, printProgram } from "./program.ts";
import { runProgram } from "./run-program.ts";

/** So many programs are tried to find a shorter one. */
const SHORTENINGS = 400;

/** Runs the programs of `count` seeds from `first` on. Throws at the first that fails, with all that it takes to see that again. */
export async function runSeeds(make: (seed: number) => Program, first: number, count: number): Promise<void> {
  for (let seed = first; seed < first + count; seed++) {
    const failure = await failureOf(make(seed));
    if (failure === undefined) continue;
    const shortest = await shorten(make(seed));
    const cause = (await failureOf(shortest)) ?? failure;
    const message = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    throw new Error(`VBLK_MODEL_SEED=${seed} fails alone, and so does:\n${printProgram(shortest)}\n${message}`);
  }
}

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

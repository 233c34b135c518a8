// Runs programs of a model test by their seeds, and finds of one that fails a shorter one that fails too.

/** So many programs are tried to find a shorter one. */
const SHORTENINGS = 400;

/** A kind of programs: what can be printed, run again, and be made shorter. */
export interface ModelTest<Program> {
  /** The program of a seed. */
  make(seed: number): Program;
  /** Rejects where the model is not met. */
  run(program: Program): Promise<void>;
  print(program: Program): string;
  /** How many steps it has, list by list. */
  steps(program: Program): readonly number[];
  /** Without `count` steps of a list, from `at` on. */
  without(program: Program, list: number, at: number, count: number): Program;
}

/** Runs the programs of `count` seeds from `first` on. Throws at the first that fails, with all that it takes to see that again. */
export async function runSeeds<Program>(test: ModelTest<Program>, first: number, count: number): Promise<void> {
  for (let seed = first; seed < first + count; seed++) {
    const failure = await failureOf(test, test.make(seed));
    if (failure === undefined) continue;
    const shortest = await shorten(test, test.make(seed));
    const cause = (await failureOf(test, shortest)) ?? failure;
    const message = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    throw new Error(`VBLK_MODEL_SEED=${seed} fails alone, and so does:\n${test.print(shortest)}\n${message}`);
  }
}

async function failureOf<Program>(test: ModelTest<Program>, program: Program): Promise<unknown> {
  try {
    await test.run(program);
    return undefined;
  } catch (error) {
    return error ?? new Error("failed with nothing");
  }
}

/** Leaves out what is not needed to fail. */
async function shorten<Program>(test: ModelTest<Program>, program: Program): Promise<Program> {
  let best = program;
  let tries = 0;
  for (let list = 0; list < test.steps(best).length; list++) {
    const length = (): number => test.steps(best)[list]!;
    for (let size = Math.ceil(length() / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < length() && tries < SHORTENINGS; tries++) {
        const shorter = test.without(best, list, at, size);
        if ((await failureOf(test, shorter)) === undefined) at += size;
        else best = shorter;
      }
    }
  }
  return best;
}

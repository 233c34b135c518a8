// `npm run fuzz`: programs without end, guided by the device's code that they reach; what fails is made small and kept in a file.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../support/simulation.ts";
import { BlockCoverage } from "./coverage.ts";
import { runProgram } from "./fuzz-run.ts";
import { ProgramGenerator } from "./generate.ts";
import { failureKind, minimise } from "./minimise.ts";
import { mutate } from "./mutate.ts";
import { type FuzzProgram, formatProgram, parseProgram } from "./program.ts";

const HELP = `Usage: npm run fuzz -- [--seed N] [--programs N] [--minutes N] [--out FOLDER]
       npm run fuzz -- --replay FILE

Runs programs on virtio block devices until it is stopped, or so many programs or minutes. Each new failure is made as
small as it will be and written to FOLDER (.cache/fuzz by default); --replay runs such a file again.`;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    programs: { type: "string" },
    minutes: { type: "string" },
    out: { type: "string", default: ".cache/fuzz" },
    replay: { type: "string" },
    help: { type: "boolean", short: "h" },
  },
});

/** What the program fails with; undefined where it passes. */
async function failureOf(program: FuzzProgram): Promise<unknown> {
  try {
    await runProgram(program);
    return undefined;
  } catch (error) {
    return error;
  }
}

async function replay(file: string): Promise<void> {
  const failure = await failureOf(parseProgram(await readFile(file, "utf8")));
  if (failure === undefined) return console.log(`${file}: passes`);
  console.log(`${file}: fails`, failure);
  process.exitCode = 1;
}

class LongRun {
  readonly #random: Random;
  readonly #generator: ProgramGenerator;
  readonly #coverage = new BlockCoverage("/devices/");
  readonly #corpus: FuzzProgram[] = [];
  readonly #found = new Set<string>();
  readonly #out: string;
  #programs = 0;

  constructor(seed: number, out: string) {
    this.#random = new Random(seed);
    this.#generator = new ProgramGenerator(this.#random);
    this.#out = out;
  }

  async run(programs: number, minutes: number): Promise<void> {
    await this.#coverage.start();
    const startMs = performance.now();
    const endMs = startMs + 60_000 * minutes;
    let reportMs = startMs;
    while (this.#programs < programs && performance.now() < endMs) {
      await this.#runOne(this.#next());
      if (performance.now() < reportMs + 5000) continue;
      reportMs = performance.now();
      this.#report(reportMs - startMs);
    }
    this.#report(performance.now() - startMs);
    this.#coverage.stop();
    if (this.#found.size > 0) process.exitCode = 1;
  }

  #next(): FuzzProgram {
    const random = this.#random;
    if (this.#corpus.length < 10 || random.chance(0.3)) return this.#generator.program(10 + random.below(60));
    // The newest reached what is hardest to reach.
    const pick = (): FuzzProgram =>
      this.#corpus[this.#corpus.length - 1 - Math.floor(this.#corpus.length * random.next() ** 2)]!;
    return mutate(pick(), pick(), random, this.#generator);
  }

  async #runOne(program: FuzzProgram): Promise<void> {
    this.#programs++;
    const failure = await failureOf(program);
    if ((await this.#coverage.takeNew()) > 0) this.#corpus.push(program);
    if (failure !== undefined) await this.#keep(program, failure);
  }

  async #keep(program: FuzzProgram, failure: unknown): Promise<void> {
    const kind = failureKind(failure);
    if (this.#found.has(kind)) return;
    this.#found.add(kind);
    console.log(`program ${this.#programs}:`, failure);
    const smallest = await minimise(program, async (candidate) => {
      const error = await failureOf(candidate);
      return error === undefined ? undefined : failureKind(error);
    });
    await mkdir(this.#out, { recursive: true });
    const name = kind
      .toLowerCase()
      .replaceAll(/[^a-z]+/g, "-")
      .replaceAll(/^-|-$/g, "")
      .slice(0, 60);
    const file = join(this.#out, `${name}.json`);
    await writeFile(file, formatProgram(smallest));
    console.log(`${smallest.steps.length} of ${program.steps.length} steps are needed: ${file}`);
  }

  #report(elapsedMs: number): void {
    const rate = Math.round(this.#programs / (elapsedMs / 1000));
    const { blocks } = this.#coverage;
    console.log(
      `${Math.round(elapsedMs / 1000)} s: ${this.#programs} programs (${rate}/s), ${blocks} blocks, corpus ${this.#corpus.length}, found ${this.#found.size}`,
    );
  }
}

if (values.help === true) {
  console.log(HELP);
} else if (values.replay !== undefined) {
  await replay(values.replay);
} else {
  const seed = values.seed === undefined ? Date.now() % 2 ** 32 : Number(values.seed);
  const programs = Number(values.programs ?? Number.POSITIVE_INFINITY);
  const minutes = Number(values.minutes ?? Number.POSITIVE_INFINITY);
  if (![seed, programs, minutes].every((number) => number >= 0))
    throw new Error("--seed, --programs and --minutes are numbers");
  console.log(`seed ${seed}`);
  await new LongRun(seed, values.out).run(programs, minutes);
}

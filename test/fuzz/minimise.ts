// Makes a failing program smaller as long as it fails in the same way: fewer steps, then plainer ones.

import type { FuzzProgram, FuzzStep } from "./program.ts";

/** What went wrong, without the numbers that differ from program to program. */
export function failureKind(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/^step \d+, [a-z]+: /, "").replaceAll(/0x[0-9a-f]+|\d+/g, "#");
}

/** `fails` says what a program fails with, undefined where it passes. */
export async function minimise(
  program: FuzzProgram,
  fails: (program: FuzzProgram) => Promise<string | undefined>,
): Promise<FuzzProgram> {
  const kind = await fails(program);
  if (kind === undefined) throw new Error("minimise: the program does not fail");
  const still = async (candidate: FuzzProgram): Promise<boolean> => (await fails(candidate)) === kind;
  let smallest = program;
  for (let before = Infinity; smallest.steps.length < before; ) {
    before = smallest.steps.length;
    for (let chunk = Math.ceil(before / 2); chunk >= 1; chunk = Math.floor(chunk / 2)) {
      for (let from = smallest.steps.length - chunk; from >= 0; from -= chunk) {
        const candidate = { ...smallest, steps: smallest.steps.toSpliced(from, chunk) };
        if (await still(candidate)) smallest = candidate;
      }
    }
  }
  for (let i = 0; i < smallest.steps.length; i++) {
    for (const plainer of plainerSteps(smallest.steps[i]!)) {
      const candidate = { ...smallest, steps: smallest.steps.with(i, plainer) };
      if (await still(candidate)) smallest = candidate;
    }
  }
  return smallest;
}

/** Steps that say less; each is tried on its own. */
function plainerSteps(step: FuzzStep): FuzzStep[] {
  if (step.do === "arm") return [step.what, { ...step, after: 0 }];
  if (step.do === "init")
    return [
      { ...step, features: "0x0" },
      { ...step, size: 4 },
    ];
  if (step.do !== "request") return [];
  return [
    { ...step, changes: [] },
    ...step.changes.map((_, i) => ({ ...step, changes: step.changes.toSpliced(i, 1) })),
    { ...step, header: [16] },
    { ...step, data: step.data.slice(0, 1) },
    { ...step, shape: "direct" },
    { ...step, sector: "0x0" },
  ];
}

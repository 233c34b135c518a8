// Programs of the qcow2 model test with some steps left out: of the program, of the image below, and of those that happen within a step.

import type { Program, Step } from "./program.ts";

/** How many there are, list by list. */
export function stepCounts({ steps, middleSteps }: Program): readonly number[] {
  return [steps.length, middleSteps.length, ...steps.map((step) => inner(step).length)];
}

/** Without `count` of a list, from `at` on. */
export function withoutSteps(program: Program, list: number, at: number, count: number): Program {
  const kept = <T>(all: readonly T[]): T[] => all.filter((_, i) => i < at || i >= at + count);
  if (list === 0) return { ...program, steps: kept(program.steps) };
  if (list === 1) return { ...program, middleSteps: kept(program.middleSteps) };
  const steps = program.steps.map((step, i): Step => {
    if (i !== list - 2) return step;
    if (step.op === "backup") return { ...step, during: kept(step.during) };
    return step.op === "burst" ? { ...step, requests: kept(step.requests) } : step;
  });
  return { ...program, steps };
}

function inner(step: Step): readonly unknown[] {
  if (step.op === "backup") return step.during;
  return step.op === "burst" ? step.requests : [];
}

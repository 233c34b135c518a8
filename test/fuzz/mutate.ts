// Changes programs that reached something new: the corpus of a long run.

import type { Random } from "../support/simulation.ts";
import type { ProgramGenerator } from "./generate.ts";
import type { FuzzProgram, FuzzStep } from "./program.ts";

/** Longer programs say little more, and take their time. */
const MAX_STEPS = 120;

/** A program like `program`, with parts of `other`. */
export function mutate(
  program: FuzzProgram,
  other: FuzzProgram,
  random: Random,
  generator: ProgramGenerator,
): FuzzProgram {
  let { setup } = program;
  let steps = [...program.steps];
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const at = random.below(steps.length + 1);
    switch (random.below(7)) {
      case 0:
        steps.splice(at, 0, generator.step(setup));
        break;
      case 1:
        steps.splice(at, 1 + random.below(4));
        break;
      case 2:
        if (at < steps.length) steps.splice(at, 0, steps[random.below(steps.length)]!);
        break;
      case 3:
        steps = [...steps.slice(0, at), ...other.steps.slice(random.below(other.steps.length + 1))];
        break;
      case 4:
        if (at < steps.length) steps[at] = changeNumber(steps[at]!, random);
        break;
      case 5:
        if (random.chance(0.3)) setup = { ...generator.setup(), layout: setup.layout };
        break;
      default:
        if (random.chance(0.3)) setup = { ...setup, layout: other.setup.layout };
        break;
    }
  }
  return { setup, steps: steps.slice(0, MAX_STEPS) };
}

/** One of the numbers of a step, a little or much different. */
function changeNumber(step: FuzzStep, random: Random): FuzzStep {
  const fields = Object.entries(step).filter(
    ([name, value]) => typeof value === "number" && name !== "width" && name !== "queue",
  );
  const chosen = fields[random.below(fields.length)];
  if (chosen === undefined) return step;
  const [name, value] = chosen as [string, number];
  const changed = random.chance(0.5)
    ? value + random.below(5) - 2
    : value ^ (1 << random.below(name === "offset" ? 9 : 31));
  const limit =
    name === "offset"
      ? 0x1fc
      : name === "ends" || name === "after" || name === "sectors" || name === "status"
        ? 255
        : 2 ** 32 - 1;
  return { ...step, [name]: Math.min(Math.max(changed >>> 0, 0), limit) };
}

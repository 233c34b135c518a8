// What a real QEMU did, done again in process: README.md.
import { describe, it } from "vitest";
import { type GoldenScenario, readScenarios } from "./golden-files.ts";
import { InProcessMachine } from "./in-process-machine.ts";
import { EXPECTED_DIFFERENCES, replay } from "./replay.ts";

async function replayInProcess(scenario: GoldenScenario): Promise<void> {
  await replay(scenario, await InProcessMachine.create(scenario.nodes));
}

for (const file of ["directed.json.gz", "random.json.gz"] as const) {
  describe(file, () => {
    for (const scenario of readScenarios(file)) {
      const reason = EXPECTED_DIFFERENCES[scenario.id];
      const title = `${scenario.id}: ${scenario.title}`;
      if (reason !== undefined) it.fails(`${title} (differs: ${reason})`, () => replayInProcess(scenario));
      else it(title, () => replayInProcess(scenario));
    }
  });
}

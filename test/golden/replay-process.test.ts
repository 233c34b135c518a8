// What a real QEMU did, done again by `virtio-blk-system` in a process of its own, over its monitor's socket: README.md.
import { describe, it, type TestContext } from "vitest";
import { type GoldenScenario, readScenarios } from "./golden-files.ts";
import { ProcessMachine } from "./process-machine.ts";
import { EXPECTED_DIFFERENCES, replay } from "./replay.ts";

/** One in this many of the random programs, by default; all of them in a soak. */
const ONE_IN = process.env["VBLK_SOAK"] === undefined ? 4 : 1;

async function replayInProcessOfItsOwn(scenario: GoldenScenario, { onTestFinished }: TestContext): Promise<void> {
  const machine = await ProcessMachine.create(scenario.nodes);
  onTestFinished(() => machine.kill()); // one that hangs must not outlive the test's patience
  await replay(scenario, machine);
}

const programs = {
  "directed.json.gz": readScenarios("directed.json.gz"),
  "random.json.gz": readScenarios("random.json.gz").filter((_, i) => i % ONE_IN === 0),
};

for (const [file, scenarios] of Object.entries(programs)) {
  // Processes start while others are being driven.
  describe.concurrent(`${file} over a socket`, () => {
    for (const scenario of scenarios) {
      const reason = EXPECTED_DIFFERENCES[scenario.id];
      const title = `${scenario.id}: ${scenario.title}`;
      const play = (context: TestContext): Promise<void> => replayInProcessOfItsOwn(scenario, context);
      if (reason !== undefined) it.fails(`${title} (differs: ${reason})`, play);
      else it(title, play);
    }
  });
}

// Thousands of guests that do anything: no exception, no hang, no byte written that no descriptor allowed, recovery after a reset.
import { describe, expect, it } from "vitest";
import { FuzzedGuest, type FuzzTally } from "./support/fuzzed-guest.ts";
import { expectRecovery } from "./support/recovery.ts";

const GUESTS = process.env["VBLK_SOAK"] === undefined ? 2500 : 500_000;
const ACTIONS = 40;
/** A run that failed once is repeated with `VBLK_FUZZ_SEED=…`. */
const SEED = process.env["VBLK_FUZZ_SEED"];

async function runGuest(seed: number): Promise<FuzzTally> {
  const guest = new FuzzedGuest(seed);
  const { machine, driver, tally } = guest;
  await guest.run(ACTIONS);
  driver.holding = false;
  machine.registers.status = 0;
  driver.endAll();
  await new Promise((resolve) => setImmediate(resolve));
  machine.guest.allocator.reset();
  machine.target.fillRam(machine.target.ramBase, 0, machine.target.ramSizeBytes);
  expectRecovery(machine);
  return tally;
}

describe("a guest that does anything", () => {
  it("gets answers, cannot make the device write where no descriptor let it, and finds it sound after a reset", async () => {
    const first = SEED === undefined ? 1 : Number(SEED);
    const last = SEED === undefined ? GUESTS : first;
    const sum: FuzzTally = { actions: 0, used: 0, needsReset: 0, changedBytes: 0 };
    for (let seed = first; seed <= last; seed++) {
      try {
        const tally = await runGuest(seed);
        sum.actions += tally.actions;
        sum.used += tally.used;
        sum.needsReset += tally.needsReset;
        sum.changedBytes += tally.changedBytes;
      } catch (error) {
        throw new Error(`VBLK_FUZZ_SEED=${seed}`, { cause: error });
      }
    }
    if (SEED !== undefined) return;
    // It would be no proof if most guests broke their rings at once, or none ever did.
    expect(sum.used / GUESTS).toBeGreaterThan(3);
    expect(sum.needsReset / sum.actions).toBeGreaterThan(0.05);
    expect(sum.needsReset / sum.actions).toBeLessThan(0.8);
    expect(sum.changedBytes / GUESTS).toBeGreaterThan(250);
  });
});

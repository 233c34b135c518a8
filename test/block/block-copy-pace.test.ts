// How often a copy lets others have their turn.
import { describe, expect, it, vi } from "vitest";
import { BackgroundCopy } from "../../src/block/block-copy-loop.ts";
import { CopyPace } from "../../src/block/block-copy-pace.ts";
import { CLUSTER, type CopyPair, copyPair, MIB, patterned, rangesKib, same } from "../support/copy-pair.ts";
import { Simulation } from "../support/simulation.ts";

describe("CopyPace", () => {
  /** Of so many turns, those that are ceded. */
  const ceded = (pace: CopyPace, turns: number): number[] =>
    Array.from({ length: turns }, (_, turn) => turn).filter(() => pace.cede());

  it("cedes no turn while no guest writes", () => {
    expect(new CopyPace().cede()).toBe(false);
  });

  it("cedes two of three turns, 16 turns long, after a guest's write, and then no more", () => {
    const pace = new CopyPace();
    pace.noteGuest();
    expect(ceded(pace, 100)).toEqual([0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15]);
  });

  it("keeps one of three turns also beside a guest who writes in each", () => {
    const pace = new CopyPace();
    const kept = Array.from({ length: 12 }, (_, turn) => turn).filter(() => {
      pace.noteGuest();
      return !pace.cede();
    });
    expect(kept).toEqual([2, 5, 8, 11]);
  });

  it("counts anew from the latest write, and does not add up", () => {
    const pace = new CopyPace();
    pace.noteGuest();
    pace.noteGuest();
    expect(ceded(pace, 8).length).toBe(6);
    pace.noteGuest();
    expect(ceded(pace, 100).length).toBe(10);
  });
});

/** What had been read of the source whenever the copy gave others their turn, in KiB; `begin` may let a guest write first. */
async function turns(begin: (pair: CopyPair) => void): Promise<number[]> {
  const simulation = new Simulation(1);
  const bytes = patterned(4 * MIB);
  const pair = copyPair(simulation, bytes);
  begin(pair);
  const seen: number[] = [];
  vi.spyOn(simulation, "yield").mockImplementation(() => {
    seen.push(rangesKib(pair.source, "read").reduce((sum, [, lengthKib]) => sum + lengthKib, 0));
    return simulation.after(0);
  });
  expect(await simulation.run(new BackgroundCopy(pair.copy).run())).toBe("finished");
  expect(same(pair.target.bytes, bytes)).toBe(true);
  return seen;
}

describe("BackgroundCopy beside guests", () => {
  it("keeps its turn while no guest writes", async () => {
    expect(await turns(() => {})).toEqual([]);
  });

  it("lets others have their turn after two of three pieces of 256 KiB once a guest has written, between tasks and within", async () => {
    const seen = await turns(({ copy }) => copy.copyForGuest(0, CLUSTER));
    // One cluster was the guest's. Tasks of 1 MiB, in pieces of 256 KiB, then count from there.
    expect(seen.length).toBe(11);
    expect(seen[0]).toBe(64 + 256);
    const steps = seen.map((readKib, i) => readKib - (i === 0 ? 64 : seen[i - 1]!));
    expect(Math.max(...steps), "two tasks are under way at most, each with a piece, and one turn is kept").toBe(768);
  });
});

// Ten of the mutants, each of another part of the device, and that all of them still fit the source.
import { afterAll, describe, expect, it } from "vitest";
import { MutantTree } from "./mutant-tree.ts";
import { harmless, mutants } from "./mutants.ts";

const LIMIT_MS = 20_000;
const SAMPLE = [
  "split-used-element-not-wrapped",
  "split-used-event-off-by-one",
  "packed-used-wrap-not-toggled",
  "packed-disable-ignored",
  "in-order-not-kept",
  "config-change-sets-both-bits",
  "queue-not-stopped",
  "features-word-masked",
  "legacy-used-ring-unaligned",
  "failed-read-has-length",
];

const tree = new MutantTree();
afterAll(() => tree.remove());

it("every mutant has a name of its own and fits the source in one place", () => {
  expect(mutants.length).toBeGreaterThanOrEqual(60);
  expect(new Set(mutants.map(({ id }) => id)).size).toBe(mutants.length);
  const misfits = mutants.filter((mutant) => tree.source(mutant).split(mutant.search).length !== 2);
  expect(misfits.map(({ id }) => id)).toEqual([]);
  expect([...harmless.keys()].filter((id) => !mutants.some((mutant) => mutant.id === id))).toEqual([]);
});

describe("the conformance suite", () => {
  it("passes the device as it is", async () => {
    expect(await tree.examine(undefined, LIMIT_MS)).toBeUndefined();
  });

  it.each(SAMPLE)("catches %s", async (id) => {
    const outcome = await tree.examine(mutants.find((mutant) => mutant.id === id)!, LIMIT_MS);
    expect(outcome).toBeDefined();
  });
});

// What a real QEMU did, done again: README.md, docs/reference/corrections.md §3.
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/qmp/json/value.ts";
import { type GoldenEvent, type GoldenResult, type GoldenScenario, readScenarios } from "./golden-files.ts";
import { GoldenMachine } from "./golden-machine.ts";

/** Differences that are meant, each with its reason. */
const EXPECTED_DIFFERENCES: Readonly<Record<string, string>> = {
  "bk-resize-during": "names QEMU's own filter node, which is not in this graph",
};

/** Scenarios on what is not there yet. */
function isMissing({ nodes }: GoldenScenario): string | undefined {
  if (nodes.some(({ format }) => format === "qcow2")) return "qcow2 nodes";
  return undefined;
}

for (const file of ["directed.json.gz", "random.json.gz"] as const) {
  describe(file, () => {
    for (const scenario of readScenarios(file)) {
      const missing = isMissing(scenario);
      const reason = EXPECTED_DIFFERENCES[scenario.id];
      const title = `${scenario.id}: ${scenario.title}`;
      if (missing !== undefined) it.skip(`${title} (skipped: no ${missing} yet)`, () => {});
      else if (reason !== undefined) it.fails(`${title} (differs: ${reason})`, () => replay(scenario));
      else it(title, () => replay(scenario));
    }
  });
}

async function replay({ nodes, steps, result }: GoldenScenario): Promise<void> {
  const machine = await GoldenMachine.create(nodes);
  let bitmaps: GoldenResult["bitmaps"] = {};
  for (const [i, step] of steps.entries()) {
    if (step.qmp === "quit") break;
    const expected = result.steps[i]!;
    const where = `step ${i}: ${JSON.stringify(step)}`;
    const seen = await machine.perform(step);
    expect(comparable(seen), where).toEqual(comparable(expected));
    bitmaps = expected.bitmaps ?? bitmaps;
    expect(await machine.bitmaps(), where).toEqual(namedOnly(bitmaps!));
  }
  for (const [name, image] of Object.entries(result.final.images)) {
    expect(await machine.image(name), `final image of ${name}`).toMatchObject({ bytes: image.bytes, sha256: image.sha256 });
  }
  await machine.close();
}

/** What both sides of a step must have in common. */
function comparable(result: GoldenResult): object {
  const { events = [], bitmaps: _, image, job, ...rest } = result;
  return {
    ...rest,
    ...(image === undefined ? {} : { image: { bytes: image.bytes, sha256: image.sha256 } }),
    ...(job === undefined ? {} : { job }),
    events: withoutDrains(events),
  };
}

/** Pairs of `paused` and `running` that drained sections cause may be left out on both sides. */
function withoutDrains(events: readonly GoldenEvent[]): GoldenEvent[] {
  const kept = [...events];
  for (let i = 0; i < kept.length; i++) {
    if (statusOf(kept[i]!) !== "paused") continue;
    const { id } = kept[i]!.data;
    const next = kept.findIndex((event, at) => at > i && (event.data["id"] === id || event.data["device"] === id));
    if (next < 0 || statusOf(kept[next]!) !== "running") continue;
    kept.splice(next, 1);
    kept.splice(i, 1);
    i--;
  }
  return kept;
}

function statusOf({ event, data }: GoldenEvent): unknown {
  return event === "JOB_STATUS_CHANGE" ? data["status"] : undefined;
}

function namedOnly(bitmaps: NonNullable<GoldenResult["bitmaps"]>): Record<string, JsonObject[]> {
  const named = Object.entries(bitmaps).map(
    ([node, list]) => [node, list.filter(({ name }) => name !== undefined)] as [string, JsonObject[]],
  );
  return Object.fromEntries(named.filter(([, list]) => list.length > 0));
}

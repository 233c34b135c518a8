// Compares what a machine does with what a golden trace tells: README.md, docs/reference/corrections.md §3.
import { expect } from "vitest";
import type { JsonObject } from "../../src/qmp/json/value.ts";
import type { GoldenBitmaps, GoldenEvent, GoldenResult, GoldenScenario } from "./golden-files.ts";
import { GoldenPlayer } from "./golden-player.ts";
import type { MachineUnderTest } from "./machine-under-test.ts";

/** Differences that are meant, each with its reason. */
export const EXPECTED_DIFFERENCES: Readonly<Record<string, string>> = {
  "bk-resize-during": "names QEMU's own filter node, which is not in this graph",
};

/** Plays all steps and compares each; then closes the machine, whatever came out, and compares what remains in the images. */
export async function replay({ steps, result }: GoldenScenario, machine: MachineUnderTest): Promise<void> {
  const player = new GoldenPlayer(machine);
  try {
    let bitmaps: GoldenBitmaps = {};
    machine.takeEvents();
    for (const [i, step] of steps.entries()) {
      if (step.qmp === "quit") break;
      const expected = result.steps[i]!;
      const where = `step ${i}: ${JSON.stringify(step)}`;
      const seen = await player.perform(step);
      expect(comparable(seen), where).toEqual(comparable(expected));
      bitmaps = expected.bitmaps ?? bitmaps;
      expect(await player.bitmaps(), where).toEqual(namedOnly(bitmaps));
    }
  } finally {
    await machine.close();
  }
  for (const [name, { bytes, sha256 }] of Object.entries(result.final.images)) {
    expect(await player.image(name), `final image of ${name}`).toEqual({ bytes, sha256 });
  }
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

function namedOnly(bitmaps: GoldenBitmaps): Record<string, JsonObject[]> {
  const named = Object.entries(bitmaps).map(
    ([node, list]) => [node, list.filter(({ name }) => name !== undefined)] as [string, JsonObject[]],
  );
  return Object.fromEntries(named.filter(([, list]) => list.length > 0));
}

// Carries the steps of a golden program out on a machine and tells what it saw, as the traces do.
import { createHash } from "node:crypto";
import type { JsonObject } from "../../src/qmp/json/value.ts";
import type { GoldenImage, GoldenResult, GoldenStep } from "./golden-files.ts";
import type { JobState, MachineUnderTest } from "./machine-under-test.ts";

/** Rests after which a job that should have moved counts as hung. */
const MAX_RESTS = 5000;
/** Rests within which a job that nothing holds has come to its end or to its limiter. */
const MAX_RESTS_UNTIL_QUIET = 100;

export class GoldenPlayer {
  readonly #machine: MachineUnderTest;

  constructor(machine: MachineUnderTest) {
    this.#machine = machine;
  }

  /** Returns when nothing moves any more without another step. */
  async perform(step: GoldenStep): Promise<GoldenResult> {
    const result = await this.#act(step);
    const events = this.#machine.takeEvents();
    return events.length === 0 ? result : { ...result, events };
  }

  /** Named bitmaps of every node that has any, by name, as the traces have them. */
  async bitmaps(): Promise<Record<string, JsonObject[]>> {
    const byName = (a: JsonObject, b: JsonObject): number => (String(a["name"]) < String(b["name"]) ? -1 : 1);
    const all = Object.entries(await this.#machine.bitmaps());
    return Object.fromEntries(all.map(([node, list]) => [node, [...list].sort(byName)]));
  }

  async image(node: string): Promise<GoldenImage> {
    const bytes = await this.#machine.image(node);
    return { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  }

  async #act(step: GoldenStep): Promise<GoldenResult> {
    if (step.qmp !== undefined) return this.#command(step.qmp, step.args ?? {}, step.waitAfter);
    if (step.io !== undefined) return this.#machine.io(step.io);
    if (step.backup !== undefined) return this.#backup(step.backup, step.wait);
    if (step.waitJob !== undefined) return { job: await this.#waitFor(step.waitJob, step.status ?? [null]) };
    if (step.image !== undefined) return { image: await this.image(step.image) };
    if (step.jobs !== undefined) return { jobs: (await this.#machine.jobs()).map(digest) };
    await this.#untilQuiet();
    return {};
  }

  async #command(name: string, args: JsonObject, waitAfter: GoldenStep["waitAfter"]): Promise<GoldenResult> {
    const result = await this.#machine.execute(name, args);
    if (waitAfter === undefined) {
      await this.#untilQuiet();
      return result;
    }
    const job: JsonObject = {};
    for (const id of typeof waitAfter === "string" ? [waitAfter] : waitAfter) {
      job[id] = await this.#waitFor(id, [null, "concluded"]);
    }
    return { ...result, job };
  }

  async #backup(args: JsonObject, wait: GoldenStep["wait"]): Promise<GoldenResult> {
    const result = await this.#machine.execute("blockdev-backup", args);
    if (result.error !== undefined) return result;
    if (wait !== false) return { ...result, job: await this.#waitFor(String(args["job-id"]), wait ?? [null, "concluded"]) };
    await this.#untilQuiet();
    return result;
  }

  async #waitFor(id: string, statuses: readonly (string | null)[]): Promise<JsonObject> {
    let last: JobState | undefined;
    for (let rest = 0; rest < MAX_RESTS; rest++) {
      last = (await this.#machine.jobs()).find((job) => job.id === id);
      const status = last?.status ?? null;
      if (statuses.includes(status) && (status !== "paused" || last?.busy !== true)) {
        return last?.error === undefined ? { status } : { status, error: last.error };
      }
      await this.#machine.rest();
    }
    throw new Error(`job '${id}' is still ${last?.status}`);
  }

  /** Until every job has ended or waits for something, and twice looks the same. */
  async #untilQuiet(): Promise<void> {
    let before = "";
    for (let rest = 0; rest < MAX_RESTS_UNTIL_QUIET; rest++) {
      await this.#machine.rest();
      const jobs = await this.#machine.jobs();
      const now = JSON.stringify(jobs);
      if (now === before && !jobs.some(({ busy }) => busy)) return;
      before = now;
    }
  }
}

function digest({ id, type, status, current, total, error }: JobState): JsonObject {
  const info = { id, type, status, current, total };
  return error === undefined ? info : { ...info, error };
}

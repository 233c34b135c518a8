// Pairs of paused and running that backups on a busy source show: docs/reference/corrections.md B16, and QEMU 7.2 asked.
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { memoryOpener } from "../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../src/block/drivers/raw-opener.ts";
import { BlockGraph } from "../../src/block/graph.ts";
import { JobList } from "../../src/job/job-list.ts";
import { jobCommands } from "../../src/qmp/commands/job.ts";
import { transactionCommands } from "../../src/qmp/commands/transaction.ts";
import type { JsonObject } from "../../src/qmp/json/value.ts";
import { type Execute, executor } from "../qmp/commands/support/invoke.ts";
import { eventText } from "./scripted-job.ts";

const MIB = 1 << 20;

let graph: BlockGraph;
let jobs: JobList;
let execute: Execute;
let events: string[];

/** Sources `file` below `b`, and `e`; targets `t0` to `t3`. */
beforeEach(async () => {
  graph = new BlockGraph({ drivers: [memoryOpener, rawOpener] });
  jobs = new JobList(graph.names);
  execute = executor([...transactionCommands({ graph, jobs, clock: systemClock }), ...jobCommands(jobs)]);
  for (const name of ["file", "e", "t0", "t1", "t2", "t3"]) {
    await graph.add({ driver: "memory", "node-name": name, size: 4 * MIB });
    await graph.getNode(name).write(0, IoVector.of(new Uint8Array(4 * MIB).fill(1)));
  }
  await graph.add({ driver: "raw", "node-name": "b", file: "file" });
  events = [];
  jobs.listen((job, event) => events.push(`${job.id} ${eventText(event)}`));
});
afterEach(async () => {
  const all = [...jobs];
  for (const { id } of all) await execute("job-cancel", { id });
  await Promise.all(all.map((job) => job.untilConcluded()));
  await graph.close();
});

function backup(id: string, device: string, target: string): JsonObject {
  return { "job-id": id, device, target, sync: "full", speed: 1 };
}

/** What was heard of `id` since the last time. */
function heardOf(id: string): string[] {
  return events.filter((event) => event.startsWith(`${id} `)).map((event) => event.slice(id.length + 1));
}

async function start(id: string, device: string, target: string): Promise<void> {
  await execute("blockdev-backup", backup(id, device, target));
  events = [];
}

it("are two for a job whose source is asked for again, and one for any other job", async () => {
  await start("j0", "b", "t0");
  await start("j1", "e", "t1");
  await execute("blockdev-backup", backup("j2", "b", "t2"));
  expect(heardOf("j0")).toEqual(["paused", "running", "paused", "running"]);
  expect(heardOf("j1")).toEqual(["paused", "running"]);
  expect(events.indexOf("j2 created")).toBeGreaterThan(events.lastIndexOf("j0 paused"));
});

it("are two for a job above the source, also where the command fails when it has found its nodes", async () => {
  await start("j0", "b", "t0");
  await execute("blockdev-backup", backup("j0", "file", "t1"));
  expect(heardOf("j0")).toEqual(["paused", "running", "paused", "running"]);
  events = [];
  await execute("blockdev-backup", backup("j1", "b", "nope"));
  expect(heardOf("j0")).toEqual(["paused", "running"]);
});

it("are two however many actions of a transaction have the source, in QEMU's order", async () => {
  await start("j0", "b", "t0");
  await start("j1", "b", "t1");
  const actions = [backup("j2", "b", "t2"), backup("j3", "b", "t3")].map((data) => ({ type: "blockdev-backup", data }));
  await execute("transaction", { actions });
  const ofOld = events.filter((event) => /^j[01]/.test(event));
  expect(ofOld.slice(2, 6)).toEqual(["j0 running", "j1 running", "j1 paused", "j0 paused"]);
  expect(ofOld.length).toBe(8);
});

it("are none for a job that its user has paused", async () => {
  await start("j0", "b", "t0");
  await execute("job-pause", { id: "j0" });
  await new Promise((resolve) => setImmediate(resolve));
  events = [];
  await execute("blockdev-backup", backup("j1", "b", "t1"));
  expect(heardOf("j0")).toEqual([]);
  await execute("job-resume", { id: "j0" });
});

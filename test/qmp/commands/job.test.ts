// Jobs over QMP: lookups, refusals and what queries tell. docs/reference/backup.md §1.3, corrections.md B2, B3.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { memoryOpener } from "../../../src/block/drivers/memory-openers.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import { JobList } from "../../../src/job/job-list.ts";
import { jobCommands } from "../../../src/qmp/commands/job.ts";
import { transactionCommands } from "../../../src/qmp/commands/transaction.ts";
import { type Execute, executor, refused } from "./support/invoke.ts";

let graph: BlockGraph;
let jobs: JobList;
let execute: Execute;

beforeEach(async () => {
  graph = new BlockGraph({ drivers: [memoryOpener] });
  jobs = new JobList(graph.names);
  execute = executor([...jobCommands(jobs), ...transactionCommands({ graph, jobs, clock: systemClock })]);
  for (const name of ["source", "target"]) await graph.add({ driver: "memory", "node-name": name, size: 1 << 20 });
});

afterEach(async () => {
  await jobs.cancelAll();
  await graph.close();
});

const start = (more: object = {}): Promise<unknown> =>
  execute("blockdev-backup", { "job-id": "j", device: "source", target: "target", sync: "none", ...more });

describe("commands on jobs", () => {
  it.each(["pause", "resume", "cancel", "complete", "finalize", "dismiss"])(
    "job-%s does not find what is not there",
    async (verb) => {
      expect(await execute(`job-${verb}`, { id: "j" })).toEqual(refused("Job not found"));
    },
  );

  it.each([
    ["block-job-pause", { device: "j" }],
    ["block-job-cancel", { device: "j" }],
    ["block-job-set-speed", { device: "j", speed: 1 }],
    ["block-job-finalize", { id: "j" }],
    ["block-job-change", { id: "j", type: "mirror" }],
  ])("%s says so in a class of its own", async (command, args) => {
    expect(await execute(command, args)).toEqual({ class: "DeviceNotActive", desc: "Block job 'j' not found" });
  });

  it("refuse what a backup cannot do", async () => {
    await start();
    expect(await execute("block-job-change", { id: "j", type: "backup" })).toEqual(
      refused("Job type does not support change"),
    );
    expect(await execute("block-job-set-speed", { device: "j", speed: -1 })).toEqual(
      refused("Parameter 'speed' expects a non-negative value"),
    );
    expect(await start({ target: "source", "job-id": "k" })).toEqual(refused("Source and target cannot be the same"));
  });

  it("tell of a running job, newest first", async () => {
    await start({ speed: 65536 });
    expect(await execute("query-jobs")).toEqual([
      { id: "j", type: "backup", status: "running", "current-progress": 0, "total-progress": 1_048_576 },
    ]);
    expect(await execute("query-block-jobs")).toEqual([
      {
        type: "backup",
        device: "j",
        len: 1_048_576,
        offset: 0,
        busy: false,
        paused: false,
        speed: 65_536,
        "io-status": "ok",
        ready: false,
        status: "running",
        "auto-finalize": true,
        "auto-dismiss": true,
      },
    ]);
  });
});

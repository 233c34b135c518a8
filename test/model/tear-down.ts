// The end of every program of the model test: faults cease, jobs come to their ends, and a last incremental backup closes the chain.

import { expect } from "vitest";
import type { Job } from "../../src/job/job.ts";
import type { Runner } from "./run-program.ts";
import type { World } from "./world.ts";

const ROUNDS = 400;

/** Ends all jobs, some well and some not; then what each leaves behind is looked at, and a backup of each chain is made. */
export async function tearDown(world: World, runner: Runner): Promise<void> {
  world.clearFaults();
  await endJobs(world, runner);
  for (const { flat, node } of world.disks) {
    for (const { name, chain } of flat.bitmaps) {
      if (chain === undefined) continue;
      await runner.execute("block_resize", { "node-name": "m0", size: node.lengthBytes });
      const backup = { "job-id": "last", device: node.name, target: "m0", sync: "incremental", bitmap: name };
      // Something may stand in the way still, such as a filter on the target; that it changes nothing is checked.
      await runner.execute("blockdev-backup", backup);
      await endJobs(world, runner);
    }
  }
  expectNoTraces(world);
}

async function endJobs(world: World, runner: Runner): Promise<void> {
  const { jobs, simulation } = world;
  for (let round = 0; [...jobs].length > 0; round++) {
    if (round === ROUNDS) expect.fail(`jobs that do not end: ${[...jobs].map(({ id, status }) => `${id} ${status}`)}`);
    await simulation.after(9);
    for (const job of [...jobs]) await hasten(world, runner, job, round);
  }
}

async function hasten({ simulation }: World, runner: Runner, job: Job, round: number): Promise<void> {
  const { id, status } = job;
  const luck = simulation.random.chance(0.5);
  if (status === "concluded") await runner.execute("job-dismiss", { id });
  else if (status === "pending") await runner.execute(luck ? "job-finalize" : "job-cancel", { id });
  else if (round > 60) await runner.execute("job-cancel", { id });
  else if (status === "paused" && luck) await runner.execute("job-resume", { id });
  else if (status === "running" && job.speed > 0) await runner.execute("block-job-set-speed", { device: id, speed: 0 });
  else if (status === "running" && round > 30) await runner.execute("job-cancel", { id });
}

/** No job has left a notifier, a successor, a user of a node, or an operation that is forbidden. */
function expectNoTraces({ graph, jobs }: World): void {
  expect([...jobs]).toEqual([]);
  for (const { node } of graph.nodes) {
    const users = [...node.parents].map((parent) => parent.parentName).filter((name) => name.includes("job"));
    expect(users, `users of ${node.name}`).toEqual([]);
    expect([...node.parents].filter((parent) => parent.filterName !== undefined)).toEqual([]);
    const thresholds = node.writeThreshold.bytes > 0 ? 1 : 0;
    expect(node.beforeWrite.count, `notifiers of ${node.name}`).toBe(thresholds);
    expect(node.opBlockers.reason("resize") ?? "", `forbidden on ${node.name}`).not.toContain("job");
    for (const bitmap of node.bitmaps) expect(bitmap).toMatchObject({ busy: false, successor: undefined });
  }
}

// Jobs that end together, event for event (docs/reference/backup.md §1.6, corrections.md B4 and B5).
import { beforeEach, describe, expect, it } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import type { Job } from "../../src/job/job.ts";
import { JobList } from "../../src/job/job-list.ts";
import { JobTransaction } from "../../src/job/job-transaction.ts";
import { settle } from "../support/simulation.ts";
import { eventText, ScriptedJob } from "./scripted-job.ts";

let jobs: JobList;
let log: string[];
let drivers: ScriptedJob[];
let group: Job[];

/** Three jobs j0, j1, j2 of one transaction, running. */
function arrange(options: { autoFinalize?: readonly boolean[]; start?: boolean } = {}): void {
  const { autoFinalize = [], start = true } = options;
  const transaction = new JobTransaction();
  drivers = [0, 1, 2].map(() => new ScriptedJob([]));
  group = drivers.map((driver, i) =>
    jobs.create({ id: `j${i}`, driver, transaction, autoFinalize: autoFinalize[i] ?? true }),
  );
  if (start) for (const job of group) job.start();
  log.length = 0;
}

beforeEach(() => {
  jobs = new JobList();
  log = [];
  jobs.listen((job, event) => log.push(`${job.id} ${eventText(event)}`));
});

const cancelled = (id: string): string[] => [`${id} aborting`, `${id} CANCELLED`, `${id} concluded`, `${id} null`];
const completed = (id: string): string[] => [`${id} COMPLETED`, `${id} concluded`, `${id} null`];

describe("JobTransaction", () => {
  it("waits for the last, and then all end well, the last created first", async () => {
    arrange();
    for (const i of [1, 2, 0]) {
      drivers[i]!.step("done");
      await settle();
    }
    expect(log).toEqual([
      "j1 waiting",
      "j2 waiting",
      "j0 waiting",
      "j2 pending",
      "j1 pending",
      "j0 pending",
      ...completed("j2"),
      ...completed("j1"),
      ...completed("j0"),
    ]);
  });

  it.each([0, 1, 2])(
    "waits for one finalize, of any member (j%i), if one of them is not to finalise itself",
    async (by) => {
      arrange({ autoFinalize: [true, false, true] });
      for (const driver of drivers) driver.step("done");
      await settle();
      expect(log.slice(3)).toEqual(["j2 pending", "j1 pending", "j1 PENDING", "j0 pending"]);
      log.length = 0;
      group[by]!.finalize();
      expect(log).toEqual([...completed("j2"), ...completed("j1"), ...completed("j0")]);
    },
  );

  it("cancels all with one, that one's end begun first, the others' when it is their turn", async () => {
    arrange();
    group[1]!.cancel();
    await settle();
    expect(log).toEqual([
      "j1 aborting",
      ...cancelled("j2"),
      "j1 CANCELLED",
      "j1 concluded",
      "j1 null",
      ...cancelled("j0"),
    ]);
  });

  it("ends the last created entirely before the others when it fails", async () => {
    arrange();
    drivers[2]!.step(new BlockError("ENOSPC"));
    await settle();
    expect(log).toEqual([
      "j2 aborting",
      "j2 COMPLETED No space left on device",
      "j2 concluded",
      "j2 null",
      ...cancelled("j1"),
      ...cancelled("j0"),
    ]);
  });

  it("takes those along that wait or are paused, and keeps the order though one takes long", async () => {
    arrange();
    drivers[2]!.step("done");
    await settle();
    group[1]!.pause();
    await settle();
    drivers[0]!.step(new BlockError("EIO"));
    await settle();
    expect(log).toEqual([
      "j2 waiting",
      "j1 paused",
      "j0 aborting",
      ...cancelled("j2"),
      "j1 running",
      ...cancelled("j1"),
      "j0 COMPLETED Input/output error",
      "j0 concluded",
      "j0 null",
    ]);
  });

  it("keeps the order though a member's work ends before its turn", async () => {
    arrange();
    drivers[2]!.deaf = true;
    group[1]!.cancel();
    await settle();
    drivers[0]!.step("done");
    await settle();
    expect(log).toEqual(["j1 aborting"]);
    expect(group[2]!.cancelled).toBe(true);
    drivers[2]!.step("done");
    await settle();
    expect(log.slice(1)).toEqual([...cancelled("j2"), "j1 CANCELLED", "j1 concluded", "j1 null", ...cancelled("j0")]);
  });

  it("is cancelled as a whole while it is pending, the last created first", async () => {
    arrange({ autoFinalize: [false, false, false] });
    for (const driver of drivers) driver.step("done");
    await settle();
    log.length = 0;
    group[1]!.cancel();
    expect(log).toEqual([...cancelled("j2"), ...cancelled("j1"), ...cancelled("j0")]);
  });

  it("of jobs that never started goes without a word of their end", () => {
    arrange({ start: false });
    group[2]!.cancel();
    expect(log).toEqual(["j2", "j1", "j0"].flatMap((id) => [`${id} aborting`, `${id} concluded`, `${id} null`]));
    expect([...jobs]).toEqual([]);
  });

  it("goes on without a member that was abandoned", async () => {
    arrange({ start: false });
    group[2]!.abandon();
    expect(log).toEqual(["j2 null"]);
    group[0]!.start();
    group[1]!.start();
    drivers[0]!.step("done");
    drivers[1]!.step("done");
    await settle();
    expect(log.at(-1)).toBe("j0 null");
  });

  it("ends within cancelAll, which meets its members in any state", async () => {
    arrange();
    group[1]!.pause();
    drivers[0]!.step("done");
    await settle();
    await jobs.cancelAll();
    expect([...jobs]).toEqual([]);
    expect(log.filter((entry) => entry.endsWith("CANCELLED"))).toEqual([
      "j2 CANCELLED",
      "j1 CANCELLED",
      "j0 CANCELLED",
    ]);
  });

  it("of one job alone leaves others alone", async () => {
    const [first, second] = [new ScriptedJob([]), new ScriptedJob([])];
    jobs.create({ id: "a", driver: first }).start();
    const other = jobs.create({ id: "b", driver: second });
    other.start();
    first.step(new BlockError("EIO"));
    await settle();
    expect(other.status).toBe("running");
  });
});

// The list of jobs: ids, order, and the end of all of them.
import { describe, expect, it } from "vitest";
import { ScriptedJob, scriptedJob } from "./scripted-job.ts";

describe("JobList", () => {
  it.each(["a", "Z", "job-0", "a.b_c-9"])("takes the id %j", (id) => {
    const { jobs } = scriptedJob({ id });
    expect(jobs.get(id)?.id).toBe(id);
  });

  it.each(["", "0", "-a", "_a", ".a", "a b", "a/b", "ä", "aä", "a\n", "a#"])("refuses the id %j", (id) => {
    expect(() => scriptedJob({ id })).toThrow(`Invalid job ID '${id}'`);
  });

  it("refuses an id in use, also that of a job that has ended and was not dismissed", async () => {
    const { jobs, job, driver, log } = scriptedJob({ autoDismiss: false });
    expect(() => jobs.create({ id: "j0", driver })).toThrow("Job ID 'j0' already in use");
    job.cancel();
    const again = jobs.create({ id: "j0", driver, autoDismiss: false });
    again.start();
    driver.step("done");
    await again.untilConcluded();
    expect(() => jobs.create({ id: "j0", driver })).toThrow("Job ID 'j0' already in use");
    again.dismiss();
    expect(() => jobs.checkId("j0")).not.toThrow();
    expect(log.filter((entry) => entry === "created")).toHaveLength(2);
  });

  it("lists jobs newest first, and has a job when it reports it", () => {
    const { jobs } = scriptedJob();
    const seen: string[][] = [];
    const stop = jobs.listen(() => seen.push([...jobs].map((job) => job.id)));
    jobs.create({ id: "j1", driver: new ScriptedJob([]) });
    stop();
    jobs.create({ id: "j2", driver: new ScriptedJob([]) });
    expect(seen).toEqual([["j1", "j0"]]);
    expect([...jobs].map((job) => job.id)).toEqual(["j2", "j1", "j0"]);
  });

  it("cancels all jobs, newest first, each to its end", async () => {
    const { jobs, job, driver, log } = scriptedJob({ autoDismiss: false });
    const running = new ScriptedJob(log);
    jobs.create({ id: "j1", driver: running }).start();
    const pending = new ScriptedJob(log);
    jobs.create({ id: "j2", driver: pending, autoFinalize: false }).start();
    job.start();
    driver.step("done");
    pending.step("done");
    await job.untilConcluded();
    log.length = 0;
    await jobs.cancelAll();
    expect(log).toEqual([
      "j2 aborting",
      "abort",
      "clean",
      "j2 CANCELLED",
      "j2 concluded",
      "j2 null",
      "interrupt",
      "j1 aborting",
      "abort",
      "clean",
      "j1 CANCELLED",
      "j1 concluded",
      "j1 null",
      "null",
    ]);
    expect([...jobs]).toEqual([]);
  });
});

// The life of one job: order of events and of what is asked of its driver (docs/reference/backup.md §1.5 to §1.7).
import { describe, expect, it } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import { findBlockJob, findJob } from "../../src/job/job-commands.ts";
import { settle } from "../support/simulation.ts";
import { scriptedJob } from "./scripted-job.ts";

describe("Job that succeeds", () => {
  it("waits, is pending, commits, cleans up, reports, and is gone", async () => {
    const { job, jobs, driver, log } = scriptedJob();
    job.start();
    expect(log).toEqual(["created", "running"]);
    driver.step("done");
    expect(await job.untilConcluded()).toEqual({ kind: "completed" });
    expect(log.slice(2)).toEqual(["waiting", "pending", "commit", "clean", "COMPLETED", "concluded", "null"]);
    expect([...jobs]).toEqual([]);
  });

  it("waits for finalize when it is not to finalise itself", async () => {
    const { job, driver, log } = scriptedJob({ autoFinalize: false });
    job.start();
    driver.step("done");
    await settle();
    expect(log.slice(2)).toEqual(["waiting", "pending", "PENDING"]);
    expect(job.query()).toMatchObject({ status: "pending", busy: false, paused: false, autoFinalize: false });
    job.finalize();
    expect(log.slice(5)).toEqual(["commit", "clean", "COMPLETED", "concluded", "null"]);
    expect(() => job.finalize()).toThrow("Job 'j0' in state 'null' cannot accept command verb 'finalize'");
  });

  it("stays, concluded, when it is not to dismiss itself", async () => {
    const { job, jobs, driver, log } = scriptedJob({ autoDismiss: false });
    job.start();
    driver.step("done");
    await job.untilConcluded();
    expect(log.at(-1)).toBe("concluded");
    expect(jobs.get("j0")).toBe(job);
    expect(() => job.cancel()).toThrow("Job 'j0' in state 'concluded' cannot accept command verb 'cancel'");
    job.dismiss();
    expect(log.at(-1)).toBe("null");
    expect(jobs.get("j0")).toBeUndefined();
    expect(await job.untilConcluded()).toEqual({ kind: "completed" });
  });
});

describe("Job that fails", () => {
  it("aborts, cleans up and reports the error's text", async () => {
    const { job, driver, log } = scriptedJob({ autoDismiss: false });
    const error = new BlockError("ENOSPC", "target: full");
    job.start();
    driver.step(error);
    expect(await job.untilConcluded()).toEqual({ kind: "failed", error });
    expect(log.slice(2)).toEqual(["aborting", "abort", "clean", "COMPLETED No space left on device", "concluded"]);
    expect(job.query()).toMatchObject({ status: "concluded", error: "No space left on device" });
  });

  it("does so also when it was not to finalise itself", async () => {
    const { job, driver, log } = scriptedJob({ autoFinalize: false });
    job.start();
    driver.step(new BlockError("EIO"));
    await job.untilConcluded();
    expect(log.slice(2)).toEqual(["aborting", "abort", "clean", "COMPLETED Input/output error", "concluded", "null"]);
  });

  it("reports I/O errors where they happen", () => {
    const { job, log } = scriptedJob();
    job.start();
    expect(job.handleError("write", new BlockError("EIO"), "report")).toBe("report");
    expect(log).toEqual(["created", "running", "ERROR write report"]);
  });
});

describe("Job that is no block job", () => {
  it("tells of its states alone, and of its failure in its own words", async () => {
    const { job, jobs, driver, log } = scriptedJob({ autoDismiss: false, autoFinalize: false });
    driver.isBlockJob = false;
    expect(() => findBlockJob(jobs, "j0")).toThrow("Block job 'j0' not found");
    expect(findJob(jobs, "j0")).toBe(job);
    job.start();
    driver.failureText = "Could not create 'x': disk full";
    driver.step(new BlockError("ENOSPC"));
    await settle();
    expect(job.query().error).toBe("Could not create 'x': disk full");
    expect(log.slice(2)).toEqual(["aborting", "abort", "clean", "concluded"]);
    const other = scriptedJob({ autoFinalize: false });
    other.driver.isBlockJob = false;
    other.job.start();
    other.driver.step("done");
    await settle();
    other.job.finalize();
    expect(other.log.slice(2)).toEqual(["waiting", "pending", "commit", "clean", "concluded", "null"]);
  });
});

describe("Job that is cancelled", () => {
  it("stops its work, aborts and reports that it was cancelled", async () => {
    const { job, log } = scriptedJob({ autoDismiss: false });
    job.start();
    job.cancel();
    job.cancel();
    expect(job.status).toBe("running");
    expect(await job.untilConcluded()).toEqual({ kind: "cancelled" });
    expect(log.slice(2)).toEqual(["interrupt", "interrupt", "aborting", "abort", "clean", "CANCELLED", "concluded"]);
    expect(job.query().error).toBe("Operation canceled");
  });

  it("goes without a word of an end when it was never started", async () => {
    const { job, jobs, log } = scriptedJob({ autoDismiss: false });
    job.cancel();
    expect(log).toEqual(["created", "aborting", "abort", "clean", "concluded", "null"]);
    expect(await job.untilConcluded()).toEqual({ kind: "cancelled" });
    expect([...jobs]).toEqual([]);
  });

  it("goes on from a pause before it aborts, though it is still held", async () => {
    const { job, log } = scriptedJob();
    const parent = job.asNodeParent();
    parent.beginDrain();
    job.start();
    expect(job.status).toBe("paused");
    job.cancel();
    await job.untilConcluded();
    expect(log).toEqual([
      "created",
      "running",
      "paused",
      "running",
      "aborting",
      "abort",
      "clean",
      "CANCELLED",
      "concluded",
      "null",
    ]);
  });

  it("can be cancelled while it is pending", async () => {
    const { job, driver, log } = scriptedJob({ autoFinalize: false });
    job.start();
    driver.step("done");
    await settle();
    job.cancel();
    expect(log.slice(5)).toEqual(["aborting", "abort", "clean", "CANCELLED", "concluded", "null"]);
  });

  it("was cancelled even if its work is done or fails after that", async () => {
    for (const result of ["done" as const, new BlockError("EIO")]) {
      const { job, driver, log } = scriptedJob();
      job.start();
      driver.step(result);
      job.cancel();
      expect(await job.untilConcluded()).toEqual({ kind: "cancelled" });
      expect(log.slice(-3)).toEqual(["CANCELLED", "concluded", "null"]);
    }
  });
});

describe("Job in a drained section", () => {
  it("stops at its next pause point, and the section begins when it has", async () => {
    const { job, log } = scriptedJob();
    const parent = job.asNodeParent();
    expect(parent.untilQuiet()).toBeUndefined();
    job.start();
    const busy = parent.untilQuiet();
    expect(busy).toBeInstanceOf(Promise);
    parent.beginDrain();
    expect(job.query()).toMatchObject({ status: "running", busy: true, paused: true });
    await busy;
    expect(parent.untilQuiet()).toBeUndefined();
    expect(job.query()).toMatchObject({ status: "paused", busy: false, paused: true });
    parent.endDrain();
    expect(job.query()).toMatchObject({ status: "running", busy: true, paused: false });
    expect(log).toEqual(["created", "running", "interrupt", "paused", "running"]);
  });

  it("goes on when the last of several sections has ended", async () => {
    const { job } = scriptedJob();
    const [source, target] = [job.asNodeParent(), job.asNodeParent()];
    source.beginDrain();
    job.start();
    target.beginDrain();
    source.endDrain();
    await settle();
    expect(job.status).toBe("paused");
    target.endDrain();
    expect(job.status).toBe("running");
  });

  it("pauses anew when the next section begins before it got anywhere", async () => {
    const { job, log } = scriptedJob();
    const parent = job.asNodeParent();
    parent.beginDrain();
    job.start();
    parent.endDrain();
    parent.beginDrain();
    await parent.untilQuiet();
    expect(job.status).toBe("paused");
    expect(log).toEqual(["created", "running", "paused", "running", "interrupt", "paused"]);
  });

  it("is quiet when its work has ended, though it never paused", async () => {
    const { job, driver } = scriptedJob();
    const parent = job.asNodeParent();
    job.start();
    driver.step("done");
    parent.beginDrain();
    await parent.untilQuiet();
    await job.untilConcluded();
    expect(parent.untilQuiet()).toBeUndefined();
    parent.endDrain();
    expect(() => parent.endDrain()).toThrow("released more often than held");
  });

  it("is named by its type and id", () => {
    expect(scriptedJob().job.asNodeParent().parentName).toBe("scripted job 'j0'");
  });
});

describe("Job's query", () => {
  it("tells what the job is and how far it has come", () => {
    const { job } = scriptedJob();
    expect(job.query()).toEqual({
      id: "j0",
      type: "scripted",
      status: "created",
      progress: { current: 3, total: 7 },
      busy: false,
      paused: true,
      speed: 0,
      ioStatus: "ok",
      ready: false,
      autoFinalize: true,
      autoDismiss: true,
      error: undefined,
    });
  });

  it("refuses a second start", () => {
    const { job } = scriptedJob();
    job.start();
    expect(() => job.start()).toThrow("started twice");
  });
});

// Every command in every state, with QEMU's refusals in QEMU's order (docs/reference/backup.md §1.2, §1.3, corrections.md B2).
import { describe, expect, it } from "vitest";
import { BlockError, QmpError } from "../../src/base/errors.ts";
import type { Job } from "../../src/job/job.ts";
import { cancelBlockJob, findBlockJob, findJob } from "../../src/job/job-commands.ts";
import { JobList } from "../../src/job/job-list.ts";
import { JobTransaction } from "../../src/job/job-transaction.ts";
import { settle } from "../support/simulation.ts";
import { ScriptedJob, scriptedJob } from "./scripted-job.ts";

type Arranged = ReturnType<typeof scriptedJob>;

/** Jobs in each state that one can be found in between two commands. */
const STATES: Readonly<Record<string, () => Promise<Arranged>>> = {
  created: async () => scriptedJob(),
  running: async () => {
    const arranged = scriptedJob();
    arranged.job.start();
    return arranged;
  },
  paused: async () => {
    const arranged = await STATES["running"]!();
    arranged.job.pause();
    await settle();
    return arranged;
  },
  waiting: async () => {
    const transaction = new JobTransaction();
    const arranged = scriptedJob({ transaction });
    arranged.jobs.create({ id: "other", driver: new ScriptedJob([]), transaction });
    arranged.job.start();
    arranged.driver.step("done");
    await settle();
    return arranged;
  },
  pending: async () => {
    const arranged = scriptedJob({ autoFinalize: false });
    arranged.job.start();
    arranged.driver.step("done");
    await settle();
    return arranged;
  },
  aborting: async () => {
    const transaction = new JobTransaction();
    const arranged = scriptedJob({ transaction });
    const other = new ScriptedJob([]);
    other.deaf = true;
    arranged.jobs.create({ id: "other", driver: other, transaction }).start();
    arranged.job.start();
    arranged.driver.step(new BlockError("EIO"));
    await settle();
    return arranged;
  },
  concluded: async () => {
    const arranged = scriptedJob({ autoDismiss: false });
    arranged.job.start();
    arranged.driver.step("done");
    await settle();
    return arranged;
  },
  null: async () => {
    const arranged = await STATES["concluded"]!();
    arranged.job.dismiss();
    return arranged;
  },
};

const COMMANDS: Readonly<Record<string, (job: Job) => void>> = {
  cancel: (job) => job.cancel(),
  "block-job-cancel": (job) => cancelBlockJob(job, false),
  pause: (job) => job.pause(),
  resume: (job) => job.resume(),
  "set-speed": (job) => job.setSpeed(7),
  "set-speed -1": (job) => job.setSpeed(-1),
  complete: (job) => job.complete(),
  finalize: (job) => job.finalize(),
  dismiss: (job) => job.dismiss(),
  change: (job) => job.change(),
};

const NOT_PAUSED = "Can't resume a job that was not paused";
const NEGATIVE = "Parameter 'speed' expects a non-negative value";
const NO_CHANGE = "Job type does not support change";

/** "verb" is the table's own refusal, "" none. */
const REPLIES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  created: {
    cancel: "",
    "block-job-cancel": "",
    pause: "",
    resume: NOT_PAUSED,
    "set-speed": "",
    "set-speed -1": NEGATIVE,
    change: NO_CHANGE,
  },
  running: {
    cancel: "",
    "block-job-cancel": "",
    pause: "",
    resume: NOT_PAUSED,
    "set-speed": "",
    "set-speed -1": NEGATIVE,
    change: NO_CHANGE,
  },
  paused: {
    cancel: "",
    "block-job-cancel": "The block job for device 'j0' is currently paused",
    pause: "Job is already paused",
    resume: "",
    "set-speed": "",
    "set-speed -1": NEGATIVE,
    change: NO_CHANGE,
  },
  waiting: { cancel: "", "block-job-cancel": "", resume: NOT_PAUSED },
  pending: { cancel: "", "block-job-cancel": "", resume: NOT_PAUSED, finalize: "" },
  aborting: { resume: NOT_PAUSED },
  concluded: { resume: NOT_PAUSED, dismiss: "" },
  null: { resume: NOT_PAUSED },
};

const cells = Object.keys(STATES).flatMap((state) =>
  Object.keys(COMMANDS).map((command) => ({ state, command, reply: REPLIES[state]![command] ?? "verb" })),
);

describe("A command on a job", () => {
  it.each(cells)("$command in $state: $reply", async ({ state, command, reply }) => {
    const { job } = await STATES[state]!();
    expect(job.status).toBe(state);
    const verb = command === "block-job-cancel" ? "cancel" : command.split(" ")[0]!;
    const run = (): void => COMMANDS[command]!(job);
    if (reply === "") return expect(run).not.toThrow();
    const refusal = `Job 'j0' in state '${state}' cannot accept command verb '${verb}'`;
    const before = job.query();
    expect(run).toThrow(new QmpError(reply === "verb" ? refusal : reply));
    expect(job.query()).toEqual(before);
  });

  it("finds no job of another id", () => {
    const jobs = new JobList();
    expect(() => findJob(jobs, "j9")).toThrow(new QmpError("Job not found"));
    expect(() => findBlockJob(jobs, "j9")).toThrow(new QmpError("Block job 'j9' not found", "DeviceNotActive"));
    const { jobs: others, job } = scriptedJob();
    expect([findJob(others, "j0"), findBlockJob(others, "j0")]).toEqual([job, job]);
  });
});

describe("A user's pause", () => {
  it("holds the job at its next pause point, at once seen, until it is resumed", async () => {
    const { job, log } = scriptedJob();
    job.start();
    job.pause();
    expect(job.query()).toMatchObject({ status: "running", busy: true, paused: true });
    await settle();
    expect(job.query()).toMatchObject({ status: "paused", busy: false, paused: true });
    job.resume();
    expect(job.query()).toMatchObject({ status: "running", busy: true, paused: false });
    expect(() => job.resume()).toThrow(NOT_PAUSED);
    expect(log).toEqual(["created", "running", "interrupt", "paused", "running"]);
  });

  it("and a drained section each hold it for themselves", async () => {
    for (const userFirst of [true, false]) {
      const { job } = scriptedJob();
      const parent = job.asNodeParent();
      job.start();
      job.pause();
      parent.beginDrain();
      await settle();
      if (userFirst) job.resume();
      else parent.endDrain();
      await settle();
      expect(job.status).toBe("paused");
      if (userFirst) parent.endDrain();
      else job.resume();
      expect(job.status).toBe("running");
    }
  });

  it("before the start holds the job at its first pause point", () => {
    const { job } = scriptedJob();
    job.pause();
    job.start();
    expect(job.status).toBe("paused");
    job.resume();
    expect(job.status).toBe("running");
  });

  it("ends when the job is cancelled by force", async () => {
    const { job, log } = scriptedJob();
    job.start();
    job.pause();
    await settle();
    cancelBlockJob(job, true);
    await job.untilConcluded();
    expect(log.slice(3)).toEqual(["paused", "running", "aborting", "abort", "clean", "CANCELLED", "concluded", "null"]);
  });
});

describe("A job's error", () => {
  it.each([
    ["report", "EIO", "report", "ok"],
    ["report", "ENOSPC", "report", "ok"],
    ["ignore", "EIO", "ignore", "ok"],
    ["ignore", "ENOSPC", "ignore", "ok"],
    ["stop", "EIO", "stop", "failed"],
    ["stop", "ENOSPC", "stop", "nospace"],
    ["enospc", "EIO", "report", "ok"],
    ["enospc", "ENOSPC", "stop", "nospace"],
    ["auto", "EIO", "report", "ok"],
    ["auto", "ENOSPC", "stop", "nospace"],
  ] as const)("with policy %s and %s: %s, io-status %s", (policy, errno, action, ioStatus) => {
    const { job, log } = scriptedJob();
    job.start();
    expect(job.handleError("read", new BlockError(errno), policy)).toBe(action);
    expect(log.at(-1)).toBe(`ERROR read ${action}`);
    expect(job.query()).toMatchObject({ ioStatus, paused: action === "stop" });
    expect(job.userPaused).toBe(action === "stop");
    if (action !== "stop") return;
    job.resume();
    expect(job.query()).toMatchObject({ ioStatus: "ok", paused: false });
  });

  it("keeps the first io-status of several, and a user's pause is not doubled", () => {
    const { job } = scriptedJob();
    job.start();
    job.pause();
    job.handleError("write", new BlockError("ENOSPC"), "stop");
    job.handleError("write", new BlockError("EIO"), "stop");
    expect(job.query().ioStatus).toBe("nospace");
    job.resume();
    expect(job.query()).toMatchObject({ ioStatus: "ok", paused: false });
    job.handleError("write", new BlockError("EIO"), "stop");
    job.cancel();
    expect(job.query()).toMatchObject({ ioStatus: "ok", paused: false });
  });
});

describe("A job's speed", () => {
  it("is told to its driver each time it is set", () => {
    const { job, driver } = scriptedJob();
    job.setSpeed(5);
    job.start();
    job.setSpeed(5);
    expect(driver.speeds).toEqual([5, 5]);
    expect(job.query().speed).toBe(5);
  });
});

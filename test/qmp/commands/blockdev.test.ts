// blockdev-add and its like as QMP commands. Texts and orders are those of a real QEMU 7.2, but where a title says otherwise.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { BlockError } from "../../../src/base/errors.ts";
import { IoVector } from "../../../src/base/io-vector.ts";
import { onWarning } from "../../../src/base/warnings.ts";
import { fileOpener } from "../../../src/block/drivers/file/file-opener.ts";
import { memoryOpener, nullOpener } from "../../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../../src/block/drivers/raw-opener.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import { JobList } from "../../../src/job/job-list.ts";
import { reportWriteThresholds } from "../../../src/qmp/commands/block-write-threshold.ts";
import { blockdevCommands } from "../../../src/qmp/commands/blockdev.ts";
import { jobCommands } from "../../../src/qmp/commands/job.ts";
import { EventQueue, systemWallClock } from "../../../src/qmp/events.ts";
import type { JsonObject } from "../../../src/qmp/json/value.ts";
import { blockdevOptions, toBlockdevOptions } from "../../../src/qmp/schema/blockdev-options.ts";
import { visitOption } from "../../../src/qmp/schema/keyval-reader.ts";
import { useTemporaryFolder } from "../../block/drivers/file/support/temporary-folder.ts";
import { type Execute, executor, refused } from "./support/invoke.ts";

const inFolder = useTemporaryFolder();
let graph: BlockGraph;
let jobs: JobList;
let execute: Execute;
beforeEach(() => {
  graph = new BlockGraph({ drivers: [rawOpener, nullOpener, memoryOpener, fileOpener()] });
  jobs = new JobList(graph.names);
  execute = executor([...blockdevCommands({ graph, jobs }), ...jobCommands(jobs)]);
});
afterEach(() => graph.close());

describe("blockdev-add", () => {
  it.each<[JsonObject, string]>([
    [{ "node-name": "x" }, "Parameter 'driver' is missing"],
    [{ driver: "zz", "node-name": "x" }, "Parameter 'driver' does not accept value 'zz'"],
    [{ driver: "raw" }, "Parameter 'file' is missing"],
    [{ driver: "null-co" }, "'node-name' must be specified for the root node"],
    [{ driver: "null-co", foo: 1 }, "Parameter 'foo' is unexpected"],
    [{ driver: "null-co", size: "1" }, "Invalid parameter type for 'size', expected: integer"],
    [{ driver: "null-co", "latency-ns": 0.5 }, "Parameter 'latency-ns' expects uint64"],
    [{ driver: "raw", file: 1 }, "Invalid parameter type for 'file', expected: BlockdevRef"],
    [{ driver: "raw", file: null }, "Invalid parameter type for 'file', expected: BlockdevRef"],
    [{ driver: "raw", file: { driver: "file" } }, "Parameter 'file.filename' is missing"],
    [{ driver: "raw", discard: "zz", "read-only": 3 }, "Parameter 'discard' does not accept value 'zz'"],
    [{ driver: "null-co", cache: { direct: 1 } }, "Invalid parameter type for 'cache.direct', expected: boolean"],
    [{ driver: "memory", backing: 1 }, "Invalid parameter type for 'backing', expected: BlockdevRefOrNull"],
    [
      { driver: "blkdebug", image: "n", "inject-error": [{ event: "zz" }] },
      "Parameter 'event' does not accept value 'zz'",
    ],
    [
      { driver: "blkdebug", image: "n", "set-state": [{ event: "none" }] },
      "Parameter 'set-state[0].new_state' is missing",
    ],
    [{ driver: "raw", "node-name": "x", file: "zz" }, "Cannot find device='zz' nor node-name='zz'"],
    [{ driver: "copy-before-write", file: "n" }, "Parameter 'target' is missing"],
    [
      { driver: "null-co", "node-name": "x", size: 4096, "detect-zeroes": "unmap" },
      "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
    ],
  ])("refuses %j", async (args, text) => {
    expect(await execute("blockdev-add", args)).toEqual(refused(text));
    expect([...graph.nodes]).toEqual([]);
  });

  it("refuses a negative size, of which QEMU dies", async () => {
    const text = "Parameter 'size' expects a non-negative number below 2^64";
    expect(await execute("blockdev-add", { driver: "null-co", "node-name": "n", size: -1 })).toEqual(refused(text));
    expect(
      await execute("blockdev-add", { driver: "raw", "node-name": "n", file: { driver: "memory", size: -1 } }),
    ).toEqual(refused(text));
  });

  it("makes nodes with all that they have in common", async () => {
    const settings = {
      discard: "unmap",
      cache: { direct: true, "no-flush": true },
      "read-only": true,
      "auto-read-only": true,
      "force-share": true,
      "detect-zeroes": "unmap",
    };
    expect(await execute("blockdev-add", { driver: "memory", "node-name": "n", size: 512, ...settings })).toEqual({});
    expect(graph.node("n")?.settings).toEqual({
      readOnly: true,
      autoReadOnly: true,
      forceShare: true,
      discard: "unmap",
      detectZeroes: "unmap",
      cacheDirect: true,
      cacheNoFlush: true,
    });
  });

  it("takes null for no backing node", async () => {
    expect(await execute("blockdev-add", { driver: "memory", "node-name": "n", size: 512, backing: null })).toEqual({});
    expect(graph.node("n")?.driver.children).toEqual([]);
  });
});

describe("toBlockdevOptions", () => {
  it("reads -blockdev's key=value and JSON alike", () => {
    const expected = {
      driver: "raw",
      "node-name": "d",
      "read-only": true,
      offset: 65536,
      file: { driver: "null-co", size: 1048576, "latency-ns": 2 ** 53 },
    };
    const keyval =
      "raw,node-name=d,read-only=on,offset=65536,file.driver=null-co,file.size=1048576,file.latency-ns=9007199254740992";
    const json = `{"driver":"raw","node-name":"d","read-only":true,"offset":65536,
      "file":{"driver":"null-co","size":1048576,"latency-ns":9007199254740993}}`;
    expect(toBlockdevOptions(visitOption(blockdevOptions, keyval, "driver"))).toEqual(expected);
    expect(toBlockdevOptions(visitOption(blockdevOptions, json, "driver"))).toEqual(expected);
    expect(
      toBlockdevOptions(
        visitOption(blockdevOptions, "driver=blkdebug,image=n,inject-error.0.event=read_aio,inject-error.0.errno=28"),
      ),
    ).toEqual({ driver: "blkdebug", image: "n", "inject-error": [{ event: "read_aio", errno: 28 }] });
  });
});

describe("blockdev-del and blockdev-reopen", () => {
  it("delete a node by its name", async () => {
    expect(await execute("blockdev-del")).toEqual(refused("Parameter 'node-name' is missing"));
    expect(await execute("blockdev-del", { "node-name": "zz" })).toEqual(
      refused("Failed to find node with node-name='zz'"),
    );
    await execute("blockdev-add", { driver: "null-co", "node-name": "n" });
    await execute("blockdev-add", { driver: "raw", "node-name": "r", file: "n" });
    expect(await execute("blockdev-del", { "node-name": "n" })).toEqual(refused("Block device n is in use"));
    expect(await execute("blockdev-del", { "node-name": "r" })).toEqual({});
    expect(graph.node("r")).toBeUndefined();
  });

  it("reopen a list of nodes", async () => {
    const options = { driver: "raw", "node-name": "r", file: "n" };
    await execute("blockdev-add", { driver: "null-co", "node-name": "n" });
    await execute("blockdev-add", options);
    expect(await execute("blockdev-reopen", { options: {} })).toEqual(
      refused("Invalid parameter type for 'options', expected: array"),
    );
    expect(await execute("blockdev-reopen", { options: [{ driver: "raw", file: "n" }] })).toEqual(
      refused("node-name not specified"),
    );
    expect(await execute("blockdev-reopen", { options: [{ ...options, offset: "1" }] })).toEqual(
      refused("Invalid parameter type for 'options[0].offset', expected: integer"),
    );
    expect(await execute("blockdev-reopen", { options: [{ ...options, "read-only": true }] })).toEqual({});
    expect(graph.node("r")?.readOnly).toBe(true);
  });
});

describe("blockdev-create", () => {
  async function create(options: JsonObject, id = "j0"): Promise<unknown> {
    const events: unknown[] = [];
    const end = jobs.listen((_job, event) => events.push(event.kind === "status-change" ? event.status : event.kind));
    const reply = await execute("blockdev-create", { "job-id": id, options });
    await jobs.get(id)?.untilConcluded();
    end();
    return { reply, events };
  }
  const WELL = ["created", "running", "waiting", "pending", "concluded"];
  const BADLY = ["created", "running", "aborting", "concluded"];

  it("makes a file in a job that stays until it is dismissed, and that is no block job", async () => {
    const filename = inFolder("new.img");
    expect(await create({ driver: "file", filename, size: 1000 })).toEqual({ reply: {}, events: WELL });
    expect(statSync(filename).size).toBe(1000);
    const job = jobs.get("j0")!;
    expect(job.query()).toMatchObject({ type: "create", progress: { current: 1, total: 1 }, error: undefined });
    expect(await execute("query-jobs")).toEqual([
      { id: "j0", type: "create", status: "concluded", "current-progress": 1, "total-progress": 1 },
    ]);
    expect(await execute("query-block-jobs")).toEqual([]);
    expect(await execute("block-job-cancel", { device: "j0" })).toEqual({
      class: "DeviceNotActive",
      desc: "Block job 'j0' not found",
    });
    expect(await create({ driver: "file", filename, size: 1 })).toEqual({
      reply: refused("Job ID 'j0' already in use"),
      events: [],
    });
    job.dismiss();
    expect([...jobs]).toEqual([]);
    expect(readFileSync(filename)).toEqual(Buffer.alloc(1000));
  });

  it("tells in the job why there is no image", async () => {
    const filename = inFolder("none/new.img");
    expect(await create({ driver: "file", filename, size: 1000 })).toEqual({ reply: {}, events: BADLY });
    expect(jobs.get("j0")!.query()).toMatchObject({
      progress: { current: 1, total: 1 },
      error: `Could not create '${filename}': No such file or directory`,
    });
    expect(await create({ driver: "file", filename: inFolder("x"), size: -1 }, "j1")).toEqual({
      reply: {},
      events: BADLY,
    });
    expect(jobs.get("j1")!.query().error).toBe("Could not resize file: Invalid argument");
  });

  it.each<[JsonObject, string]>([
    [{ "job-id": "j0" }, "Parameter 'options' is missing"],
    [{ options: { driver: "raw" } }, "Parameter 'job-id' is missing"],
    [{ "job-id": "j0", options: {} }, "Parameter 'options.driver' is missing"],
    [{ "job-id": "j0", options: { driver: "file", filename: "x" } }, "Parameter 'options.size' is missing"],
    [{ "job-id": "j0", options: { driver: "raw", size: 1 } }, "Parameter 'options.size' is unexpected"],
    [{ "job-id": "1bad", options: { driver: "raw" } }, "Driver does not support blockdev-create"],
    [{ "job-id": "1bad", options: { driver: "file", filename: "x", size: 1 } }, "Invalid job ID '1bad'"],
  ])("refuses %j", async (args, text) => {
    expect(await execute("blockdev-create", args)).toEqual(refused(text));
    expect([...jobs]).toEqual([]);
    expect(existsSync("x")).toBe(false);
  });
});

describe("block_resize", () => {
  it("looks for the node, then at the size, then at the driver", async () => {
    await execute("blockdev-add", { driver: "null-co", "node-name": "n" });
    const drive = graph.addBackend({ name: "empty" });
    expect(await execute("block_resize", { "node-name": "n" })).toEqual(refused("Parameter 'size' is missing"));
    expect(await execute("block_resize", { size: -1 })).toEqual(refused("Cannot find device='' nor node-name=''"));
    expect(await execute("block_resize", { "node-name": "zz", size: 1 })).toEqual(
      refused("Cannot find device='' nor node-name='zz'"),
    );
    expect(await execute("block_resize", { device: "empty", size: 1 })).toEqual(
      refused("Device 'empty' has no medium"),
    );
    expect(await execute("block_resize", { device: "zz", "node-name": "n", size: -1 })).toEqual(
      refused("Parameter 'size' expects a >0 size"),
    );
    expect(await execute("block_resize", { "node-name": "n", size: 1 })).toEqual(
      refused("Image format driver does not support resize"),
    );
    await graph.removeBackend(drive);
  });

  it("changes a file", async () => {
    const filename = inFolder("r.img");
    writeFileSync(filename, Buffer.alloc(4096));
    await execute("blockdev-add", { driver: "file", "node-name": "f", filename });
    expect(await execute("block_resize", { "node-name": "f", size: 5000 })).toEqual({});
    expect(statSync(filename).size).toBe(5000);
    expect(graph.node("f")?.lengthBytes).toBe(5120);
  });
});

describe("block-set-write-threshold", () => {
  it("sets the threshold that the event then names", async () => {
    await execute("blockdev-add", { driver: "memory", "node-name": "n", size: 8192 });
    const events: unknown[] = [];
    const queue = new EventQueue({ clock: systemClock, wallClock: systemWallClock });
    queue.listen(({ event, data }) => events.push({ name: event, data }));
    reportWriteThresholds(graph, queue);
    expect(await execute("block-set-write-threshold", { "node-name": "n", "write-threshold": 4096 })).toEqual({});
    const node = graph.getNode("n");
    expect(node.writeThreshold.bytes).toBe(4096);
    await node.write(0, IoVector.of(new Uint8Array(4096)));
    expect(events).toEqual([]);
    await node.write(3584, IoVector.of(new Uint8Array(1024)));
    expect(events).toEqual([
      {
        name: "BLOCK_WRITE_THRESHOLD",
        data: { "node-name": "n", "amount-exceeded": 512, "write-threshold": 4096 },
      },
    ]);
    expect(node.writeThreshold.bytes).toBe(0);
  });

  it("refuses unknown nodes and what is no number", async () => {
    expect(await execute("block-set-write-threshold", { "node-name": "zz", "write-threshold": 1 })).toEqual(
      refused("Device 'zz' not found"),
    );
    expect(await execute("block-set-write-threshold", { "node-name": "zz", "write-threshold": "1" })).toEqual(
      refused("Parameter 'write-threshold' expects uint64"),
    );
  });
});

describe("blockdev-del", () => {
  it("tells of what may be lost with a node whose last flush fails", async () => {
    await execute("blockdev-add", { driver: "memory", "node-name": "n", size: 4096 });
    const { driver } = graph.findNode("n")!;
    driver.flush = () => Promise.reject(new BlockError("ENOSPC"));
    await graph.findNode("n")!.write(0, IoVector.of(new Uint8Array(512)));
    const warnings: string[] = [];
    const end = onWarning((message) => warnings.push(message));
    await execute("blockdev-del", { "node-name": "n" });
    end();
    expect(warnings).toEqual(["Lost what was not on stable storage while closing node 'n': No space left on device"]);
    expect(graph.findNode("n")).toBe(undefined);
  });
});

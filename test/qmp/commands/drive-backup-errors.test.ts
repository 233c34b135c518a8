// drive-backup that fails, alone and in a transaction. Texts and events are those of a real QEMU 7.2, but where a title says otherwise.
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import type { JsonObject } from "../../../src/qmp/json/value.ts";
import { useTemporaryFolder } from "../../block/drivers/file/support/temporary-folder.ts";
import { DriveBackupBench, LENGTH, MIB, ofJob, pattern } from "./support/drive-backup-bench.ts";
import { refused } from "./support/invoke.ts";

const NEVER_STARTED = ["created", "aborting", "concluded", "null"];

const inFolder = useTemporaryFolder();
let bench: DriveBackupBench;
beforeEach(async () => {
  bench = await DriveBackupBench.make(inFolder);
});
afterEach(() => bench.close());

describe("drive-backup that is refused", () => {
  it.each<[JsonObject, string]>([
    [{}, "Parameter 'device' is missing"],
    [{ device: "d" }, "Parameter 'sync' is missing"],
    [{ device: "d", sync: "full" }, "Parameter 'target' is missing"],
    [{ device: "d", sync: "full", target: 1 }, "Invalid parameter type for 'target', expected: string"],
    [{ device: "d", sync: "full", target: "t", mode: "zz" }, "Parameter 'mode' does not accept value 'zz'"],
    [{ device: "d", sync: "full", target: "t", zz: 1 }, "Parameter 'zz' is unexpected"],
    [
      { "job-id": 1, device: "d", sync: "full", target: 1, format: 2, mode: 3 },
      "Invalid parameter type for 'job-id', expected: string",
    ],
  ])("checks %j for what it takes", async (args, text) => {
    expect(await bench.execute("drive-backup", args)).toEqual(refused(text));
  });

  it.each<[string, JsonObject, string]>([
    ["an unknown device", { device: "zz", format: "zz" }, "Cannot find device='zz' nor node-name='zz'"],
    ["an empty drive", { device: "empty", format: "zz" }, "Device 'empty' has no medium"],
    ["an unknown format", { format: "zz", target: "zz:x" }, "Unknown file format 'zz'"],
    ["an empty format", { format: "" }, "Unknown file format ''"],
    ["an unknown protocol", { target: "foo:bar", format: "null-co" }, "Unknown protocol 'foo'"],
    ["no protocol", { target: ":bar" }, "Unknown protocol ''"],
    ["a format without images", { format: "null-co" }, "Format driver 'null-co' does not support image creation"],
    ["a filter as a format", { format: "throttle" }, "Format driver 'throttle' does not support image creation"],
    ["sync=none on raw", { sync: "none", format: "raw" }, "Backing file not supported for file format 'raw'"],
    ["sync=none on file", { sync: "none", format: "file" }, "Backing file not supported for file format 'file'"],
    [
      "sync=top on raw",
      { device: "overlay", sync: "top", format: "raw" },
      "Backing file not supported for file format 'raw'",
    ],
    ["an unknown format of what exists", { mode: "existing", format: "zz" }, "Unknown driver 'zz'"],
    ["an unknown protocol of what exists", { mode: "existing", target: "foo:bar" }, "Unknown protocol 'foo'"],
    [
      "an empty name of what exists",
      { mode: "existing", format: "raw", target: "" },
      "The 'file' block driver requires a file name",
    ],
    ["an empty name", { target: "" }, "Could not create '': No such file or directory"],
    [
      "null-co by another name",
      { mode: "existing", format: "null-co" },
      "The only allowed filename for this driver is 'null-co://'",
    ],
    ["a throttle without a group", { mode: "existing", format: "throttle" }, "Please specify a throttle group"],
  ])("says so of %s, and makes no file", async (_what, args, text) => {
    bench.graph.addBackend({ name: "empty" });
    const overlay = await bench.graph.add({ driver: "memory", "node-name": "overlay", backing: "m" });
    const before = bench.nodeNames();
    if (args["format"] === "throttle" && args["mode"] === "existing")
      writeFileSync(bench.target, new Uint8Array(LENGTH));
    expect(await bench.backup(args)).toEqual(refused(text));
    expect(bench.nodeNames()).toEqual(before);
    expect([...bench.jobs]).toEqual([]);
    expect(bench.events).toEqual([]);
    if (args["mode"] !== "existing") expect(existsSync(bench.target)).toBe(false);
    await bench.graph.delete(overlay.name);
  });

  it("tells of a target that cannot be made or opened", async () => {
    const nowhere = inFolder("nowhere/target.img");
    expect(await bench.backup({ target: nowhere })).toEqual(
      refused(`Could not create '${nowhere}': No such file or directory`),
    );
    for (const format of [{}, { format: "raw" }, { format: "file" }]) {
      expect(await bench.backup({ target: nowhere, mode: "existing", ...format })).toEqual(
        refused(`Could not open '${nowhere}': No such file or directory`),
      );
    }
    mkdirSync(inFolder("folder"));
    const folder = inFolder("folder");
    expect(await bench.backup({ target: folder })).toEqual(refused(`Could not create '${folder}': Is a directory`));
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it.each<[string, JsonObject, string, readonly string[]]>([
    ["a bitmap", { bitmap: "zz" }, "Bitmap 'zz' could not be found", []],
    ["a bitmap's mode", { "bitmap-mode": "never" }, "Cannot specify bitmap sync mode without a bitmap", []],
    ["sync", { sync: "incremental" }, "must provide a valid bitmap name for 'incremental' sync mode", []],
    ["compression", { compress: true }, "Compression is not supported for this drive ", []],
    ["the filter's name", { "filter-node-name": "m" }, "Could not create node: Duplicate nodes with node-name='m'", []],
    ["the job's id", { device: "n" }, "Invalid job ID ''", []],
    ["the speed", { speed: -1 }, "Parameter 'speed' expects a non-negative value", ["d created", "d null"]],
  ])("has made the target by the time that %s turns out wrong, and closes it", async (_what, args, text, expected) => {
    if (args["device"] === "n") {
      await bench.graph.add({ driver: "null-co", "node-name": "bare", size: LENGTH });
      expect(await bench.backup({ device: "bare", format: "raw" })).toEqual(refused(text));
      await bench.graph.delete("bare");
    } else expect(await bench.backup(args)).toEqual(refused(text));
    expect(statSync(bench.target).size).toBe(LENGTH);
    expect(bench.nodeNames()).toEqual(bench.atRest);
    expect(bench.events).toEqual(expected);
    // Nobody has the file any more.
    expect(
      await bench.execute("blockdev-add", { driver: "file", "node-name": "free", filename: bench.target }),
    ).toEqual({});
  });

  it("says that a target of another size will not do", async () => {
    writeFileSync(bench.target, new Uint8Array(65_536));
    expect(await bench.backup({ mode: "existing" })).toEqual(refused("Source and target image have different sizes"));
    expect(await bench.backup({ mode: "existing", format: "null-co", target: "null-co://" })).toEqual(
      refused("Source and target image have different sizes"),
    );
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("says that an existing raw target takes no backing file", async () => {
    writeFileSync(bench.target, new Uint8Array(LENGTH));
    expect(await bench.backup({ sync: "none", mode: "existing", format: "raw" })).toEqual({
      class: "GenericError",
      desc: expect.stringMatching(/^Driver 'raw' of node '#block\d+' does not support backing files$/),
    });
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("makes no file for a source that is busy", async () => {
    await bench.backup({ speed: 1 });
    const other = inFolder("other.img");
    expect(await bench.backup({ target: other, "job-id": "j" })).toEqual(
      refused("Node 'd' is busy: block device is in use by block job: backup"),
    );
    expect(existsSync(other)).toBe(false);
  });

  it("never writes over the source's own file, as QEMU does before it notices", async () => {
    // QEMU's text, of a drive that no device has.
    expect(await bench.backup({ target: bench.sourcePath, mode: "existing", format: "raw" })).toEqual(
      refused('Could not replace node: Failed to get shared "write" lock'),
    );
    expect(await bench.backup({ target: bench.sourcePath, mode: "absolute-paths", format: "raw" })).toEqual({
      class: "GenericError",
      desc: expect.stringMatching(/^Failed to get (shared )?"(write|consistent read)" lock/),
    });
    expect(readFileSync(bench.sourcePath).equals(pattern())).toBe(true);
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });
});

describe("drive-backup in a transaction", () => {
  const action = (args: JsonObject): JsonObject => ({
    type: "drive-backup",
    data: { device: "d", sync: "full", target: bench.target, ...args },
  });
  const second = (): JsonObject =>
    action({ device: "m", format: "raw", "job-id": "x", target: inFolder("second.img") });
  const run = (actions: JsonObject[], more: JsonObject = {}): Promise<unknown> =>
    bench.execute("transaction", { actions, ...more });

  it("is undone with the others, the file apart", async () => {
    expect(await run([action({}), { type: "abort", data: {} }])).toEqual(
      refused("Transaction aborted using Abort action"),
    );
    expect(bench.events).toEqual(ofJob("d", NEVER_STARTED));
    expect(statSync(bench.target).size).toBe(LENGTH);
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("is undone when a later one fails", async () => {
    const missing = action({ device: "m", "job-id": "x", target: inFolder("none.img"), mode: "existing" });
    expect(await run([action({}), missing])).toEqual(
      refused(`Could not open '${inFolder("none.img")}': No such file or directory`),
    );
    expect(bench.events).toEqual(ofJob("d", NEVER_STARTED));
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("is undone in a group, the last first", async () => {
    const grouped = { properties: { "completion-mode": "grouped" } };
    expect(await run([action({}), second(), { type: "abort", data: {} }], grouped)).toEqual(
      refused("Transaction aborted using Abort action"),
    );
    expect(bench.events).toEqual([
      "d created",
      "x created",
      ...ofJob("x", NEVER_STARTED.slice(1)),
      ...ofJob("d", NEVER_STARTED.slice(1)),
    ]);
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("ends with its group, each target closed before its job's end is told", async () => {
    expect(await run([action({}), second()], { properties: { "completion-mode": "grouped" } })).toEqual({});
    await Promise.all([bench.ended("d"), bench.ended("x")]);
    const end = (id: string): string[] => ofJob(id, ["COMPLETED", "concluded", "null"]);
    expect(bench.events.slice(-8)).toEqual(["x pending", "d pending", ...end("x"), ...end("d")]);
    expect(bench.nodeNames()).toEqual(bench.atRest);
    expect(readFileSync(bench.target).equals(pattern())).toBe(true);
    expect(readFileSync(inFolder("second.img")).equals(new Uint8Array(LENGTH))).toBe(true);
  });

  it("begins with the bitmap that the same transaction has cleared", async () => {
    await bench.execute("block-dirty-bitmap-add", { node: "n", name: "b" });
    await bench.graph.drive("d")!.write(MIB, IoVector.of(new Uint8Array(4096).fill(0xaa)));
    const incremental = action({ sync: "incremental", bitmap: "b" });
    expect(await run([incremental])).toEqual({});
    await bench.ended();
    expect(
      readFileSync(bench.target)
        .subarray(MIB, MIB + 4096)
        .every((byte) => byte === 0xaa),
    ).toBe(true);
    expect(readFileSync(bench.target)[0]).toBe(0);
    expect(await run([{ type: "block-dirty-bitmap-clear", data: { node: "n", name: "b" } }, incremental])).toEqual({});
    await bench.ended();
    expect(readFileSync(bench.target).every((byte) => byte === 0)).toBe(true);
  });
});

// drive-backup as a command and as an action. Texts, orders and events are those of a real QEMU 7.2, but where a title says otherwise.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import { memoryOpener } from "../../../src/block/drivers/memory-openers.ts";
import type { DriverOpener } from "../../../src/block/graph-options.ts";
import { useTemporaryFolder } from "../../block/drivers/file/support/temporary-folder.ts";
import { DriveBackupBench, LENGTH, MIB, ofJob, pattern } from "./support/drive-backup-bench.ts";
import { refused } from "./support/invoke.ts";

const JOB_BEGINS = ["created", "running", "paused", "running"];
const JOB_SUCCEEDS = ["waiting", "pending", "COMPLETED", "concluded", "null"];

const inFolder = useTemporaryFolder();
let bench: DriveBackupBench;
beforeEach(async () => {
  bench = await DriveBackupBench.make(inFolder);
});
afterEach(() => bench.close());

describe("drive-backup", () => {
  it("makes the target, copies, and has closed the target when it says so", async () => {
    let open: string[] = [];
    bench.jobs.listen((_job, event) => {
      if (event.kind === "completed") open = bench.nodeNames();
    });
    expect(await bench.backup()).toEqual({});
    expect(bench.events).toEqual(ofJob("d", JOB_BEGINS));
    await bench.ended();
    expect(bench.events).toEqual(ofJob("d", [...JOB_BEGINS, ...JOB_SUCCEEDS]));
    expect(open).toEqual(bench.atRest);
    expect(readFileSync(bench.target).equals(pattern())).toBe(true);
  });

  it("lets another take the target as soon as it says that it has ended", async () => {
    let again: Promise<unknown> | undefined;
    bench.jobs.listen((job, event) => {
      if (event.kind !== "completed" || job.id !== "d") return;
      again = bench.execute("blockdev-add", { driver: "file", "node-name": "again", filename: bench.target });
    });
    await bench.backup();
    await bench.ended();
    expect(await again).toEqual({});
  });

  it("opens the target with the source's cache mode, unmaps and detects zeroes", async () => {
    await bench.backup({ "auto-finalize": false });
    const made = [...bench.graph.nodes].filter(({ node }) => !bench.atRest.includes(node.name)).map(({ node }) => node);
    expect(made.map(({ driver }) => driver.driverName)).toEqual(["raw", "file"]);
    const common = { readOnly: false, discard: "unmap", cacheDirect: true, cacheNoFlush: false };
    expect(made[0]!.settings).toMatchObject({ ...common, detectZeroes: "unmap" });
    expect(made[1]!.settings).toMatchObject({ ...common, detectZeroes: "off" });
  });

  it.each(["raw", "file"])("makes a target of the format %s", async (format) => {
    expect(await bench.backup({ format })).toEqual({});
    await bench.ended();
    expect(readFileSync(bench.target).equals(pattern())).toBe(true);
  });

  it("takes the source's format by default, also where it makes no images", async () => {
    expect(await bench.backup({ device: "m", "job-id": "j" })).toEqual(
      refused("Format driver 'memory' does not support image creation"),
    );
    expect(existsSync(bench.target)).toBe(false);
  });

  it("writes over a file that is there, and leaves one as it is with mode=existing", async () => {
    writeFileSync(bench.target, new Uint8Array(LENGTH).fill(0xee));
    await bench.execute("block-dirty-bitmap-add", { node: "d", name: "b" });
    const incremental = { sync: "incremental", bitmap: "b" };
    expect(await bench.backup({ ...incremental, mode: "existing" })).toEqual({});
    await bench.ended();
    expect(readFileSync(bench.target).every((byte) => byte === 0xee)).toBe(true);
    expect(await bench.backup(incremental)).toEqual({});
    await bench.ended();
    expect(readFileSync(bench.target).every((byte) => byte === 0)).toBe(true);
  });

  it("takes a name after file: as it is", async () => {
    expect(await bench.backup({ target: `file:${bench.target}` })).toEqual({});
    await bench.ended();
    expect(readFileSync(bench.target).equals(pattern())).toBe(true);
  });

  it("makes sync=top of a source without a backing file a full backup", async () => {
    expect(await bench.backup({ sync: "top" })).toEqual({});
    await bench.ended();
    expect(readFileSync(bench.target).equals(pattern())).toBe(true);
  });

  it("copies a read-only source, also of a length that is no multiple of the cluster", async () => {
    writeFileSync(inFolder("ro.img"), new Uint8Array(66_048).fill(7));
    const file = { driver: "file", filename: inFolder("ro.img") };
    await bench.execute("blockdev-add", { driver: "raw", "node-name": "ro", "read-only": true, file });
    expect(await bench.backup({ device: "ro", "job-id": "j" })).toEqual({});
    await bench.ended("j");
    expect(readFileSync(bench.target).equals(new Uint8Array(66_048).fill(7))).toBe(true);
  });

  it("keeps a paused or pending job's target open, and closes it when the job is cancelled", async () => {
    expect(await bench.backup({ speed: 1 })).toEqual({});
    expect(bench.nodeNames()).not.toEqual(bench.atRest);
    expect(await bench.execute("block-job-cancel", { device: "d" })).toEqual({});
    await bench.ended();
    expect(bench.nodeNames()).toEqual(bench.atRest);
    bench.events = [];
    expect(await bench.backup({ "auto-finalize": false })).toEqual({});
    await bench.untilPending();
    expect(bench.nodeNames()).not.toEqual(bench.atRest);
    expect(await bench.execute("job-cancel", { id: "d" })).toEqual({});
    expect(bench.events.slice(-4)).toEqual(ofJob("d", ["aborting", "CANCELLED", "concluded", "null"]));
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("answers job-finalize when the target is closed and the end was told", async () => {
    await bench.backup({ "auto-finalize": false, "auto-dismiss": false });
    await bench.untilPending();
    expect(await bench.execute("job-finalize", { id: "d" })).toEqual({});
    expect(bench.events.slice(-2)).toEqual(ofJob("d", ["COMPLETED", "concluded"]));
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("refuses to cancel a job that is about to end", async () => {
    await bench.backup({ "auto-finalize": false, "auto-dismiss": false });
    await bench.untilPending();
    const finalized = bench.execute("job-finalize", { id: "d" });
    const text = (verb: string, state = "concluded"): object =>
      refused(`Job 'd' in state '${state}' cannot accept command verb '${verb}'`);
    expect(await bench.execute("job-cancel", { id: "d" })).toEqual(text("cancel"));
    expect(await bench.execute("job-finalize", { id: "d" })).toEqual(text("finalize"));
    expect(await bench.execute("job-dismiss", { id: "d" })).toEqual(text("dismiss", "pending"));
    expect(await finalized).toEqual({});
    expect(await bench.execute("job-dismiss", { id: "d" })).toEqual({});
  });

  it("leaves the target's node to whoever has come to use it meanwhile, and closes it after him", async () => {
    await bench.backup({ "auto-finalize": false });
    const [top] = [...bench.graph.nodes].filter(({ node }) => !bench.atRest.includes(node.name));
    const reader = bench.graph.addBackend({ name: "reader", node: top!.node, readOnly: true });
    await bench.untilPending();
    await bench.execute("job-finalize", { id: "d" });
    const bytes = new Uint8Array(4096);
    await reader.read(4096, IoVector.of(bytes));
    expect(bytes).toEqual(new Uint8Array(4096).fill(2));
    await bench.graph.removeBackend(reader);
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });
});

describe("drive-backup onto a format with backing files", () => {
  /** Stands in for a format of its own: files that begin with `FMT`, images that show what they stand on. */
  const made: unknown[] = [];
  const format: DriverOpener = {
    ...memoryOpener,
    driver: "fmt",
    children: [
      { role: "file", required: true },
      { role: "backing", required: false },
    ],
    image: {
      hasBacking: true,
      probe: (head) => (head[0] === 0x46 && head[1] === 0x4d && head[2] === 0x54 ? 100 : 0),
      async create(image, images) {
        made.push(image);
        await images.create({ driver: "file", filename: image.filename, size: 512 });
      },
    },
    async open(context) {
      const driver = await memoryOpener.open({ ...context, options: { ...context.options, size: LENGTH } });
      const children = [{ role: "file", node: context.child("file") } as const, ...driver.children];
      return Object.defineProperty(driver, "children", { value: children });
    },
  };

  beforeEach(async () => {
    await bench.close();
    made.length = 0;
    bench = await DriveBackupBench.make(inFolder, format);
  });

  it("names the source to a new image of sync=none, and puts the source below the target", async () => {
    expect(await bench.backup({ sync: "none", format: "fmt" })).toEqual({});
    const backing = { filename: bench.sourcePath, format: "raw" };
    expect(made).toEqual([{ filename: bench.target, lengthBytes: LENGTH, backing }]);
    const [node] = [...bench.graph.nodes]
      .map((entry) => entry.node)
      .filter(({ driver }) => driver.driverName !== "file");
    const bytes = new Uint8Array(4096);
    await bench.graph.drive("d")!.write(0, IoVector.of(new Uint8Array(4096).fill(0x99)));
    await node!.read(0, IoVector.of(bytes));
    expect(bytes).toEqual(new Uint8Array(4096).fill(1));
    await node!.read(MIB, IoVector.of(bytes));
    expect(bytes).toEqual(Uint8Array.from(pattern().subarray(MIB, MIB + 4096)));
    await bench.execute("block-job-cancel", { device: "d" });
    await bench.ended();
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("makes no image that would stand on itself", async () => {
    expect(await bench.backup({ sync: "none", format: "fmt", target: bench.sourcePath })).toEqual(
      refused("Error: Trying to create an image with the same filename as the backing file"),
    );
  });

  it("finds the format of an existing target out, raw where none fits", async () => {
    for (const [head, expected] of [
      ["FMT", "fmt"],
      ["RAW", "raw"],
    ] as const) {
      writeFileSync(bench.target, Buffer.concat([Buffer.from(head), Buffer.alloc(LENGTH - 3)]));
      expect(await bench.backup({ mode: "existing", "auto-finalize": false })).toEqual({});
      const open = [...bench.graph.nodes]
        .filter(({ node }) => !bench.atRest.includes(node.name))
        .map(({ node }) => node.driver);
      expect(open.map(({ driverName }) => driverName)).toContain(expected === "fmt" ? "memory" : "raw");
      await bench.execute("block-job-cancel", { device: "d" });
      await bench.ended();
      expect(bench.nodeNames()).toEqual(bench.atRest);
    }
  });
});

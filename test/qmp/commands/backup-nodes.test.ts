// Nodes that are there for the sake of others, while a backup is the last to use them.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rawOpener } from "../../../src/block/drivers/raw-opener.ts";
import type { DriverOpener } from "../../../src/block/graph-options.ts";
import { type ImageFormat, PLAIN_IMAGE } from "../../../src/block/image-file.ts";
import { useTemporaryFolder } from "../../block/drivers/file/support/temporary-folder.ts";
import { DriveBackupBench, LENGTH } from "./support/drive-backup-bench.ts";
import { refused } from "./support/invoke.ts";

const inFolder = useTemporaryFolder();
let bench: DriveBackupBench;
let openGate: () => void;
beforeEach(async () => {
  const gate = new Promise<void>((resolve) => {
    openGate = resolve;
  });
  /** Raw; but for the first, its drivers are not opened before the gate is, nor its images made. */
  let opened = 0;
  const open: DriverOpener["open"] = async (context) => {
    if (opened++ > 0) await gate;
    return rawOpener.open(context);
  };
  const create: ImageFormat["create"] = async (image, graph) => {
    await gate;
    return PLAIN_IMAGE.create(image, graph);
  };
  const image = { ...PLAIN_IMAGE, create };
  bench = await DriveBackupBench.make(inFolder, { ...rawOpener, driver: "slow", open, image });
});
afterEach(() => bench.close());

/** A node with one given within it, of that name. */
async function add(name: string, within: string): Promise<void> {
  const file = { driver: "memory", "node-name": within, size: LENGTH };
  expect(await bench.execute("blockdev-add", { driver: "raw", "node-name": name, file })).toEqual({});
}

async function del(name: string): Promise<void> {
  expect(await bench.execute("blockdev-del", { "node-name": name })).toEqual({});
}

describe("A backup of a node that was given within another, to such a node", () => {
  beforeEach(async () => {
    await add("over-s", "s");
    await add("over-t", "t");
    const args = { "job-id": "j", device: "s", target: "t", sync: "none" };
    expect(await bench.execute("blockdev-backup", args)).toEqual({});
  });

  it("keeps both while it lasts, and has closed them when it says that it has ended", async () => {
    await del("over-s");
    await del("over-t");
    expect(bench.nodeNames()).toEqual([...bench.atRest, "s", "t"].sort());
    let open: string[] = [];
    bench.jobs.listen((_job, event) => {
      if (event.kind === "cancelled") open = bench.nodeNames();
    });
    bench.jobs.get("j")?.cancel();
    await bench.ended("j");
    expect(open).toEqual(bench.atRest);
    await add("again", "s");
    await del("again");
  });

  it("leaves them to who else uses them", async () => {
    bench.jobs.get("j")?.cancel();
    await bench.ended("j");
    expect(bench.nodeNames()).toEqual([...bench.atRest, "over-s", "over-t", "s", "t"].sort());
    await del("over-s");
    await del("over-t");
  });
});

describe("A node that was given within another", () => {
  let letGo: () => Promise<void>;
  beforeEach(async () => {
    await add("over", "s");
    const backend = bench.graph.addBackend({ name: "", node: bench.graph.getNode("s") });
    letGo = () => bench.graph.removeBackend(backend);
    await del("over");
  });

  it("is closed by drive-backup, if its last user goes while the target is made", async () => {
    const starting = bench.backup({ device: "s", format: "slow", "job-id": "j" });
    await new Promise(setImmediate);
    await letGo();
    expect(bench.graph.node("s")).toBeDefined();
    openGate();
    expect(await starting).toEqual({});
    await bench.ended("j");
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("is closed by a drive-backup that fails, in the same case", async () => {
    const target = inFolder("nowhere/target.img");
    const starting = bench.backup({ device: "s", format: "slow", "job-id": "j", target });
    await new Promise(setImmediate);
    await letGo();
    expect(bench.graph.node("s")).toBeDefined();
    openGate();
    expect(await starting).toEqual(refused(`Could not create '${target}': No such file or directory`));
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("is closed by block_resize, if its last user goes meanwhile", async () => {
    const resizing = bench.graph.resize(undefined, "s", 512);
    await letGo();
    await resizing;
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });

  it("stays for the node that is reopened to stand on it, if its last user goes meanwhile", async () => {
    await bench.graph.add({ driver: "slow", "node-name": "r", file: "m" });
    const options = [{ driver: "slow", "node-name": "r", file: "s" }];
    const reopening = bench.graph.reopen(options);
    await new Promise(setImmediate);
    await letGo();
    openGate();
    await reopening;
    expect(bench.graph.node("r")?.driver.children.map(({ node }) => node.name)).toEqual(["s"]);
    await del("r");
    expect(bench.nodeNames()).toEqual(bench.atRest);
  });
});

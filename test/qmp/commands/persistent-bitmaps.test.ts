// Commands on bitmaps that images keep. docs/reference/bitmaps.md §3, §4; persistence-migration.md §3; corrections.md A8, A9, C5.
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { IoVector } from "../../../src/base/io-vector.ts";
import { onWarning } from "../../../src/base/warnings.ts";
import type { BlockNode } from "../../../src/block/node.ts";
import { JobList } from "../../../src/job/job-list.ts";
import { bitmapCommands } from "../../../src/qmp/commands/bitmap.ts";
import { blockdevCommands } from "../../../src/qmp/commands/blockdev.ts";
import { transactionCommands } from "../../../src/qmp/commands/transaction.ts";
import { shownBitmaps } from "../../block/drivers/qcow2/bitmap-tools.ts";
import { ImageFolder } from "../../block/drivers/qcow2/qcow2-images.ts";
import { describeWithTools } from "../../support/tools.ts";
import { type Execute, executor, refused } from "./support/invoke.ts";

let folder: ImageFolder;
let jobs: JobList;
let execute: Execute;

beforeEach(async () => {
  folder = new ImageFolder();
  const { graph } = folder;
  jobs = new JobList(graph.names);
  const services = { graph, jobs, clock: systemClock };
  execute = executor([...bitmapCommands(graph), ...blockdevCommands(services), ...transactionCommands(services)]);
  await folder.create("a", { size: MIB });
  await open();
});
afterEach(async () => {
  await jobs.cancelAll();
  await folder.dispose();
});

const MIB = 1 << 20;
const IMAGE = { driver: "qcow2", "node-name": "q", file: "f" };

async function open(name = "a"): Promise<void> {
  await execute("blockdev-add", { driver: "file", "node-name": "f", filename: folder.file(name) });
  expect(await execute("blockdev-add", IMAGE)).toEqual({});
}

async function close(): Promise<void> {
  for (const name of ["q", "f"]) expect(await execute("blockdev-del", { "node-name": name })).toEqual({});
}

async function reopen(): Promise<void> {
  await close();
  await open();
}

const add = (name: string, more: object = {}): Promise<unknown> =>
  execute("block-dirty-bitmap-add", { node: "q", name, persistent: true, ...more });
const on = (command: string, name: string): Promise<unknown> =>
  execute(`block-dirty-bitmap-${command}`, { node: "q", name });
const action = (type: string, name: string, more: object = {}): object => ({
  type: `block-dirty-bitmap-${type}`,
  data: { node: "q", name, ...more },
});
const transaction = (...actions: object[]): Promise<unknown> => execute("transaction", { actions } as never);
const node = (): BlockNode => folder.graph.getNode("q");
const names = (): (string | undefined)[] => Array.from(node().bitmaps, ({ name }) => name);
const write = async (offset: number): Promise<void> => {
  await node().write(offset, IoVector.of(new Uint8Array(512).fill(1)));
};

describe("block-dirty-bitmap-add, persistent", () => {
  it("is refused where nothing can be stored", async () => {
    await execute("blockdev-add", { driver: "memory", "node-name": "m", size: MIB });
    expect(await execute("block-dirty-bitmap-add", { node: "m", name: "b", persistent: true })).toEqual(
      refused("Can't store persistent bitmaps to m: Operation not supported"),
    );
    await execute("blockdev-del", { "node-name": "m" });
  });

  it("is refused for an image of version 2", async () => {
    await close();
    await folder.create("v2", { size: MIB, version: "v2" });
    await open("v2");
    expect(await add("b")).toEqual(
      refused("Can't make bitmap 'b' persistent in 'q': Cannot store dirty bitmaps in qcow2 v2 files"),
    );
  });

  it("looks for the name first, whatever else is wrong", async () => {
    await add("b", { persistent: false });
    expect(await add("b")).toEqual(refused("Bitmap already exists: b"));
    expect(await add("x".repeat(1024))).toEqual(
      refused(
        `Can't make bitmap '${"x".repeat(1024)}' persistent in 'q': Name length exceeds maximum (1023 characters)`,
      ),
    );
  });

  it("is refused where the bits would take more than 512 MiB", async () => {
    await close();
    await folder.create("big", { size: 2 ** 42 });
    await open("big");
    expect(await add("b", { granularity: 512 })).toEqual(
      refused(
        "Can't make bitmap 'b' persistent in 'q': Too much space will be occupied by the bitmap. Use larger granularity",
      ),
    );
    expect(await add("b", { granularity: 1024 })).toEqual({});
  });

  it("leaves nothing in the image until that is closed", async () => {
    await add("b");
    await execute("blockdev-reopen", { options: [{ ...IMAGE }] } as never);
    expect(readFileSync(folder.file("a")).readBigUInt64BE(88)).toBe(0n);
    await close();
    expect(readFileSync(folder.file("a")).readBigUInt64BE(88)).toBe(1n);
    await open();
    expect(names()).toEqual(["b"]);
  });
});

describe("a persistent bitmap of a read-only image", () => {
  it("is taken, and lost at the end with a warning", async () => {
    await close();
    await execute("blockdev-add", { driver: "file", "node-name": "f", filename: folder.file("a"), "read-only": true });
    await execute("blockdev-add", { ...IMAGE, "read-only": true });
    const warnings: string[] = [];
    const end = onWarning((message) => warnings.push(message));
    expect(await add("b")).toEqual({});
    await close();
    end();
    expect(warnings).toEqual(["Lost persistent bitmaps during inactivation of node 'q': No write access"]);
    await open();
    expect(names()).toEqual([]);
  });
});

describe("block-dirty-bitmap-remove of a stored bitmap", () => {
  it("takes it out of the image at once", async () => {
    await add("b");
    await add("c");
    await reopen();
    expect(await on("remove", "b")).toEqual({});
    await reopen();
    expect(names()).toEqual(["c"]);
    expect(await on("remove", "c")).toEqual({});
    expect(readFileSync(folder.file("a")).readBigUInt64BE(88)).toBe(0n);
  });

  it("is the one thing that can be done with an inconsistent one", async () => {
    await add("b");
    await reopen();
    const crashed = readFileSync(folder.file("a"));
    await close();
    writeFileSync(folder.file("a"), crashed);
    await open();
    expect(node().bitmaps.get("b")).toMatchObject({ inconsistent: true, persistent: true, enabled: false });
    const text = "Bitmap 'b' is inconsistent and cannot be used";
    for (const command of ["clear", "enable", "disable"]) expect(await on(command, "b")).toEqual(refused(text));
    expect(await execute("block_resize", { "node-name": "q", size: 2 * MIB })).toEqual(refused(text));
    await add("c");
    await reopen();
    expect(node().bitmaps.get("b").inconsistent).toBe(true);
    expect(await on("remove", "b")).toEqual({});
    await reopen();
    expect(names()).toEqual(["c"]);
    expect(await execute("block_resize", { "node-name": "q", size: 2 * MIB })).toEqual({});
  });
});

describe("transactions on stored bitmaps", () => {
  it("do not bring a removed one back into the image, but store it again, last", async () => {
    await add("b");
    await add("c");
    await reopen();
    expect(names()).toEqual(["b", "c"]);
    await transaction(action("remove", "b"), { type: "abort", data: {} });
    expect(node().bitmaps.get("b")).toMatchObject({ persistent: true, skipStore: false, busy: false });
    await reopen();
    expect(names()).toEqual(["b", "c"]);
  });

  it("make persistent bitmaps, or none", async () => {
    await transaction(action("add", "b", { persistent: true }), { type: "abort", data: {} });
    expect(names()).toEqual([]);
    expect(await transaction(action("add", "b", { persistent: true }), action("disable", "b"))).toEqual({});
    await reopen();
    expect(node().bitmaps.get("b").enabled).toBe(false);
  });
});

describe("block_resize with stored bitmaps", () => {
  it("is stored with them at the end", async () => {
    await add("b", { granularity: 65536 });
    await reopen();
    await write(0);
    expect(await execute("block_resize", { "node-name": "q", size: 3 * MIB })).toEqual({});
    await write(2 * MIB);
    await reopen();
    expect(node().bitmaps.get("b")).toMatchObject({ sizeBytes: 3 * MIB, countBytes: 2 * 65536 });
  });
});

describe("blockdev-reopen with stored bitmaps", () => {
  const both = (readOnly: boolean): Promise<unknown> =>
    execute("blockdev-reopen", {
      options: [
        { driver: "file", "node-name": "f", filename: folder.file("a"), "read-only": readOnly },
        { ...IMAGE, "read-only": readOnly },
      ],
    } as never);

  it("stores them and makes them readonly, and takes that back", async () => {
    await add("b");
    await write(0);
    expect(await both(true)).toEqual({});
    expect(node().bitmaps.get("b").readonly).toBe(true);
    expect(await on("remove", "b")).toEqual(refused("Bitmap 'b' is readonly and cannot be modified"));
    expect(await on("disable", "b")).toEqual({});
    expect(await both(false)).toEqual({});
    expect(node().bitmaps.get("b")).toMatchObject({ readonly: false, enabled: false, countBytes: 65536 });
    await reopen();
    expect(node().bitmaps.get("b").enabled).toBe(false);
  });

  it("keeps writes away while they cannot be made writable", async () => {
    await add("b");
    await both(true);
    const image = readFileSync(folder.file("a"));
    await execute("block-dirty-bitmap-add", { node: "q", name: "t" });
    node().bitmaps.get("b").setInconsistent();
    expect(await both(false)).toEqual({});
    expect(node().bitmaps.get("b").readonly).toBe(true);
    expect(() => node().write(0, IoVector.of(new Uint8Array(512)))).toThrow("Operation not permitted");
    expect(await on("remove", "b")).toEqual(refused("Bitmap 'b' is readonly and cannot be modified"));
    expect(readFileSync(folder.file("a")).subarray(0, 65536).equals(image.subarray(0, 65536))).toBe(true);
  });
});

describe("backups with stored bitmaps", () => {
  it("leave the writes made since in the image", async () => {
    await add("b", { granularity: 65536 });
    await reopen();
    await write(0);
    await execute("blockdev-add", { driver: "memory", "node-name": "t", size: MIB });
    const backup = { "job-id": "j", device: "q", target: "t", sync: "incremental", bitmap: "b" };
    expect(await execute("blockdev-backup", backup)).toEqual({});
    expect(await jobs.get("j")!.untilConcluded()).toEqual({ kind: "completed" });
    expect(node().bitmaps.get("b")).toMatchObject({ persistent: true, countBytes: 0 });
    await write(5 * 65536);
    await reopen();
    expect(node().bitmaps.get("b").countBytes).toBe(65536);
    await execute("blockdev-del", { "node-name": "t" });
  });
});

describe("blockdev-set-active", () => {
  it("takes a node, or all of them", async () => {
    expect(await execute("blockdev-set-active", { active: false })).toEqual({});
    expect([node().active, folder.graph.getNode("f").active]).toEqual([false, false]);
    expect(await execute("blockdev-set-active", { "node-name": "q", active: true })).toEqual({});
    expect([node().active, folder.graph.getNode("f").active]).toEqual([true, true]);
    expect(await execute("blockdev-set-active", { "node-name": "x", active: true })).toEqual(
      refused("Failed to find node with node-name='x'"),
    );
  });

  it("keeps what a user may do with an inactive node", async () => {
    await execute("blockdev-set-active", { active: false });
    expect(await execute("block_resize", { "node-name": "q", size: 2 * MIB })).toEqual(refused("Image is read-only"));
    expect(await add("b")).toEqual({});
    await execute("blockdev-set-active", { active: true });
    await reopen();
    expect(names()).toEqual(["b"]);
  });
});

describeWithTools(["qemu-img"], "the directory after changes", () => {
  it("has new bitmaps behind those that were there", async () => {
    await add("b");
    await reopen();
    await add("c");
    await add("d");
    await close();
    expect(shownBitmaps(folder, "a").map(({ name }) => name)).toEqual(["b", "d", "c"]);
    expect(folder.check("a")).toBe("No errors were found on the image.");
    await open();
  });
});

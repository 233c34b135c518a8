// qcow2 images and their bitmaps between processes, of this program and of a real QEMU: docs/reference/persistence-migration.md §4.
import { join } from "node:path";
import { expect, it } from "vitest";
import { dirtyExtents, shownBitmaps } from "../block/drivers/qcow2/bitmap-tools.ts";
import { CLEAN, ImageFolder } from "../block/drivers/qcow2/qcow2-images.ts";
import type { SystemClient } from "../support/system-process.ts";
import { describeWithTools } from "../support/tools.ts";
import { bitmapsOf, ended, OURS, start, statuses } from "./system-migration.ts";

const QEMU = ["qemu-system-aarch64"];
const ALL = ["fine", "new", "off", "old"];

interface Way {
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly shared: boolean;
  /** The capability dirty-bitmaps. */
  readonly channel: boolean;
  /** The source goes on afterwards, on an image of its own; otherwise it quits. */
  readonly resumes?: boolean;
}

/** By name, in KiB: what was written to while a bitmap recorded. */
const WRITTEN: [number, number][] = [
  [0, 64],
  [256, 128],
];
const WITH_DESTINATION: [number, number][] = [...WRITTEN, [960, 64]];
const WITH_SOURCE: [number, number][] = [...WRITTEN, [512, 64]];

function node(folder: ImageFolder, image: string): string {
  return `qcow2,node-name=n0,file.driver=file,file.filename=${folder.file(image)}`;
}

function createImages(folder: ImageFolder, shared: boolean): void {
  folder.run("qemu-img", "create", "-q", "-f", "qcow2", "a", "1M");
  folder.run("qemu-img", "bitmap", "--add", "a", "old");
  if (!shared) folder.run("qemu-img", "create", "-q", "-f", "qcow2", "b", "1M");
}

async function fill(source: SystemClient): Promise<void> {
  const add = (name: string, more: object): Promise<unknown> =>
    source.execute("block-dirty-bitmap-add", { node: "n0", name, ...more });
  await add("new", { persistent: true });
  await add("fine", { persistent: true, granularity: 512 });
  await add("off", { persistent: true });
  await add("passing", {});
  for (const write of ["0 64k", "256k 128k"]) await source.human(`qemu-io n0 "write -P 7 ${write}"`);
  await source.execute("block-dirty-bitmap-disable", { node: "n0", name: "off" });
}

const flagsOf = (folder: ImageFolder, image: string): Record<string, readonly string[]> =>
  Object.fromEntries(shownBitmaps(folder, image).map(({ name, flags }) => [name, flags]));

/** Stored as they were last: all but `off` record, and have recorded this. */
function expectStored(folder: ImageFolder, image: string, written: [number, number][]): void {
  const shown = flagsOf(folder, image);
  expect(Object.keys(shown).sort()).toEqual(ALL);
  for (const name of ALL) {
    expect(shown[name], name).toEqual(name === "off" ? [] : ["auto"]);
    const extents = dirtyExtents(folder, image, name).map(([offset, length]) => [offset / 1024, length / 1024]);
    expect(extents, name).toEqual(name === "off" ? WRITTEN : written);
  }
}

async function migrate({ from, to, shared, channel, resumes = false }: Way): Promise<void> {
  const folder = new ImageFolder();
  createImages(folder, shared);
  const other = shared ? "a" : "b";
  const uri = `unix:${join(folder.path, "m.sock")}`;
  const source = await start(folder.path, "source", from, [node(folder, "a")]);
  let destination: SystemClient | undefined;
  try {
    await fill(source);
    destination = await start(folder.path, "destination", to, [node(folder, other)], ["-incoming", "defer"]);
    const state = async (client: SystemClient): Promise<unknown> =>
      ((await client.execute("query-status"))["return"] as { status: string }).status;
    if (!channel)
      await source.execute("migrate-set-capabilities", {
        capabilities: [{ capability: "dirty-bitmaps", state: false }],
      });
    const before = await bitmapsOf(source);
    expect(Object.keys(before)).toHaveLength(5);
    expect(await bitmapsOf(destination)).toEqual({});
    await source.execute("migrate-set-parameters", { "downtime-limit": 3000 });
    expect(await destination.execute("migrate-incoming", { uri })).toEqual({ return: {} });
    expect(await source.execute("migrate", { uri })).toEqual({ return: {} });
    await ended(source);
    await ended(destination);
    expect(statuses(source)).toEqual(["setup", "active", "STOP", "completed"]);
    expect(statuses(destination)).toEqual(["setup", "active", "RESUME", "completed"]);
    expect([await state(source), await state(destination)]).toEqual(["postmigrate", "running"]);

    const { "n0/passing": passing, ...persistent } = before;
    expect(await bitmapsOf(destination)).toEqual(channel ? before : shared ? persistent : {});
    expect(await bitmapsOf(source)).toEqual(channel ? before : { "n0/passing": passing });
    await destination.human('qemu-io n0 "write -P 9 960k 64k"');
    if (resumes) {
      expect(await source.execute("cont")).toEqual({ return: {} });
      expect(await state(source)).toBe("running");
      expect(await bitmapsOf(source)).toEqual(before);
      await source.human('qemu-io n0 "write -P 9 512k 64k"');
    }
    expect(await source.quit()).toBe(0);
    expect(await destination.quit()).toBe(0);
    expect(source.process.errorOutput + destination.process.errorOutput).toBe("");

    expect(folder.check("a")).toBe(CLEAN);
    if (shared) expectStored(folder, "a", WITH_DESTINATION);
    else {
      expect(folder.check("b")).toBe(CLEAN);
      if (channel) expectStored(folder, "b", WITH_DESTINATION);
      else expect(flagsOf(folder, "b")).toEqual({});
      if (resumes) expectStored(folder, "a", WITH_SOURCE);
      else if (channel) expect(flagsOf(folder, "a")).toEqual({ old: ["in-use", "auto"] });
      else expectStored(folder, "a", WRITTEN);
    }
  } finally {
    source.kill();
    destination?.kill();
    await folder.dispose();
  }
}

const TOOLS = ["qemu-img", "qemu-nbd", "nbdinfo"];

describeWithTools([...TOOLS, ...QEMU], "images of a real QEMU and its bitmaps", () => {
  const pairs = [
    ["arrive here", { from: QEMU, to: OURS }],
    ["come from here", { from: OURS, to: QEMU }],
  ] as const;
  for (const [what, machines] of pairs) {
    it(`${what} through the channel, with the image shared`, () =>
      migrate({ ...machines, shared: true, channel: true }));
    it(`${what} through the channel, to an image of its own`, () =>
      migrate({ ...machines, shared: false, channel: true }));
    it(`${what} through the image`, () => migrate({ ...machines, shared: true, channel: false }));
    it(`${what} not at all without channel and image, and the source goes on with them`, () =>
      migrate({ ...machines, shared: false, channel: false, resumes: true }));
    it(`${what} through the channel, and the source goes on with its own`, () =>
      migrate({ ...machines, shared: false, channel: true, resumes: true }));
  }
});

describeWithTools(TOOLS, "images of a process of this program", () => {
  const machines = { from: OURS, to: OURS };
  it("go to another with their bitmaps through the channel", () =>
    migrate({ ...machines, shared: true, channel: true }));
  it("go to another with their bitmaps in them", () => migrate({ ...machines, shared: true, channel: false }));
  it("stay where they are when only bitmaps go, and the source goes on", () =>
    migrate({ ...machines, shared: false, channel: true, resumes: true }));
  it("stay where they are when nothing goes, with the bitmaps in them", () =>
    migrate({ ...machines, shared: false, channel: false }));
});

// Images and their bitmaps through a migration, between machines in this process: docs/reference/persistence-migration.md §4.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CLEAN } from "../block/drivers/qcow2/qcow2-images.ts";
import { describeWithTools } from "../support/tools.ts";
import type { ImageMachine } from "./image-machine.ts";
import { DISK_BYTES, ImageRig, NO_FLAGS, persistentOnes } from "./image-rig.ts";

let rig: ImageRig;
beforeEach(async () => {
  rig = new ImageRig();
  await rig.createImage("a");
});
afterEach(() => rig.dispose());

const NOTHING: readonly string[] = [];
const BITMAPS = ["dirty-bitmaps"];
const REFUSED = "write failed: Operation not permitted";
const STORED = { old: ["auto"], new: ["auto"], off: NO_FLAGS };

/** Where the source's image is too, or where one is that a mirror has filled with the same data and no bitmaps. */
async function destination(shared: boolean, capabilities: readonly string[]): Promise<ImageMachine> {
  if (!shared) {
    await rig.folder.create("b", { size: DISK_BYTES });
    for (const write of ["-P 1 0 64k", "-P 2 256k 128k", "-P 3 512k 64k"])
      rig.folder.run("qemu-io", "-f", "qcow2", "-c", `write ${write}`, "b");
  }
  return rig.machine(shared ? "a" : "b", { incoming: true, capabilities });
}

async function migrated(shared: boolean, capabilities: readonly string[]) {
  const from = await rig.source("a", capabilities);
  const to = await destination(shared, capabilities);
  from.channels.destination = to.channels;
  expect([to.state, to.node("q").active, to.node("q").bitmaps.count]).toEqual(["inmigrate", false, 0]);
  const before = await from.bitmaps();
  expect(await from.migrate()).toBe("completed");
  await to.until("completed");
  expect(from.events).toEqual(["setup", "active", "STOP", "completed"]);
  expect(to.events.slice(-3)).toEqual(["active", "RESUME", "completed"]);
  expect([from.state, from.node("q").active]).toEqual(["postmigrate", false]);
  expect([to.state, to.node("q").active]).toEqual(["running", true]);
  expect([from.lines, to.lines]).toEqual([[], []]);
  return { from, to, before };
}

const names = (bitmaps: object): string[] => Object.keys(bitmaps);

describeWithTools(["qemu-img", "qemu-io", "qemu-nbd", "nbdinfo"], "a migration that completes", () => {
  it("with the capability, on shared storage: all bitmaps go through the channel, and the destination stores them", async () => {
    const { from, to, before } = await migrated(true, BITMAPS);
    expect(await to.bitmaps()).toEqual(before);
    expect(await from.bitmaps()).toEqual(before);
    expect(rig.flags("a")).toEqual({ old: ["in-use", "auto"] });
    await rig.quit(from);
    await to.io("q", "write -P 4 960k 64k");
    expect((await to.bitmaps())["q/off"]).toEqual(before["q/off"]);
    await rig.quit(to);
    expect(rig.flags("a")).toEqual(STORED);
    expect(rig.folder.check("a")).toBe(CLEAN);
    expect(rig.dirtyKib("a", "old")).toEqual([
      [0, 64],
      [256, 128],
      [512, 64],
      [960, 64],
    ]);
    expect(rig.dirtyKib("a", "off")).toEqual([[256, 128]]);
  });

  it("with the capability, on storage of its own: they are stored there, and in use or absent in the source's image", async () => {
    const { from, to, before } = await migrated(false, BITMAPS);
    expect(await to.bitmaps()).toEqual(before);
    await rig.quit(to);
    await rig.quit(from);
    expect(rig.flags("b")).toEqual(STORED);
    expect(rig.flags("a")).toEqual({ old: ["in-use", "auto"] });
    expect([rig.folder.check("a"), rig.folder.check("b")]).toEqual([CLEAN, CLEAN]);
    const again = await rig.machine("a");
    expect(await again.bitmaps()).toMatchObject({ "q/old": { inconsistent: true, recording: false } });
    expect(names(await again.bitmaps())).toEqual(["q/old"]);
  });

  it("without it, on shared storage: persistent ones go through the image, transient ones stay", async () => {
    const { from, to, before } = await migrated(true, NOTHING);
    expect(await to.bitmaps()).toEqual(persistentOnes(before));
    expect(await from.bitmaps()).toEqual({ "q/passing": before["q/passing"] });
    expect(rig.flags("a")).toEqual({ old: ["in-use", "auto"], new: ["in-use", "auto"], off: ["in-use"] });
    await to.io("q", "write -P 4 960k 64k");
    await rig.quit(to);
    await rig.quit(from);
    expect(rig.flags("a")).toEqual(STORED);
    expect(rig.dirtyKib("a", "new").at(-1)).toEqual([960, 64]);
    expect(rig.folder.check("a")).toBe(CLEAN);
  });

  it("without it, on storage of its own: they stay in the source's image, and the destination has none", async () => {
    const { from, to } = await migrated(false, NOTHING);
    expect(await to.bitmaps()).toEqual({});
    await rig.quit(to);
    await rig.quit(from);
    expect(rig.flags("b")).toEqual({});
    expect(rig.flags("a")).toEqual(STORED);
    expect([rig.folder.check("a"), rig.folder.check("b")]).toEqual([CLEAN, CLEAN]);
  });

  it("leaves the image to the destination: the source may not continue meanwhile, and does so afterwards", async () => {
    const { from, to } = await migrated(true, NOTHING);
    expect(await from.run("cont")).toMatch(/^Failed to get "write" lock/);
    expect([from.state, from.node("q").active]).toEqual(["postmigrate", false]);
    expect(await from.human("cont")).toMatch(/^Error: Failed to get "write" lock/);
    expect(await from.io("q", "write 0 64k")).toBe(REFUSED);
    await to.io("q", "write -P 4 960k 64k");
    await rig.quit(to);
    expect(await from.run("cont")).toEqual({});
    expect(from.state).toBe("running");
    expect((await from.bitmaps())["q/old"]).toMatchObject({ count: 5 << 16, recording: true });
    expect(await from.io("q", "read -P 4 960k 64k")).toBe("read 65536/65536 bytes at offset 983040");
    await rig.quit(from);
    expect(rig.folder.check("a")).toBe(CLEAN);
  });
});

describeWithTools(["qemu-img", "qemu-nbd", "nbdinfo"], "a source that goes on after a migration that completed", () => {
  async function sent(capabilities: readonly string[]) {
    const from = await rig.source("a", capabilities);
    from.channels.destination = "nowhere";
    const before = await from.bitmaps();
    expect(await from.migrate()).toBe("completed");
    const image = rig.flags("a");
    from.events.length = 0;
    expect(await from.run("cont")).toEqual({});
    expect([from.state, from.events]).toEqual(["running", ["RESUME"]]);
    return { from, before, image };
  }

  it("with the capability keeps its bitmaps in memory, and stores them as ever", async () => {
    const { from, before, image } = await sent(BITMAPS);
    expect(image).toEqual({ old: ["in-use", "auto"] });
    expect(names(await from.bitmaps())).toEqual(names(before));
    expect(await from.bitmaps()).toEqual(before);
    await from.io("q", "write -P 4 960k 64k");
    await rig.quit(from);
    expect(rig.flags("a")).toEqual(STORED);
    expect(rig.dirtyKib("a", "new").at(-1)).toEqual([960, 64]);
    expect(rig.folder.check("a")).toBe(CLEAN);
  });

  it("without it loads them again, in front of the transient one", async () => {
    const { from, before, image } = await sent(NOTHING);
    expect(image).toEqual(STORED);
    expect(await from.bitmaps()).toEqual(before);
    expect(names(await from.bitmaps()).at(-1)).toBe("q/passing");
    expect(rig.flags("a")).toEqual({ old: ["in-use", "auto"], new: ["in-use", "auto"], off: ["in-use"] });
    await from.io("q", "write -P 4 960k 64k");
    await rig.quit(from);
    expect(rig.dirtyKib("a", "old").at(-1)).toEqual([960, 64]);
    expect(rig.folder.check("a")).toBe(CLEAN);
  });

  it("may migrate again", async () => {
    const { from, before } = await sent(BITMAPS);
    const to = await destination(true, BITMAPS);
    from.channels.destination = to.channels;
    expect(await from.migrate()).toBe("completed");
    await to.until("completed");
    expect(await to.bitmaps()).toEqual(before);
  });

  it("cannot where the image has a bitmap of a name that it has in memory, until somebody removes that", async () => {
    const from = await rig.source("a", BITMAPS);
    from.channels.destination = "nowhere";
    await from.migrate();
    rig.folder.run("qemu-img", "bitmap", "--add", "a", "new");
    const text = "Could not reopen qcow2 layer: Bitmap already exists: new";
    expect(await from.run("cont")).toBe(text);
    expect([from.state, from.node("q").active]).toEqual(["postmigrate", false]);
    expect(await from.human("c")).toBe(`Error: ${text}\r\n`);
    rig.folder.run("qemu-img", "bitmap", "--remove", "a", "new");
    expect(await from.run("cont")).toEqual({});
    expect(from.state).toBe("running");
  });
});

describe("a destination", () => {
  it("has inactive images until it has arrived, also those that come by blockdev-add, whatever they say", async () => {
    const to = await rig.machine({}, { incoming: true });
    await rig.folder.create("b", { size: DISK_BYTES });
    const add = (name: string, options: object): Promise<unknown> =>
      to.run("blockdev-add", {
        driver: "qcow2",
        "node-name": name,
        file: { driver: "file", filename: rig.folder.file(name), ...options },
        ...options,
      });
    expect(await add("a", {})).toEqual({});
    expect(await add("b", { active: true })).toEqual({});
    const nodes = (): Promise<unknown> => to.run("query-named-block-nodes");
    expect(await nodes()).toMatchObject(new Array(4).fill({ active: false }));
    expect(await to.io("a", "write 0 64k")).toBe(REFUSED);
    expect(await to.run("block_resize", { "node-name": "a", size: 2 << 20 })).toBe("Image is read-only");
    const from = await rig.machine({});
    from.channels.destination = to.channels;
    expect(await from.migrate()).toBe("completed");
    await to.until("completed");
    expect(await nodes()).toMatchObject(new Array(4).fill({ active: true }));
    expect(await to.io("a", "write 0 64k")).toBe("wrote 65536/65536 bytes at offset 0");
  });

  it("leaves the image as it is when it quits without a migration", async () => {
    rig.copy("a", "before");
    const to = await rig.machine("a", { incoming: true });
    await to.run("cont");
    await rig.quit(to);
    expect(rig.folder.run("cmp", "a", "before")).toBe("");
  });

  it("that is paused takes images at once, or with late-block-activate when it continues", async () => {
    for (const late of [false, true]) {
      const from = await rig.machine("a", { capabilities: NOTHING });
      await from.run("stop");
      const to = await rig.machine("a", { incoming: true, capabilities: late ? ["late-block-activate"] : NOTHING });
      from.channels.destination = to.channels;
      expect(await from.migrate()).toBe("completed");
      await to.until("completed");
      expect([from.events.includes("STOP"), from.state]).toEqual([false, "postmigrate"]);
      expect([to.state, to.node("q").active]).toEqual(["paused", !late]);
      expect(await to.run("cont")).toEqual({});
      expect([to.state, to.node("q").active]).toEqual(["running", true]);
      await rig.quit(from);
      await rig.quit(to);
    }
  });

  it("arrives without its image where a bitmap that came is there too, and tells of it", async () => {
    const from = await rig.machine("a");
    await from.run("block-dirty-bitmap-add", { node: "q", name: "b" });
    await rig.folder.create("b", { size: DISK_BYTES });
    const other = await rig.machine("b");
    await other.run("block-dirty-bitmap-add", { node: "q", name: "b", persistent: true });
    await rig.quit(other);
    const to = await rig.machine("b", { incoming: true });
    from.channels.destination = to.channels;
    expect(await from.migrate()).toBe("completed");
    await to.until("completed");
    const text = "Could not reopen qcow2 layer: Bitmap already exists: b";
    expect(to.lines).toEqual([text]);
    expect([to.state, to.node("q").active]).toEqual(["paused", false]);
    expect(await to.run("cont")).toBe(text);
    expect(await to.run("block-dirty-bitmap-remove", { node: "q", name: "b" })).toEqual({});
    expect(await to.run("cont")).toEqual({});
    expect((await to.bitmaps())["q/b"]).toMatchObject({ persistent: true, inconsistent: false });
  });
});

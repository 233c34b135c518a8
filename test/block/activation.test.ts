// Inactive nodes, on qcow2 images in files. docs/reference/persistence-migration.md §4.
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { Interception } from "../../src/block/interception.ts";
import type { BlockNode } from "../../src/block/node.ts";
import { describeWithTools } from "../support/tools.ts";
import { shownBitmaps } from "./drivers/qcow2/bitmap-tools.ts";
import { ImageFolder } from "./drivers/qcow2/qcow2-images.ts";

let folder: ImageFolder;
beforeEach(async () => {
  folder = new ImageFolder();
  await folder.create("a", { size: 1 << 20 });
});
afterEach(() => folder.dispose());

const SECTOR = IoVector.of(new Uint8Array(512).fill(7));
const READ_ONLY = "Block node is read-only";

/** blockdev-add of a file node `f` and a qcow2 node `q` on it. */
async function add(options: object = {}, image = "a"): Promise<BlockNode> {
  const file = { driver: "file", "node-name": "f", filename: folder.file(image), ...options };
  await folder.graph.add(file);
  return folder.graph.add({ driver: "qcow2", "node-name": "q", file: "f", ...options });
}

async function remove(): Promise<void> {
  await folder.graph.delete("q");
  await folder.graph.delete("f");
}

/** An image that keeps these bitmaps, all of them with the first sector dirty. */
async function store(...names: string[]): Promise<void> {
  const node = await add();
  for (const name of names) node.bitmaps.add({ name }).persistent = true;
  await node.write(0, SECTOR);
  await remove();
}

function names(node: BlockNode): (string | undefined)[] {
  return Array.from(node.bitmaps, ({ name }) => name);
}

describe("an inactive node", () => {
  it("has loaded no bitmaps, takes no writes, and leaves the image as it is", async () => {
    await store("b");
    const before = readFileSync(folder.file("a"));
    const node = await add({ active: false });
    expect([node.active, node.bitmaps.count]).toEqual([false, 0]);
    expect(() => node.write(0, SECTOR)).toThrow(READ_ONLY);
    await expect(node.resize(2 << 20)).rejects.toThrow("Image is read-only");
    await remove();
    expect(readFileSync(folder.file("a")).equals(before)).toBe(true);
  });

  it("loads its bitmaps when it becomes active, and knows what was written meanwhile", async () => {
    const node = await add({ active: false });
    const other = new ImageFolder();
    await other.graph.add({ driver: "file", "node-name": "f", filename: folder.file("a") });
    const writer = await other.graph.add({ driver: "qcow2", "node-name": "q", file: "f" });
    writer.bitmaps.add({ name: "b" }).persistent = true;
    for (let at = 0; at < 1 << 20; at += 1 << 16) await writer.write(at, SECTOR);
    await other.graph.delete("q");
    await other.graph.delete("f");
    await other.dispose();
    await folder.graph.setActive("q", true);
    expect([node.active, folder.graph.getNode("f").active]).toEqual([true, true]);
    expect(node.bitmaps.get("b")).toMatchObject({ persistent: true, countBytes: 1 << 20 });
    const bytes = new Uint8Array(512);
    await node.read(15 << 16, IoVector.of(bytes));
    expect(bytes[0]).toBe(7);
    await remove();
  });

  it("is no child of an active one", async () => {
    await folder.graph.add({ driver: "file", "node-name": "f", filename: folder.file("a"), active: false });
    await expect(folder.graph.add({ driver: "qcow2", "node-name": "q", file: "f" })).rejects.toThrow(
      "Inactive 'f' can't be a file child of active 'q'",
    );
    await folder.graph.delete("f");
  });

  it("hands activity down to children given in its options", async () => {
    const node = await folder.open("a", { active: false });
    expect(node.driver.children.map((child) => child.node.active)).toEqual([false]);
    await folder.graph.setActive(node.name, true);
    await node.write(0, SECTOR);
    await folder.close(node);
  });
});

describe("inactivation", () => {
  it("stores and drops persistent bitmaps, but for those that migrate; transient ones stay", async () => {
    const node = await add();
    for (const name of ["stored", "migrating"]) node.bitmaps.add({ name }).persistent = true;
    node.bitmaps.add({ name: "transient" });
    node.bitmaps.get("migrating").skipStore = true;
    await folder.graph.setActive("q", false);
    expect(names(node)).toEqual(["transient", "migrating"]);
    expect(folder.graph.getNode("f").active).toBe(false);
    await folder.graph.setActive("q", true);
    expect(names(node)).toEqual(["stored", "transient", "migrating"]);
    expect(node.bitmaps.get("migrating").skipStore).toBe(false);
    await remove();
    const again = await add();
    expect(names(again).sort()).toEqual(["migrating", "stored"]);
    expect([...again.bitmaps].every(({ inconsistent }) => !inconsistent)).toBe(true);
    await remove();
  });

  it("keeps a migrating bitmap in memory over an entry that is in use", async () => {
    await store("b");
    const node = await add();
    const bitmap = node.bitmaps.get("b");
    bitmap.skipStore = true;
    await folder.graph.inactivateAll();
    await folder.graph.activateAll();
    expect(node.bitmaps.get("b")).toBe(bitmap);
    await node.write(1 << 19, SECTOR);
    await remove();
    expect((await add()).bitmaps.get("b")).toMatchObject({ countBytes: 2 << 16, inconsistent: false });
    await remove();
  });

  it("that the source does not come back from leaves what migrated in use in the image", async () => {
    await store("b");
    const node = await add();
    node.bitmaps.get("b").skipStore = true;
    await folder.graph.inactivateAll();
    await remove();
    expect((await add()).bitmaps.get("b")).toMatchObject({ inconsistent: true, enabled: false });
    await remove();
  });

  it("lets readonly bitmaps go, so that they do not clash when they are loaded again", async () => {
    await store("b");
    const node = await add({ "read-only": true });
    await folder.graph.inactivateAll();
    expect(node.bitmaps.count).toBe(0);
    await folder.graph.activateAll();
    expect(node.bitmaps.get("b")).toMatchObject({ readonly: true, persistent: true });
    await remove();
  });

  it("takes writing from a drive until it is active again", async () => {
    const node = await add();
    const permissions = { needs: 3, shares: 15 };
    const drive = new BlockBackend({ name: "", node, permissions });
    await folder.graph.inactivateAll();
    expect(() => drive.write(0, SECTOR)).toThrow(READ_ONLY);
    await folder.graph.activateAll();
    await drive.write(0, SECTOR);
    drive.close();
    await remove();
  });

  it("is refused below an active node, and while a job copies", async () => {
    const node = await add();
    await expect(folder.graph.setActive("f", false)).rejects.toThrow("Node has active parent node");
    const target = await folder.graph.add({ driver: "memory", "node-name": "t", size: 1 << 20 });
    const job = new Interception({ filterName: "#block1", source: node, target, reason: "backup" });
    job.attachTarget();
    job.coverSource();
    job.activate();
    await expect(folder.graph.setActive("q", false)).rejects.toThrow(
      "Failed to inactivate node: Operation not permitted",
    );
    await expect(folder.graph.inactivateAll()).rejects.toThrow(
      "Failed to inactivate all nodes: Operation not permitted",
    );
    expect([node.active, target.active]).toEqual([true, true]);
    job.remove();
    await folder.graph.delete("t");
    await remove();
  });

  it("of what is inactive already is nothing, and of what is not there an error", async () => {
    const node = await add({ active: false });
    await folder.graph.setActive("q", false);
    await folder.graph.inactivateAll();
    expect(node.active).toBe(false);
    await expect(folder.graph.setActive("x", true)).rejects.toThrow("Failed to find node with node-name='x'");
    await remove();
  });
});

describe("activation that fails", () => {
  it("leaves the node inactive, with the reason", async () => {
    await store("b");
    const node = await add({ active: false });
    node.bitmaps.add({ name: "b" });
    await expect(folder.graph.setActive("q", true)).rejects.toThrow(
      "Could not reopen qcow2 layer: Bitmap already exists: b",
    );
    expect(node.active).toBe(false);
    node.bitmaps.remove("b");
    await folder.graph.setActive("q", true);
    expect(names(node)).toEqual(["b"]);
    await remove();
  });
});

describeWithTools(["qemu-img", "qemu-io"], "an inactive node beside QEMU's tools", () => {
  it("lets qemu-io have the image, and finds what that wrote and recorded", async () => {
    await store("b");
    const node = await add();
    await folder.graph.inactivateAll();
    expect(shownBitmaps(folder, "a")).toEqual([{ name: "b", granularity: 65536, flags: ["auto"] }]);
    folder.run("qemu-io", "-f", "qcow2", "-c", "write -P 9 512k 1k", "a");
    await folder.graph.activateAll();
    expect(node.bitmaps.get("b").countBytes).toBe(2 << 16);
    const bytes = new Uint8Array(512);
    await node.read(512 << 10, IoVector.of(bytes));
    expect(bytes[0]).toBe(9);
    await remove();
    expect(folder.check("a")).toBe("No errors were found on the image.");
  });
});

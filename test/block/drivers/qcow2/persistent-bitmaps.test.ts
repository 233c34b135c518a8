// Bitmaps that are kept in qcow2 images, by this program and by QEMU's tools. docs/reference/persistence-migration.md §2, §3.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { dirtyExtents, hashesByQemu, hashesOf, shownBitmaps } from "./bitmap-tools.ts";
import { ImageFolder } from "./qcow2-images.ts";

let folder: ImageFolder;
beforeEach(() => {
  folder = new ImageFolder();
});
afterEach(() => folder.dispose());

const KIB = 1024;
const MIB = 1024 * KIB;
const CLEAN = "No errors were found on the image.";

function persist(node: BlockNode, name: string, granularityBytes = 64 * KIB): void {
  node.bitmaps.add({ name, granularityBytes }).persistent = true;
}

async function write(node: BlockNode, offset: number, length: number): Promise<void> {
  await node.write(offset, IoVector.of(new Uint8Array(length).fill(0x5a)));
}

function states(node: BlockNode): object[] {
  return Array.from(node.bitmaps, ({ name, enabled, persistent, readonly, inconsistent, countBytes }) => ({
    name,
    enabled,
    persistent,
    readonly,
    inconsistent,
    countBytes,
  }));
}

const PLAIN = { enabled: true, persistent: true, readonly: false, inconsistent: false };

describe("persistent bitmaps", () => {
  it("are there again after the image was closed, newest last", async () => {
    await folder.create("a", { size: 4 * MIB });
    let node = await folder.open("a");
    persist(node, "one");
    persist(node, "two", 512);
    node.bitmaps.add({ name: "transient" });
    node.bitmaps.disable("two");
    await write(node, 0, 512);
    await folder.close(node);
    node = await folder.open("a");
    expect(states(node)).toEqual([
      { ...PLAIN, name: "one", countBytes: 64 * KIB },
      { ...PLAIN, name: "two", enabled: false, countBytes: 0 },
    ]);
    await write(node, 1 * MIB, 512);
    await folder.close(node);
    node = await folder.open("a");
    expect(node.bitmaps.get("one").countBytes).toBe(128 * KIB);
  });

  it("of a read-only image are readonly, and the image stays as it is", async () => {
    await folder.create("a", { size: 4 * MIB });
    let node = await folder.open("a");
    persist(node, "one");
    await folder.close(node);
    node = await folder.open("a", { "read-only": true });
    expect(states(node)).toEqual([{ ...PLAIN, name: "one", readonly: true, countBytes: 0 }]);
    await folder.close(node);
    node = await folder.open("a");
    expect(states(node)).toEqual([{ ...PLAIN, name: "one", countBytes: 0 }]);
  });
});

describeWithTools(["qemu-img", "qemu-io", "qemu-storage-daemon"], "persistent bitmaps beside QEMU", () => {
  it("are found by QEMU's tools as they were stored, in an image without errors", async () => {
    await folder.create("a", { size: 64 * MIB });
    let node = await folder.open("a");
    persist(node, "one");
    persist(node, "two", 512);
    await write(node, 3 * MIB, 200 * KIB);
    node.bitmaps.disable("two");
    await write(node, 60 * MIB, 512);
    const hashes = await hashesOf(node);
    await folder.close(node);
    expect(shownBitmaps(folder, "a")).toEqual([
      { name: "two", granularity: 512, flags: [] },
      { name: "one", granularity: 64 * KIB, flags: ["auto"] },
    ]);
    expect(folder.check("a")).toBe(CLEAN);
    expect(hashesByQemu(folder, "a")).toEqual(hashes);
    node = await folder.open("a");
    expect(folder.run("qemu-img", "info", "-U", "--output=json", "a")).toContain("in-use");
    await folder.close(node);
    expect(folder.check("a")).toBe(CLEAN);
  });

  it("are stored alternately by this program and by qemu-io, with equal bits", async () => {
    folder.run("qemu-img", "create", "-f", "qcow2", "a", "32M");
    folder.run("qemu-img", "bitmap", "--add", "-g", "512", "a", "fine");
    folder.run("qemu-img", "bitmap", "--add", "a", "coarse");
    folder.run("qemu-img", "bitmap", "--add", "--disable", "a", "off");
    for (let round = 0; round < 4; round++) {
      folder.run("qemu-io", "-c", `write -P 1 ${round * 3}M 70k`, "a");
      const before = hashesByQemu(folder, "a");
      const node = await folder.open("a");
      expect(await hashesOf(node)).toEqual(before);
      await write(node, (round * 3 + 1) * MIB + 512, 512);
      const hashes = await hashesOf(node);
      await folder.close(node);
      expect(folder.check("a")).toBe(CLEAN);
      expect(hashesByQemu(folder, "a")).toEqual(hashes);
    }
    expect(shownBitmaps(folder, "a").map(({ name, flags }) => [name, flags])).toEqual([
      ["fine", ["auto"]],
      ["coarse", ["auto"]],
      ["off", []],
    ]);
  });
});

describeWithTools(["qemu-img", "qemu-nbd", "nbdinfo"], "persistent bitmaps beside qemu-nbd", () => {
  it("have the dirty extents that a client sees", async () => {
    await folder.create("a", { size: 16 * MIB, "cluster-size": 4096 });
    const node = await folder.open("a");
    persist(node, "b", 4096);
    await write(node, 0, 512);
    await write(node, 5 * MIB - 1024, 4096);
    await folder.close(node);
    expect(dirtyExtents(folder, "a", "b")).toEqual([
      [0, 4096],
      [5 * MIB - 4096, 8192],
    ]);
  });
});

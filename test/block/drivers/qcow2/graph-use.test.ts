// qcow2 nodes in the graph: reopened, made by commands that take file names, and told what is above and below them.
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import type { BlockdevOptions } from "../../../../src/block/graph-options.ts";
import { createImageFile, openImageFile } from "../../../../src/block/image-file.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { CLEAN, ImageFolder } from "./qcow2-images.ts";

const sector = (byte: number): IoVector => IoVector.of(new Uint8Array(512).fill(byte));

describeWithTools(["qemu-img"], "qcow2 nodes", () => {
  let folder: ImageFolder;

  beforeEach(() => {
    folder = new ImageFolder();
  });

  afterEach(() => folder.dispose());

  const fileOptions = (name: string): BlockdevOptions => ({ driver: "file", filename: folder.file(name) });

  async function firstByte(node: { read(at: number, vector: IoVector): void | Promise<void> }): Promise<number> {
    const bytes = new Uint8Array(512);
    await node.read(0, IoVector.of(bytes));
    return bytes[0]!;
  }

  it("stand on another node after blockdev-reopen, and keep what was written and not flushed", async () => {
    const { graph } = folder;
    await folder.create("top.qcow2", { size: 1 << 20 });
    for (const [name, byte] of [
      ["one", 1],
      ["two", 2],
    ] as const) {
      const base = await graph.add({ driver: "memory", "node-name": name, size: 1 << 20 });
      await base.write(0, sector(byte));
    }
    const options = { driver: "qcow2", "node-name": "top", file: fileOptions("top.qcow2") } as const;
    const top = await graph.add({ ...options, backing: "one" });
    expect(await firstByte(top)).toBe(1);
    await top.write(65536, sector(7));
    await graph.reopen([{ ...options, backing: "two" }]);
    expect(await firstByte(top)).toBe(2);
    const own = new Uint8Array(512);
    await top.read(65536, IoVector.of(own));
    expect(own[0]).toBe(7);
    await top.write(131072, sector(8));
    await graph.delete("top");
    await graph.delete("one");
    await graph.delete("two");
    expect(folder.check("top.qcow2")).toBe(CLEAN);
  });

  it("become read-only and writable by blockdev-reopen", async () => {
    const { graph } = folder;
    await folder.create("disk.qcow2", { size: 1 << 20, "lazy-refcounts": true });
    const options = { driver: "qcow2", "node-name": "disk", file: fileOptions("disk.qcow2") } as const;
    const disk = await graph.add(options);
    await disk.write(0, sector(1));
    await disk.flush();
    await graph.reopen([{ ...options, "read-only": true }]);
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
    expect(readFileSync(folder.file("disk.qcow2"))[79]! & 1).toBe(0);
    const writing = async (): Promise<void> => disk.write(0, sector(2));
    await expect(writing()).rejects.toThrow("Block node is read-only");
    await graph.reopen([options]);
    await disk.write(0, sector(3));
    await graph.delete("disk");
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
  });

  it("stand on nothing after blockdev-reopen with null, and on a node again", async () => {
    const { graph } = folder;
    await folder.create("top.qcow2", { size: 1 << 20 });
    const base = await graph.add({ driver: "memory", "node-name": "base", size: 1 << 20 });
    await base.write(0, sector(1));
    const options = { driver: "qcow2", "node-name": "top", file: fileOptions("top.qcow2") } as const;
    const top = await graph.add({ ...options, backing: "base" });
    await graph.reopen([{ ...options, backing: null }]);
    expect(await firstByte(top)).toBe(0);
    expect(base.parentCount).toBe(0);
    await graph.reopen([{ ...options, backing: "base" }]);
    expect(await firstByte(top)).toBe(1);
    await graph.delete("top");
    await graph.delete("base");
    expect(folder.check("top.qcow2")).toBe(CLEAN);
  });

  it("are reopened only if what they stand on is told", async () => {
    const { graph } = folder;
    await graph.create({ driver: "file", filename: folder.file("base.raw"), size: 1 << 20 });
    await folder.create("disk.qcow2", { size: 1 << 20, "backing-file": "base.raw", "backing-fmt": "raw" });
    const options = { driver: "qcow2", "node-name": "disk", file: fileOptions("disk.qcow2") } as const;
    const disk = await graph.add(options);
    await expect(graph.reopen([{ ...options, "read-only": true }])).rejects.toThrow("backing is missing for 'disk'");
    const backing = disk.driver.children.find(({ role }) => role === "backing")!.node.name;
    await graph.reopen([{ ...options, backing, "read-only": true }]);
    expect(disk.readOnly).toBe(true);
    await graph.reopen([{ ...options, backing }]);
    await disk.write(0, sector(9));
    await graph.delete("disk");
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
  });

  it("are made with a backing file, found out and opened by their file names", async () => {
    await folder.create("base.qcow2", { size: 1 << 20 });
    const base = await folder.open("base.qcow2");
    await base.write(0, sector(5));
    await folder.close(base);
    const backing = { filename: folder.file("base.qcow2"), format: "qcow2" };
    await createImageFile(folder.graph, "qcow2", { filename: folder.file("new.qcow2"), lengthBytes: 1 << 20, backing });
    const node = await openImageFile(folder.graph, { filename: folder.file("new.qcow2") });
    expect(node.driver.driverName).toBe("qcow2");
    expect(await firstByte(node)).toBe(5);
    await folder.graph.release(node);
    expect(folder.check("new.qcow2")).toBe(CLEAN);
  });

  it.each([
    [{ "cluster-size": 1000 }, "Cluster size must be a power of two between 512 and 2048k"],
    [{ size: 1000 }, "Image size must be a multiple of 512 bytes"],
    [{ "refcount-bits": 24 }, "Refcount width must be a power of two and may not exceed 64 bits"],
    [{ version: "v2", "lazy-refcounts": true }, "Lazy refcounts only supported with compatibility level 1.1 and above"],
    [{ "backing-fmt": "raw" }, "Backing format cannot be used without backing file"],
    [
      { "extended-l2": true, "cluster-size": 4096 },
      "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
    ],
    [{ "data-file": "other" }, "External data files are not supported"],
    [{ "data-file-raw": true }, "data-file-raw requires data-file"],
    [{ size: 2 ** 54, "cluster-size": 2 ** 21 }, "Could not resize image: Failed to grow the L1 table: File too large"],
  ])("are not made of options that contradict one another: %o", async (options, text) => {
    await expect(folder.create("disk.qcow2", { size: 1 << 20, ...options })).rejects.toThrow(text);
  });
});

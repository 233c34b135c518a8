// Images that somebody made to be opened: each is refused with a text, or its damage is found before it does any.
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../../src/base/clock.ts";
import { IoVector } from "../../../../src/base/io-vector.ts";
import type { ImageDamage } from "../../../../src/block/image-damage.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { reportImageDamage } from "../../../../src/qmp/commands/image-corrupted.ts";
import { EventQueue, systemWallClock } from "../../../../src/qmp/events.ts";
import { ImageFolder } from "./qcow2-images.ts";

const MAX_64 = 0xffff_ffff_ffff_ffffn;

describe("qcow2 images made to be hostile", () => {
  let folder: ImageFolder;

  beforeEach(async () => {
    folder = new ImageFolder();
    await folder.create("disk.qcow2", { size: 1 << 20 });
  });

  afterEach(() => folder.dispose());

  function poke(offset: number, value: bigint, bytes: 4 | 8, name = "disk.qcow2"): void {
    const data = Buffer.alloc(bytes);
    if (bytes === 4) data.writeUInt32BE(Number(value));
    else data.writeBigUInt64BE(value);
    const fd = openSync(folder.file(name), "r+");
    writeSync(fd, data, 0, bytes, offset);
    closeSync(fd);
  }

  it.each<[string, number, bigint, 4 | 8, string]>([
    ["another magic", 0, 1n, 4, "Image is not in qcow2 format"],
    ["another version", 4, 4n, 4, "Unsupported qcow2 version 4"],
    ["clusters of 2^32", 20, 32n, 4, "Unsupported cluster size: 2^32"],
    ["a short header", 100, 96n, 4, "qcow2 header too short"],
    ["a long header", 100, 0x1000_0000n, 4, "qcow2 header exceeds cluster size"],
    ["a backing file name behind 2^63", 8, MAX_64, 8, "Invalid backing file offset"],
    ["encryption", 32, 3n, 4, "Unsupported encryption method 3"],
    ["counts of 2^7 bits", 96, 7n, 4, "Reference count entry width too large; may not exceed 64 bits"],
    ["an unknown feature", 72, 1n << 40n, 8, "Unsupported qcow2 feature(s): Unknown incompatible feature: 10000000000"],
    ["the corrupt bit", 72, 2n, 8, "qcow2: Image is corrupt; cannot be opened read/write"],
    ["an external data file", 72, 4n, 8, "Images with an external data file are not supported"],
    ["no refcount table", 56, 0n, 4, "Image does not contain a reference count table"],
    ["a huge refcount table", 56, 0xffff_ffffn, 4, "Reference count table too large"],
    ["a refcount table behind 2^63", 48, MAX_64 - 65535n, 8, "Reference count table offset invalid"],
    ["an unaligned refcount table", 48, 65537n, 8, "Reference count table offset invalid"],
    ["a huge L1 table", 36, 0xffff_ffffn, 4, "Active L1 table too large"],
    ["an L1 table behind 2^63", 40, 1n << 63n, 8, "Active L1 table offset invalid"],
    ["an L1 table that is too small", 36, 0n, 4, "L1 table is too small"],
    ["a huge disk", 24, 1n << 62n, 8, "Image is too big"],
    ["many snapshots", 60, 0xffff_ffffn, 4, "Snapshot table too large"],
    ["snapshots behind the end of the file", 60, 1n, 4, "Snapshot table offset invalid"],
  ])("%s: are refused", async (_what, offset, value, bytes, text) => {
    poke(offset, value, bytes);
    await expect(folder.open("disk.qcow2")).rejects.toThrow(text);
  });

  it("features that the image names are refused by their names", async () => {
    const bytes = readFileSync(folder.file("disk.qcow2"));
    const table = bytes.indexOf(Buffer.from("dirty bit"));
    bytes[table - 1] = 41;
    bytes.write("time travel\0", table, "latin1");
    writeFileSync(folder.file("disk.qcow2"), bytes);
    poke(72, 1n << 41n, 8);
    await expect(folder.open("disk.qcow2")).rejects.toThrow("Unsupported qcow2 feature(s): time travel");
  });

  it("forget autoclear features that are not known when they are first opened for writing, and not before", async () => {
    poke(88, 0x8000n, 8);
    await folder.close(await folder.open("disk.qcow2", { "read-only": true }));
    expect(readFileSync(folder.file("disk.qcow2")).readBigUInt64BE(88)).toBe(0x8000n);
    await folder.close(await folder.open("disk.qcow2"));
    expect(readFileSync(folder.file("disk.qcow2")).readBigUInt64BE(88)).toBe(0n);
  });

  it.each<[string, bigint]>([
    ["the refcount table", 0x8000_0000_0001_0000n],
    ["the refcount block", 0x8000_0000_0002_0000n],
    ["the L1 table", 0x8000_0000_0003_0000n],
    ["the L2 table", 0x8000_0000_0004_0000n],
  ])("data that are said to be where %s is are not written to, and the image is marked", async (_what, entry) => {
    const node = await folder.open("disk.qcow2");
    await node.write(0, IoVector.of(new Uint8Array(512)));
    await folder.close(node);
    poke(0x40000, entry, 8);
    const before = readFileSync(folder.file("disk.qcow2")).subarray(0x10000, 0x50000);
    const again = await folder.open("disk.qcow2");
    const writing = async (): Promise<void> => again.write(0, IoVector.of(new Uint8Array(512).fill(1)));
    await expect(writing()).rejects.toThrow("Preventing invalid write on metadata");
    const reading = async (): Promise<void> => again.read(4096, IoVector.of(new Uint8Array(512)));
    await expect(reading()).rejects.toThrow("Input/output error");
    await folder.close(again);
    expect(readFileSync(folder.file("disk.qcow2")).readBigUInt64BE(72) & 2n).toBe(2n);
    expect(readFileSync(folder.file("disk.qcow2")).subarray(0x10000, 0x50000).equals(before)).toBe(true);
  });

  it.each<[string, bigint, string]>([
    ["a zero cluster where the L1 table is", 0x8000_0000_0003_0001n, "overlaps with active L1 table"],
    ["an unaligned zero cluster", 0x8000_0000_0005_0201n, "Cluster allocation offset 0x50200 unaligned"],
    ["an unaligned cluster", 0x8000_0000_0005_0200n, "Cluster allocation offset 0x50200 unaligned"],
    ["an unaligned cluster of others", 0x5_0200n, "Cluster allocation offset 0x50200 unaligned"],
  ])("%s is not written to, in part or whole, nor given up", async (_what, entry, text) => {
    const change: ((node: BlockNode) => void | Promise<void>)[] = [
      (node) => node.write(0, IoVector.of(new Uint8Array(65536).fill(1))),
      (node) => node.write(512, IoVector.of(new Uint8Array(512).fill(1))),
      (node) => node.write(0, IoVector.of(new Uint8Array(65536).fill(1)), { compressed: true }),
    ];
    for (const [i, doIt] of change.entries()) {
      // A compressed cluster goes elsewhere, and what is aligned is given up then.
      if (i === 2 && text.startsWith("overlaps")) continue;
      await folder.create(`${i}.qcow2`, { size: 1 << 20 });
      const node = await folder.open(`${i}.qcow2`);
      await node.write(0, IoVector.of(new Uint8Array(131072).fill(7)));
      await folder.close(node);
      poke(0x40000, entry, 8, `${i}.qcow2`);
      const before = readFileSync(folder.file(`${i}.qcow2`)).subarray(0x30000, 0x70000);
      const again = await folder.open(`${i}.qcow2`);
      const changing = async (): Promise<void> => doIt(again);
      await expect(changing()).rejects.toThrow(text);
      // Counts of the clusters that were meant for it are not written any more, and closing says so.
      await Promise.allSettled([folder.close(again)]);
      expect(
        readFileSync(folder.file(`${i}.qcow2`))
          .subarray(0x30000, 0x70000)
          .equals(before),
      ).toBe(true);
    }
  });

  it("damage is told once, with what a request was about to change, in QEMU's words", async () => {
    const queue = new EventQueue({ clock: systemClock, wallClock: systemWallClock });
    const events: unknown[] = [];
    queue.listen(({ event, data }) => events.push({ event, data }));
    const end = reportImageDamage(folder.graph, queue);
    const node = await folder.open("disk.qcow2");
    await node.write(0, IoVector.of(new Uint8Array(512)));
    await folder.close(node);
    poke(0x40000, 0x8000_0000_0003_0000n, 8);
    const again = await folder.open("disk.qcow2", { "node-name": "n" });
    const writing = async (): Promise<void> => again.write(0, IoVector.of(new Uint8Array(512).fill(1)));
    await expect(writing()).rejects.toThrow("overlaps with active L1 table");
    await expect(writing()).rejects.toThrow("Input/output error");
    await folder.close(again);
    expect(events).toEqual([
      {
        event: "BLOCK_IMAGE_CORRUPTED",
        data: {
          device: "",
          "node-name": "n",
          msg: "Preventing invalid write on metadata (overlaps with active L1 table)",
          offset: 0x30000,
          size: 512,
          fatal: true,
        },
      },
    ]);
    end();
  });

  it("damage of an image that is only read is told once, is not fatal, and leaves the rest to be read", async () => {
    const node = await folder.open("disk.qcow2");
    await node.write(0, IoVector.of(new Uint8Array(131072).fill(5)));
    await folder.close(node);
    poke(0x40000, 0x8000_0000_0005_0200n, 8);
    const told: ImageDamage[] = [];
    folder.graph.onImageDamage((_node, damage) => told.push(damage));
    const again = await folder.open("disk.qcow2", { "read-only": true });
    const read = async (at: number): Promise<number> => {
      const bytes = new Uint8Array(512);
      await again.read(at, IoVector.of(bytes));
      return bytes[0]!;
    };
    await expect(read(0)).rejects.toThrow("unaligned");
    await expect(read(0)).rejects.toThrow("unaligned");
    expect(await read(65536)).toBe(5);
    const reason = "Cluster allocation offset 0x50200 unaligned (L2 offset: 0x40000, L2 index: 0)";
    expect(told).toEqual([{ reason, fatal: false, range: undefined }]);
    await folder.close(again);
    expect(readFileSync(folder.file("disk.qcow2")).readBigUInt64BE(72) & 2n).toBe(0n);
  });

  it("tables that are counted as free are not given out again", async () => {
    poke(0x20000, 0n, 8); // header, tables and blocks: all of them free
    const node = await folder.open("disk.qcow2");
    const writing = async (): Promise<void> => node.write(0, IoVector.of(new Uint8Array(512)));
    await expect(writing()).rejects.toThrow("Preventing invalid write on metadata (overlaps with");
  });

  it("unaligned and far away L2 tables fail requests, not the program", async () => {
    poke(0x30000, 0x8000_0000_0005_0200n, 8);
    const node = await folder.open("disk.qcow2", { "read-only": true });
    const reading = async (): Promise<void> => node.read(0, IoVector.of(new Uint8Array(512)));
    await expect(reading()).rejects.toThrow("unaligned");
    await folder.close(node);
    poke(0x30000, 0x80ff_ffff_ffff_0000n, 8);
    const far = await folder.open("disk.qcow2", { "read-only": true });
    const bytes = new Uint8Array(512).fill(1);
    await far.read(0, IoVector.of(bytes)); // behind the end of the file is nothing but zeroes
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  it("images that stand on themselves, by whatever way, are refused", async () => {
    await folder.create("a.qcow2", { size: 1 << 20, "backing-file": "b.qcow2", "backing-fmt": "qcow2" });
    await folder.create("b.qcow2", { size: 1 << 20, "backing-file": "./a.qcow2", "backing-fmt": "qcow2" });
    await expect(folder.open("a.qcow2", { "read-only": true })).rejects.toThrow("creates an infinite loop");
  });

  it("a compressed cluster that is none fails the read", async () => {
    const node = await folder.open("disk.qcow2");
    await node.write(0, IoVector.of(new Uint8Array(65536).fill(3)), { compressed: true });
    await folder.close(node);
    const entry = readFileSync(folder.file("disk.qcow2")).readBigUInt64BE(0x50000);
    expect(entry >> 62n).toBe(1n);
    poke(Number(entry & 0xffff_ffffn), MAX_64, 8);
    const again = await folder.open("disk.qcow2");
    const reading = async (): Promise<void> => again.read(0, IoVector.of(new Uint8Array(512)));
    await expect(reading()).rejects.toThrow("Compressed cluster is damaged");
  });

  it("a second writer of the image is refused", async () => {
    await folder.open("disk.qcow2");
    await expect(folder.open("disk.qcow2")).rejects.toThrow('"write" lock');
  });
});

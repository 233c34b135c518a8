// Images that qemu-img makes and qemu-io writes, with every option, read and changed by this program.
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { CLEAN, ImageFolder } from "./qcow2-images.ts";

const SIZE = 3 << 20;

const OPTIONS: readonly string[] = [
  "compat=0.10",
  "compat=1.1",
  "cluster_size=512",
  "cluster_size=4096,refcount_bits=1",
  "cluster_size=2M",
  "refcount_bits=2",
  "refcount_bits=8",
  "refcount_bits=32",
  "refcount_bits=64,cluster_size=1024",
  "lazy_refcounts=on",
  "preallocation=metadata",
  "preallocation=falloc",
  "preallocation=full",
  "extended_l2=on",
  "extended_l2=on,cluster_size=16384,preallocation=metadata",
  "extended_l2=on,cluster_size=2M",
];

async function readAll(node: BlockNode): Promise<Buffer> {
  const bytes = Buffer.alloc(node.lengthBytes);
  await node.read(0, IoVector.of(bytes));
  return bytes;
}

describeWithTools(["qemu-img", "qemu-io"], "qcow2 images of other programs", () => {
  let folder: ImageFolder;

  beforeEach(() => {
    folder = new ImageFolder();
  });

  afterEach(() => folder.dispose());

  const rawOf = (name: string, ...more: string[]): Buffer => {
    folder.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", ...more, name, "seen.raw");
    return readFileSync(folder.file("seen.raw"));
  };

  /** Data, zeroes and holes of all kinds, and then this program's own among them. */
  async function changeAndCompare(name: string): Promise<void> {
    const node = await folder.open(name);
    expect((await readAll(node)).equals(rawOf(name, "-U"))).toBe(true);
    const bytes = await readAll(node);
    for (const [at, length, byte] of [
      [512, 1024, 1],
      [60_000 - (60_000 % 512), 70_144, 2],
      [SIZE - 4096, 4096, 3],
      [1 << 20, 700 << 10, 4],
    ] as const) {
      bytes.fill(byte, at, at + length);
      await node.write(at, IoVector.of(new Uint8Array(length).fill(byte)));
    }
    await node.writeZeroes(1_200_128, 300_032);
    bytes.fill(0, 1_200_128, 1_500_160);
    expect((await readAll(node)).equals(bytes)).toBe(true);
    await folder.close(node);
    expect(folder.check(name)).toBe(CLEAN);
    expect(rawOf(name).equals(bytes)).toBe(true);
  }

  it.each(OPTIONS)("%s: are read and changed as they are", async (options) => {
    folder.run("qemu-img", "create", "-f", "qcow2", "-o", options, "disk.qcow2", String(SIZE));
    const commands = [
      "write -P 17 0 5k",
      "write -P 18 300k 400k",
      "write -z 310k 64k",
      "write -P 19 2M 512",
      "write -zu 330k 20k",
    ];
    folder.run("qemu-io", "-f", "qcow2", ...commands.flatMap((command) => ["-c", command]), "disk.qcow2");
    await changeAndCompare("disk.qcow2");
  });

  it.each(["zlib", "zstd"])("read what %s compressed, and write over it", async (type) => {
    const data = Buffer.from(Uint8Array.from({ length: SIZE }, (_, i) => ((i * 7) >> 8) ^ (i % 13)));
    writeFileSync(folder.file("data.raw"), data);
    folder.run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", `compression_type=${type}`, "data.raw", "disk.qcow2");
    await changeAndCompare("disk.qcow2");
  });

  it("are written compressed so that qemu-img reads them, several to a cluster", async () => {
    await folder.create("disk.qcow2", { size: SIZE });
    const node = await folder.open("disk.qcow2");
    const data = Buffer.from(Uint8Array.from({ length: SIZE }, (_, i) => (i >> 9) % 7));
    await node.write(0, IoVector.of(data), { compressed: true });
    expect((await readAll(node)).equals(data)).toBe(true);
    await folder.close(node);
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
    expect(rawOf("disk.qcow2").equals(data)).toBe(true);
    expect(readFileSync(folder.file("disk.qcow2")).length).toBeLessThan(SIZE / 4);
  });

  it("whose compressed clusters are zstd get plain ones instead of deflated ones", async () => {
    folder.run("qemu-img", "create", "-f", "qcow2", "-o", "compression_type=zstd", "disk.qcow2", String(SIZE));
    const node = await folder.open("disk.qcow2");
    const data = Buffer.from(Uint8Array.from({ length: SIZE }, (_, i) => (i >> 9) % 7));
    await node.write(0, IoVector.of(data), { compressed: true });
    expect((await readAll(node)).equals(data)).toBe(true);
    await folder.close(node);
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
    expect(rawOf("disk.qcow2").equals(data)).toBe(true);
    expect(folder.run("qemu-img", "check", "disk.qcow2")).toContain("0.00% compressed clusters");
  });

  it("keep their internal snapshots as they were", async () => {
    folder.run("qemu-img", "create", "-f", "qcow2", "disk.qcow2", String(SIZE));
    folder.run("qemu-io", "-f", "qcow2", "-c", `write -P 5 0 ${SIZE}`, "disk.qcow2");
    folder.run("qemu-img", "snapshot", "-c", "first", "disk.qcow2");
    folder.run("qemu-io", "-f", "qcow2", "-c", "write -P 6 64k 128k", "disk.qcow2");
    folder.run("qemu-img", "snapshot", "-c", "second", "disk.qcow2");
    const first = rawOf("disk.qcow2", "-l", "first");
    const second = rawOf("disk.qcow2", "-l", "second");
    await changeAndCompare("disk.qcow2");
    const node = await folder.open("disk.qcow2");
    await node.discard(0, 1 << 20);
    await node.resize(2 << 20);
    await folder.close(node);
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
    // qemu-img reads as much of a snapshot as the disk is long now.
    expect(rawOf("disk.qcow2", "-l", "first").equals(first.subarray(0, 2 << 20))).toBe(true);
    expect(rawOf("disk.qcow2", "-l", "second").equals(second.subarray(0, 2 << 20))).toBe(true);
  });

  it("stand on one another, by names beside them, in chains with and without formats", async () => {
    folder.run("qemu-img", "create", "-f", "qcow2", "base.qcow2", String(SIZE));
    folder.run("qemu-io", "-f", "qcow2", "-c", "write -P 9 0 2M", "base.qcow2");
    folder.run("qemu-img", "create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "middle.qcow2");
    folder.run("qemu-io", "-f", "qcow2", "-c", "write -P 10 64k 64k", "middle.qcow2");
    await folder.create("top.qcow2", { size: 4 << 20, "backing-file": "middle.qcow2" });
    await changeAndCompare("top.qcow2");
    const node = await folder.open("top.qcow2", { backing: null, "read-only": true });
    const own = Buffer.alloc(65536);
    await node.read(65536 * 3, IoVector.of(own));
    expect(own.equals(Buffer.alloc(65536))).toBe(true);
    await folder.close(node);
  });

  it("that a crash left dirty have their counts put right when they are opened for writing", async () => {
    folder.run("qemu-img", "create", "-f", "qcow2", "-o", "lazy_refcounts=on", "disk.qcow2", String(SIZE));
    const crash = `qemu-io -f qcow2 -c "write -P 7 0 1M" -c flush -c "sigraise 9" disk.qcow2 || true`;
    folder.run("sh", "-c", crash);
    expect(readFileSync(folder.file("disk.qcow2"))[79]! & 1).toBe(1);
    const node = await folder.open("disk.qcow2");
    await folder.close(node);
    expect(readFileSync(folder.file("disk.qcow2"))[79]! & 1).toBe(0);
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
    expect(
      rawOf("disk.qcow2")
        .subarray(0, 1 << 20)
        .equals(Buffer.alloc(1 << 20, 7)),
    ).toBe(true);
  });

  it("count more clusters than their first refcount block and table can", async () => {
    const options = "cluster_size=512,refcount_bits=64";
    folder.run("qemu-img", "create", "-f", "qcow2", "-o", options, "disk.qcow2", "8M");
    const node = await folder.open("disk.qcow2");
    const data = Buffer.alloc(5 << 20, 0x42);
    for (let at = 0; at < data.length; at += 1 << 20)
      await node.write(at, IoVector.of(data.subarray(at, at + (1 << 20))));
    await folder.close(node);
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
    expect(rawOf("disk.qcow2").subarray(0, data.length).equals(data)).toBe(true);
  });
});

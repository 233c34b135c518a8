// `vblk check` beside `qemu-img check`, on images that are whole, leak or are broken: exit statuses and JSON alike.
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { checkFile } from "../../cli/check.ts";
import { checkJson, checkStatus } from "../../cli/check-report.ts";
import { ImageFolder } from "../block/drivers/qcow2/qcow2-images.ts";
import { runCli } from "../support/cli.ts";
import { describeWithTools } from "../support/tools.ts";

const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;
/** Where qemu-img puts things into a new image, and qemu-io the first that it writes. */
const REFCOUNT_TABLE = 0x10000;
const REFCOUNT_BLOCK = 0x20000;
const L1 = 0x30000;
const L2 = 0x40000;

describeWithTools(["qemu-img", "qemu-io"], "vblk check", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "vblk-check-"));
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const run = (tool: string, ...args: string[]): string => execFileSync(tool, args, { cwd: folder, encoding: "utf8" });

  function make(options: string, ...commands: string[]): void {
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "disk.qcow2", "4M");
    run("qemu-io", "-f", "qcow2", ...commands.flatMap((command) => ["-c", command]), "disk.qcow2");
  }

  function poke(offset: number, value: bigint): void {
    const data = Buffer.alloc(8);
    data.writeBigUInt64BE(value);
    const fd = openSync(join(folder, "disk.qcow2"), "r+");
    writeSync(fd, data, 0, 8, offset);
    closeSync(fd);
  }

  /** Both agree; the exit status that they agree on. */
  async function compare(): Promise<number> {
    const theirs = spawnSync("qemu-img", ["check", "--output=json", "disk.qcow2"], { cwd: folder, encoding: "utf8" });
    const before = readFileSync(join(folder, "disk.qcow2"));
    const ours = await checkFile(join(folder, "disk.qcow2"), false);
    expect(checkJson("disk.qcow2", ours)).toEqual(JSON.parse(theirs.stdout));
    expect(checkStatus(ours)).toBe(theirs.status);
    expect(readFileSync(join(folder, "disk.qcow2")).equals(before)).toBe(true);
    return checkStatus(ours);
  }

  it.each([
    ["data in pieces", "cluster_size=4096", ["write 1M 64k", "write 0 20k", "write -z 8k 8k", "write 2M 4k"]],
    ["extended L2 entries", "extended_l2=on", ["write 2k 70k", "write -z 8k 4k"]],
    [
      "compressed clusters",
      "cluster_size=65536",
      ["write -c 0 64k", "write 64k 64k", "write -c 128k 128k", "write 1M 64k"],
    ],
    ["metadata for all", "preallocation=metadata", ["write 64k 64k"]],
  ])("finds nothing in an image with %s", async (_what, options, commands) => {
    make(options, ...commands);
    expect(await compare()).toBe(0);
  });

  it("finds nothing in an image with snapshots that share its clusters", async () => {
    make("cluster_size=65536", "write 0 1M");
    run("qemu-img", "snapshot", "-c", "first", "disk.qcow2");
    run("qemu-io", "-f", "qcow2", "-c", "write 64k 128k", "disk.qcow2");
    run("qemu-img", "bitmap", "--add", "disk.qcow2", "b");
    expect(await compare()).toBe(0);
  });

  it.each<[string, number, readonly (readonly [offset: number, value: bigint])[]]>([
    ["a cluster that nothing points to", 3, [[L2, 0n]]],
    ["an L2 table that nothing points to", 3, [[L1, 0n]]],
    ["a data cluster without its COPIED flag", 2, [[L2, 0x50000n]]],
    ["an L2 table without its COPIED flag", 2, [[L1, 0x40000n]]],
    ["a cluster used twice", 2, [[L2 + 8, COPIED | 0x50000n]]],
    [
      "a cluster used twice, with a flag each and a count of two",
      2,
      [
        [L2 + 8, COPIED | 0x50000n],
        [REFCOUNT_BLOCK + 8, 0x0001_0002_0001_0000n],
      ],
    ],
    ["data that are not counted", 2, [[REFCOUNT_BLOCK + 8, 0x0001_0000_0001_0000n]]],
    ["data behind the end of the file", 2, [[L2, COPIED | 0x1000000n]]],
    ["data far behind the end of the file", 2, [[L2, COPIED | 0xff_ffff_ffff_0000n]]],
    ["an L2 table behind the end of the file", 2, [[L1, COPIED | 0x1000000n]]],
    ["no refcount block", 2, [[REFCOUNT_TABLE, 0n]]],
    ["a data cluster whose entry has a bit that means nothing", 2, [[L2, COPIED | 0x50100n]]],
    ["a data cluster whose entry has another such bit", 2, [[L2, COPIED | (1n << 58n) | 0x50000n]]],
    ["an L2 table whose entry has a bit that means nothing", 2, [[L1, COPIED | 0x40001n]]],
    ["an entry for a refcount block with a bit that means nothing", 2, [[REFCOUNT_TABLE + 8, 0x10n]]],
    [
      "a leak beside damage",
      2,
      [
        [L2, 0n],
        [L1, 0x40000n],
      ],
    ],
  ])("finds %s, as qemu-img does, with status %i", async (_what, status, pokes) => {
    make("cluster_size=65536", "write 0 64k", "write 128k 64k");
    for (const [offset, value] of pokes) poke(offset, value);
    expect(await compare()).toBe(status);
  });

  it.each([
    ["version 2", "compat=0.10"],
    ["extended L2 tables", "extended_l2=on"],
  ])("thinks nothing of a zero flag where there is none, as qemu-img does: %s", async (_what, options) => {
    make(options, "write 0 128k");
    poke(L2, COPIED | 0x50001n);
    expect(await compare()).toBe(0);
  });

  it("finds a snapshot without what each has in version 3", async () => {
    make("cluster_size=65536", "write 0 64k");
    run("qemu-img", "snapshot", "-c", "first", "disk.qcow2");
    const image = readFileSync(join(folder, "disk.qcow2"));
    const table = Number(image.readBigUInt64BE(64));
    poke(table + 32, 8n);
    expect(await compare()).toBe(2);
  });

  it.each<[string, (image: Buffer, directory: number, table: number) => void, string]>([
    [
      "whose length is none",
      (image, directory) => image.writeUInt16BE(9999, directory + 18),
      "Broken bitmap directory",
    ],
    [
      "whose table is longer than its disk",
      (image, directory) => image.writeUInt32BE(2, directory + 8),
      "Could not read bitmap 'b' from image: Invalid argument",
    ],
    [
      "whose table is damaged",
      (image, _directory, table) => image.writeBigUInt64BE(0x51n, table),
      "Could not read bitmap_table table from image for bitmap 'b': Invalid argument",
    ],
  ])("says as qemu-img why it cannot check an image with a bitmap %s", async (_what, damage, text) => {
    make("cluster_size=65536", "write 0 64k");
    run("qemu-img", "bitmap", "--add", "disk.qcow2", "b");
    const path = join(folder, "disk.qcow2");
    const image = readFileSync(path);
    const directory = Number(image.readBigUInt64BE(image.indexOf(Buffer.from("2385287500000018", "hex")) + 24));
    damage(image, directory, Number(image.readBigUInt64BE(directory)));
    writeFileSync(path, image);
    const theirs = spawnSync("qemu-img", ["check", path], { encoding: "utf8" });
    expect(theirs.stderr).toBe(`qemu-img: Could not open '${path}': ${text}\n`);
    await expect(checkFile(path, false)).rejects.toThrow(text);
    expect((await runCli(["check", path])).code).toBe(theirs.status);
  });

  it("refuses bitmaps whose tables lie upon one another more often than anybody can count", async () => {
    const images = new ImageFolder();
    try {
      await images.create("disk.qcow2", { size: 1 << 20 });
      const path = images.file("disk.qcow2");
      const clusterBytes = 65536;
      const image = Buffer.concat([readFileSync(path), Buffer.alloc(64 * clusterBytes)]);
      const directory = image.length - 64 * clusterBytes;
      const entries = 60_000;
      for (let i = 0; i < entries; i++) {
        const at = directory + i * 32;
        image.writeBigUInt64BE(BigInt(directory + 40 * clusterBytes), at);
        image.writeUInt32BE(8192, at + 8);
        image.writeUInt32BE(1, at + 12);
        image.writeUInt8(1, at + 16);
        image.writeUInt8(16, at + 17);
        image.writeUInt16BE(5, at + 18);
        image.write(String(10_000 + i), at + 24);
      }
      const extension = image.readUInt32BE(100) + 8 + image.readUInt32BE(image.readUInt32BE(100) + 4);
      image.writeUInt32BE(0x23852875, extension);
      image.writeUInt32BE(24, extension + 4);
      image.writeUInt32BE(entries, extension + 8);
      image.writeBigUInt64BE(BigInt(entries * 32), extension + 16);
      image.writeBigUInt64BE(BigInt(directory), extension + 24);
      image.writeBigUInt64BE(1n, 88);
      writeFileSync(path, image);
      await expect(checkFile(path, false)).rejects.toThrow("Bitmap tables overlap: they are longer than the file");
    } finally {
      await images.dispose();
    }
  });

  it("finds a compressed cluster with a COPIED flag, and tells where it is", async () => {
    make("cluster_size=65536", "write -c 0 64k");
    const entry = readFileSync(join(folder, "disk.qcow2")).readBigUInt64BE(L2);
    expect(entry & COMPRESSED).toBe(COMPRESSED);
    poke(L2, entry | COPIED);
    const { code, stdout } = await runCli(["check", "disk.qcow2"], { cwd: folder });
    expect(stdout).toContain("ERROR compressed cluster at 0x50000 has the COPIED flag\n");
    expect(stdout).toContain("1 errors were found on the image.\n");
    expect(code).toBe(2);
  });

  it("tells leaked clusters in qemu-img's words", async () => {
    make("cluster_size=65536", "write 0 64k", "write 128k 64k");
    poke(L2, 0n);
    const theirs = spawnSync("qemu-img", ["check", "disk.qcow2"], { cwd: folder, encoding: "utf8" });
    const { code, stdout } = await runCli(["check", "disk.qcow2"], { cwd: folder });
    expect(stdout).toBe(theirs.stderr + theirs.stdout);
    expect(code).toBe(3);
    const json = await runCli(["check", "disk.qcow2", "--json"], { cwd: folder });
    expect(JSON.parse(json.stdout)).toMatchObject({ leaks: 1, filename: "disk.qcow2" });
    expect(json.code).toBe(3);
  });

  it.each([
    ["a file that is not there", "none.qcow2", "none.qcow2"],
    ["a file that is no qcow2 image", "disk.raw", "Image is not in qcow2 format"],
  ])("says why it cannot check %s, with status 1", async (_what, name, text) => {
    writeFileSync(join(folder, "disk.raw"), Buffer.alloc(65536));
    const { code, stderr } = await runCli(["check", name], { cwd: folder });
    expect(stderr).toContain(text);
    expect(code).toBe(1);
  });

  it("refuses an image that another has open for writing, unless it is told to share", async () => {
    const images = new ImageFolder();
    try {
      await images.create("disk.qcow2", { size: 1 << 20 });
      await images.open("disk.qcow2");
      await expect(checkFile(images.file("disk.qcow2"), false)).rejects.toThrow('Failed to get shared "write" lock');
      expect(checkStatus(await checkFile(images.file("disk.qcow2"), true))).toBe(0);
    } finally {
      await images.dispose();
    }
  });

  it("shows examples and exit statuses in its help", async () => {
    const { code, stdout } = await runCli(["check", "--help"]);
    expect(stdout).toContain("$ vblk check disk.qcow2");
    expect(stdout).toContain("3 clusters are leaked");
    expect(code).toBe(0);
  });
});

// Raw images that nobody said to be raw: what may not be written to their beginning, beside what a real QEMU refuses.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import { onWarning } from "../../../src/base/warnings.ts";
import { BlockBackend } from "../../../src/block/backend.ts";
import { openImageFile } from "../../../src/block/image-file.ts";
import type { BlockNode } from "../../../src/block/node.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_WRITE } from "../../../src/block/permissions.ts";
import { describeWithTools } from "../../support/tools.ts";
import { ImageFolder } from "./qcow2/qcow2-images.ts";

const text = (value: string): Buffer => Buffer.from(value, "latin1");
const bochs = text(
  `${"Bochs Virtual HD Image".padEnd(32, "\0")}${"Redolog".padEnd(16, "\0")}${"Growing".padEnd(16, "\0")}`,
);

const HEADERS: readonly [what: string, header: Buffer, refused: boolean][] = [
  ["zeroes", text(""), false],
  ["qcow2's", text("QFI\xfb\0\0\0\x03"), true],
  ["a later qcow2's", text("QFI\xfb\0\0\0\x04"), true],
  ["qcow's", text("QFI\xfb\0\0\0\x01"), true],
  ["qcow's without a version", text("QFI\xfb"), false],
  ["QED's", text("QED\0\x01"), true],
  ["VMDK's", text("KDMV\x01"), true],
  ["old VMDK's", text("COWD"), true],
  ["a VMDK descriptor", text("# Disk DescriptorFile\nversion=1\n"), true],
  ["a VMDK descriptor without comments", text("version=3\n"), true],
  ["half a VMDK descriptor", text("# Disk DescriptorFile\n"), false],
  ["VPC's", text("conectix"), true],
  ["VHDX's", text("vhdxfile"), true],
  ["VDI's", Buffer.concat([Buffer.alloc(64), Buffer.from("7f10dabe", "hex")]), true],
  ["half of VDI's", text("<<< Oracle VM VirtualBox Disk Image >>>\n"), false],
  ["LUKS's", text("LUKS\xba\xbe\0\x01"), true],
  ["another LUKS's", text("LUKS\xba\xbe\0\x02"), false],
  ["Parallels'", text("WithoutFreeSpace\x02\0\0\0"), true],
  ["the other Parallels'", text("WithouFreSpacExt\x02\0\0\0"), true],
  ["Parallels' without a version", text("WithoutFreeSpace"), false],
  ["Bochs'", Buffer.concat([bochs, Buffer.from([0, 0, 2, 0])]), true],
  ["the older Bochs'", Buffer.concat([bochs, Buffer.from([0, 0, 1, 0])]), true],
  ["half of Bochs'", text("Bochs Virtual HD Image"), false],
  ["DMG's", text("koly"), false],
  ["cloop's", text("#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"), true],
];

describeWithTools(["qemu-img", "qemu-io"], "a raw image that was found to be raw", () => {
  let folder: ImageFolder;
  let warnings: string[];
  let endWarnings: () => void;
  let backends: BlockBackend[];

  beforeEach(() => {
    folder = new ImageFolder();
    writeFileSync(folder.file("raw.img"), new Uint8Array(1 << 20));
    warnings = [];
    backends = [];
    endWarnings = onWarning((message) => warnings.push(message));
  });

  afterEach(() => {
    endWarnings();
    closeBackends();
    return folder.dispose();
  });

  function closeBackends(): void {
    for (const backend of backends.splice(0)) backend.close();
  }

  async function open(options: object = {}): Promise<BlockNode> {
    const node = await openImageFile(folder.graph, { filename: folder.file("raw.img"), ...options });
    const needs = node.readOnly ? PERM_CONSISTENT_READ : PERM_CONSISTENT_READ | PERM_WRITE;
    backends.push(new BlockBackend({ name: "", node, permissions: { needs, shares: PERM_ALL } }));
    return node;
  }

  const write = async (node: BlockNode, at: number, bytes: Uint8Array): Promise<void> =>
    node.write(at, IoVector.of(bytes));

  const padded = (header: Buffer, length: number): Buffer => Buffer.concat([header, Buffer.alloc(length)], length);

  it.each(HEADERS)("is refused %s header, or not, as QEMU does it", async (_what, header, refused) => {
    writeFileSync(folder.file("header"), padded(header, 512));
    const command = `write -s ${folder.file("header")} 0 512`;
    const { stdout } = spawnSync("qemu-io", ["-c", command, folder.file("raw.img")], { encoding: "utf8" });
    expect(stdout).toMatch(refused ? /^write failed: Operation not permitted/ : /^wrote 512\/512/);
    writeFileSync(folder.file("raw.img"), new Uint8Array(1 << 20));
    const node = await open();
    for (const length of [512, 4096]) {
      const writing = write(node, 0, padded(header, length));
      if (refused) await expect(writing).rejects.toMatchObject({ errno: "EPERM" });
      else await writing;
    }
    await write(node, 512, padded(header, 512));
    const image = readFileSync(folder.file("raw.img"));
    expect(image.subarray(512, 512 + header.length).equals(header)).toBe(true);
    if (refused) expect(image.subarray(0, 512).every((byte) => byte === 0)).toBe(true);
  });

  it("is refused a header that comes piece by piece, by writing and by zeroing", async () => {
    const node = await open();
    await write(node, 0, text("QFI\xfb"));
    await expect(write(node, 4, text("\0\0\0\x02"))).rejects.toMatchObject({ errno: "EPERM" });
    await write(node, 0, text("QED1"));
    await expect((async () => node.writeZeroes(3, 1))()).rejects.toMatchObject({ errno: "EPERM" });
    await node.writeZeroes(0, 3);
    await node.writeZeroes(0, 4096);
    expect(
      readFileSync(folder.file("raw.img"))
        .subarray(0, 4096)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it("takes all else, in one piece with what is behind its beginning", async () => {
    const node = await open();
    const bytes = new Uint8Array(8192).map((_, i) => (i * 7) % 251);
    await write(node, 0, bytes);
    await write(node, 300, bytes.subarray(0, 1000));
    bytes.copyWithin(300, 0, 1000);
    const expected = new Uint8Array(8192).map((_, i) => (i * 7) % 251);
    expected.set(expected.slice(0, 1000), 300);
    expect(readFileSync(folder.file("raw.img")).subarray(0, 8192).equals(Buffer.from(expected))).toBe(true);
  });

  it("writes what was checked, whatever becomes of the guest's bytes meanwhile", async () => {
    const node = await open();
    const bytes = new Uint8Array(512).fill(1);
    const writing = write(node, 0, bytes.subarray(0, 256));
    bytes.set(text("QFI\xfb\0\0\0\x03"));
    await writing.catch(() => {});
    const head = readFileSync(folder.file("raw.img")).subarray(0, 4);
    expect(head.equals(text("QFI\xfb"))).toBe(false);
  });

  it("is told of by its name, unless nobody writes to it, or says what it is", async () => {
    await open({ "read-only": true });
    expect(warnings).toEqual([]);
    await open({ format: "raw" });
    expect(warnings).toEqual([]);
    closeBackends();
    await open();
    writeFileSync(folder.file("other.img"), new Uint8Array(1 << 20));
    const theirs = spawnSync("qemu-io", ["-c", "write 0 512", folder.file("other.img")], { encoding: "utf8" }).stderr;
    expect(warnings.map((line) => `${line}\n`)).toEqual([theirs.replace("other.img", "raw.img")]);
  });

  it("of a format that is not here is refused by its name", async () => {
    writeFileSync(folder.file("raw.img"), padded(text("KDMV\x01"), 1 << 20));
    await expect(open()).rejects.toThrow("Unknown driver 'vmdk'");
  });
});

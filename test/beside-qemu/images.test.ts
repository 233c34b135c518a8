// Images that qemu-img makes with each of its options, with data, snapshots and bitmaps, as this program and a real QEMU read them.
import { copyFileSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { shownBitmaps } from "../block/drivers/qcow2/bitmap-tools.ts";
import { describeWithTools } from "../support/tools.ts";
import { QEMU } from "./programs.ts";
import { type Twin, TwinMachines } from "./twin-machines.ts";

const SIZE = 3 << 20;
const COMPRESSED: readonly string[] = ["compression_type=zlib", "compression_type=zstd"];
const OPTIONS: readonly string[] = [
  "compat=0.10",
  "compat=1.1",
  "compat=0.10,cluster_size=512",
  "cluster_size=4096,refcount_bits=1",
  "cluster_size=2M,refcount_bits=2",
  "refcount_bits=4,cluster_size=1024",
  "refcount_bits=64",
  "extended_l2=on",
  "extended_l2=on,cluster_size=2M,lazy_refcounts=on",
  "lazy_refcounts=on",
  "preallocation=metadata",
  "preallocation=falloc",
  "preallocation=full,extended_l2=on",
  "backing_file=base.img,backing_fmt=raw",
  "backing_file=base.qcow2,backing_fmt=qcow2,extended_l2=on",
  "backing_file=base.qcow2,backing_fmt=qcow2,cluster_size=512,compat=0.10",
];

interface NamedNode {
  readonly "node-name": string;
  readonly image: Record<string, unknown>;
  readonly "dirty-bitmaps"?: readonly { readonly name: string }[];
}

describeWithTools(["qemu-img", "qemu-io", QEMU], "Images that qemu-img made", () => {
  let twins: TwinMachines;
  let count = 0;

  beforeAll(async () => {
    twins = await TwinMachines.start();
    twins.run("qemu-img", "create", "-q", "-f", "raw", "base.img", "2M");
    twins.run("qemu-io", "-f", "raw", "-c", "write -P 1 256k 1M", "base.img");
    twins.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", "base.qcow2", "4M");
    twins.run("qemu-io", "-f", "qcow2", "-c", "write -P 2 1M 1536k", "base.qcow2");
  });
  afterAll(() => twins.close());

  /** What is made is made once, and copied: the moment of a snapshot is part of it. */
  const make = (tool: string, ...args: readonly string[]): string => twins.ours.folder.run(tool, ...args);
  const write = (image: string, ...commands: readonly string[]): string =>
    make("qemu-io", "-d", "unmap", "-f", "qcow2", ...commands.flatMap((command) => ["-c", command]), image);

  /** Some record and some do not; one is all the others together. */
  const addBitmaps = (image: string): void => {
    const bitmap = (...args: readonly string[]): string => make("qemu-img", "bitmap", ...args);
    bitmap("--add", "-g", "512", image, "fine");
    bitmap("--add", image, "plain");
    bitmap("--add", "--disable", "-g", "4096", image, "later");
    write(image, "write -P 21 70k 3k", "write -z 1M 128k", "discard 2M 128k");
    bitmap("--disable", image, "fine");
    bitmap("--enable", image, "later");
    write(image, "write -P 22 5k 1k");
    bitmap("--add", "--merge", "fine", "--merge", "plain", "--disable", "-g", "2M", image, "all");
    bitmap("--clear", image, "plain");
    bitmap("--add", image, "gone");
    bitmap("--remove", image, "gone");
    write(image, "write -P 23 2900k 1k");
  };

  const fill = (image: string): string =>
    write(
      image,
      ...["write -P 11 0 5k", "write -P 12 300k 400k", "write -z 310k 64k", "write -P 13 2M 512", "write -zu 330k 20k"],
      "discard 512k 64k",
    );

  /** Content, facts and bitmaps. */
  async function compare(image: string): Promise<void> {
    copyFileSync(twins.ours.folder.file(image), twins.theirs.folder.file(image));
    await twins.succeed("blockdev-add", {
      ...{ driver: "qcow2", "node-name": "image", "read-only": true },
      file: { driver: "file", filename: image },
    });
    const [ours, theirs] = await Promise.all(twins.both.map((twin) => factsOf(twin)));
    expect(ours).toEqual(theirs);
    const names = shownBitmaps(twins.ours.folder, image).map(({ name }) => name);
    for (const name of names) await twins.succeed("x-debug-block-dirty-bitmap-sha256", { node: "image", name });
    await twins.succeed("blockdev-del", { "node-name": "image" });
    const { folder } = twins.ours;
    folder.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, "read.raw");
    const node = await folder.open(image, { "read-only": true });
    const bytes = Buffer.alloc(node.lengthBytes);
    await node.read(0, IoVector.of(bytes));
    await folder.close(node);
    expect(bytes.equals(readFileSync(folder.file("read.raw")))).toBe(true);
  }

  it.each(OPTIONS)("with %s: are the same to both", async (options) => {
    const image = `image${count++}.qcow2`;
    make("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, String(SIZE));
    fill(image);
    // A cluster that two have is counted as two.
    if (!options.includes("refcount_bits=1")) make("qemu-img", "snapshot", "-c", "then", image);
    write(image, "write -P 14 320k 128k", "write -P 15 100k 100k");
    if (!options.includes("compat=0.10")) addBitmaps(image);
    await compare(image);
  });

  it.each(COMPRESSED)("compressed with %s: are the same to both", async (options) => {
    const image = `image${count++}.qcow2`;
    make("qemu-img", "convert", "-c", "-O", "qcow2", "-o", options, "base.qcow2", image);
    fill(image);
    addBitmaps(image);
    await compare(image);
  });
});

/** What query-named-block-nodes tells of the image and its bitmaps, but for what the image takes of its host's disk. */
async function factsOf({ client }: Twin): Promise<object> {
  const nodes = (await client.execute("query-named-block-nodes", { flat: true }))["return"] as readonly NamedNode[];
  const { image, "dirty-bitmaps": bitmaps = [] } = nodes.find((node) => node["node-name"] === "image")!;
  const { "actual-size": _, ...facts } = image;
  return { facts, bitmaps };
}

// The caches of a qcow2 node: how large they may be, in what pieces L2 tables are read, and when tables that nobody uses go.
import { spawnSync } from "node:child_process";
import { afterEach, describe, expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { MemoryDriver } from "../../../../src/block/drivers/memory.ts";
import { qcow2Opener } from "../../../../src/block/drivers/qcow2/opener.ts";
import type { Qcow2Driver } from "../../../../src/block/drivers/qcow2/qcow2.ts";
import { BlockGraph } from "../../../../src/block/graph.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { ManualClock } from "../../../guest/support/manual-clock.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { CLEAN, ImageFolder } from "./qcow2-images.ts";

const KILO = 1024;
const INTERVAL_MS = 5000;

/** Notes where it was read, and how much. */
class ReadLog extends MemoryDriver {
  readonly reads: (readonly [offset: number, length: number])[] = [];

  override read(offsetBytes: number, vector: IoVector): void {
    this.reads.push([offsetBytes, vector.byteLength]);
    super.read(offsetBytes, vector);
  }
}

interface Rig {
  readonly file: ReadLog;
  readonly graph: BlockGraph;
  readonly clock: ManualClock;
  open(options: object): Promise<BlockNode>;
}

/** An image with clusters of 4 KiB, and so tables for 2 MiB each, all of it written. */
async function writtenImage(diskBytes: number): Promise<Rig> {
  const file = new ReadLog({ lengthBytes: 0 });
  const clock = new ManualClock();
  const graph = new BlockGraph({ drivers: [{ driver: "memory", children: [], open: () => file }, qcow2Opener], clock });
  await graph.add({ driver: "memory", "node-name": "file" });
  await graph.create({ driver: "qcow2", file: "file", size: diskBytes, "cluster-size": 4096 });
  const open = (options: object): Promise<BlockNode> => graph.open({ driver: "qcow2", file: "file", ...options });
  const node = await open({});
  await node.write(0, IoVector.of(new Uint8Array(diskBytes).fill(1)));
  await graph.release(node);
  file.reads.length = 0;
  return { file, graph, clock, open };
}

async function readSector(node: BlockNode, offset: number): Promise<void> {
  await node.read(offset, IoVector.of(new Uint8Array(512)));
}

const cachesOf = (node: BlockNode): { l2: number; refcounts: number } => {
  const { image } = node.driver as Qcow2Driver;
  return { l2: image.l2.size, refcounts: image.refcounts.cache.size };
};

describe("caches of a qcow2 node", () => {
  it.each([
    [undefined, 4096, 16],
    [512, 512, 128],
    [2048, 2048, 32],
  ])("l2-cache-entry-size=%s reads L2 tables in pieces of %i bytes", async (entry, bytes, pieces) => {
    const { file, open } = await writtenImage(32 << 20);
    const node = await open({ "l2-cache-entry-size": entry });
    file.reads.length = 0;
    await readSector(node, 3 << 20);
    await readSector(node, (3 << 20) + 4096);
    expect(file.reads.map(([, length]) => length)).toEqual([bytes, 512, 512]);
    for (let at = 0; at < node.lengthBytes; at += 64 * KILO) await readSector(node, at);
    expect(file.reads.filter(([, length]) => length === bytes && bytes !== 512)).toHaveLength(
      bytes === 512 ? 0 : pieces,
    );
    expect(cachesOf(node).l2).toBe(pieces);
  });

  it.each([
    [{ "l2-cache-size": 0 }, 4],
    [{ "l2-cache-size": 6 * 4096 }, 6],
    [{ "l2-cache-size": 4096, "l2-cache-entry-size": 512 }, 8],
    [{ "cache-size": 11 * 4096 }, 7],
    [{ "cache-size": 11 * 4096, "refcount-cache-size": 5 * 4096 }, 6],
  ])("%o keeps so many pieces of L2 tables: %i", async (options, kept) => {
    const { open } = await writtenImage(64 << 20);
    const node = await open(options);
    for (let at = 0; at < node.lengthBytes; at += 64 * KILO) await readSector(node, at);
    expect(cachesOf(node).l2).toBe(kept);
  });

  it.each([
    [{ "refcount-cache-size": 5 * 4096 }, 5],
    [{ "cache-size": 12 * 4096, "l2-cache-size": 6 * 4096 }, 6],
    [{ "cache-size": 4096 }, 4],
  ])("%o keeps so many refcount blocks: %i", async (options, kept) => {
    const { open } = await writtenImage(64 << 20);
    const node = await open({ ...options, discard: "unmap" });
    const step = 4 << 20; // a block counts 8 MiB
    for (let at = 0; at < node.lengthBytes; at += step) await node.discard(at, 4096);
    await node.flush();
    expect(cachesOf(node).refcounts).toBe(kept);
  });

  it("cache-clean-interval gives up tables that nobody used for so long, and keeps those in use", async () => {
    const { clock, open, graph } = await writtenImage(32 << 20);
    const node = await open({ "cache-clean-interval": INTERVAL_MS / 1000 });
    for (let at = 0; at < node.lengthBytes; at += 64 * KILO) await readSector(node, at);
    clock.advance(INTERVAL_MS);
    expect(cachesOf(node).l2).toBe(16);
    await readSector(node, 0);
    clock.advance(INTERVAL_MS - 1);
    expect(cachesOf(node).l2).toBe(16);
    clock.advance(1);
    expect(cachesOf(node).l2).toBe(1);
    clock.advance(INTERVAL_MS);
    expect(cachesOf(node).l2).toBe(0);
    await graph.release(node);
    expect(clock.pendingTimers).toBe(0);
  });

  it("cache-clean-interval loses nothing that was written and not flushed", async () => {
    const { clock, open, graph } = await writtenImage(32 << 20);
    const node = await open({ "cache-clean-interval": 1, discard: "unmap" });
    await node.discard(4096, 4096);
    for (let i = 0; i < 5; i++) clock.advance(1000);
    await graph.release(node);
    const again = await open({});
    const bytes = new Uint8Array(3 * 4096);
    await again.read(0, IoVector.of(bytes));
    expect([bytes[0], bytes[4096], bytes[8192]]).toEqual([1, 0, 1]);
  });

  it("cache-clean-interval is 600 s by default, and 0 for never", async () => {
    const { clock, open } = await writtenImage(32 << 20);
    const node = await open({});
    await readSector(node, 0);
    clock.advance(600_000);
    expect(cachesOf(node).l2).toBe(1);
    clock.advance(600_000);
    expect(cachesOf(node).l2).toBe(0);
    const { clock: other, open: openOther } = await writtenImage(2 << 20);
    const never = await openOther({ "cache-clean-interval": 0 });
    await readSector(never, 0);
    expect(other.pendingTimers).toBe(0);
    other.advance(10_000_000);
    expect(cachesOf(never).l2).toBe(1);
  });
});

describeWithTools(["qemu-img", "qemu-io"], "cache options of a qcow2 node", () => {
  let folder: ImageFolder;

  afterEach(() => folder.dispose());

  it.each<[string, string | undefined]>([
    ["l2-cache-size=0", undefined],
    ["l2-cache-size=4611686018427387904", undefined],
    ["cache-size=1", undefined],
    ["refcount-cache-size=8589934592", undefined],
    ["refcount-cache-size=70368744177664", "Could not allocate metadata caches"],
    ["refcount-cache-size=140737488355328", "Refcount cache size too big"],
    ["cache-size=1125899906842624", "Refcount cache size too big"],
    ["cache-size=-1", "Parameter 'cache-size' expects a non-negative number below 2^64"],
    ["l2-cache-size=-1", "Parameter 'l2-cache-size' expects a non-negative number below 2^64"],
    ["refcount-cache-size=-1", "Parameter 'refcount-cache-size' expects a non-negative number below 2^64"],
    ["l2-cache-entry-size=-1", "Parameter 'l2-cache-entry-size' expects a non-negative number below 2^64"],
    ["cache-size=1048576,l2-cache-size=2097152", "l2-cache-size may not exceed cache-size"],
    ["cache-size=1048576,refcount-cache-size=2097152", "refcount-cache-size may not exceed cache-size"],
    [
      "cache-size=1,l2-cache-size=1,refcount-cache-size=1",
      "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time",
    ],
    ["l2-cache-entry-size=256", "L2 cache entry size must be a power of two between 512 and the cluster size (65536)"],
    ["l2-cache-entry-size=513", "L2 cache entry size must be a power of two between 512 and the cluster size (65536)"],
    [
      "l2-cache-entry-size=131072",
      "L2 cache entry size must be a power of two between 512 and the cluster size (65536)",
    ],
    ["l2-cache-entry-size=65536", undefined],
    ["cache-clean-interval=4294967295", undefined],
    ["cache-clean-interval=4294967296", "Cache clean interval too big"],
    ["cache-clean-interval=-1", "Cache clean interval too big"],
  ])("%s is taken or refused as QEMU does it", async (text, refusal) => {
    folder = new ImageFolder();
    await folder.create("disk.qcow2", { size: 64 << 20 });
    const image = `driver=qcow2,file.filename=${folder.file("disk.qcow2")},${text}`;
    const { stderr } = spawnSync("qemu-io", ["-c", "read 0 512", "--image-opts", image], { encoding: "utf8" });
    const theirs = stderr === "" ? undefined : stderr.split("\n")[0]!.slice("qemu-io: can't open: ".length);
    expect(theirs).toBe(refusal);
    const options = Object.fromEntries(text.split(",").map((one) => one.split("=")));
    for (const [key, value] of Object.entries(options)) options[key] = Number(value);
    const opening = folder.open("disk.qcow2", options).then(() => undefined);
    if (refusal === undefined) await opening;
    else await expect(opening).rejects.toThrow(refusal);
  });

  it("l2-cache-entry-size writes pieces of tables that qemu-img finds right", async () => {
    folder = new ImageFolder();
    await folder.create("disk.qcow2", { size: 64 << 20, "cluster-size": 4096 });
    const node = await folder.open("disk.qcow2", { "l2-cache-entry-size": 512, "l2-cache-size": 2048 });
    for (let i = 0; i < 200; i++)
      await node.write(((i * 7919) % 16384) * 4096, IoVector.of(new Uint8Array(8192).fill(i)));
    await folder.close(node);
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
    const again = await folder.open("disk.qcow2", { "read-only": true });
    const bytes = new Uint8Array(512);
    for (let i = 0; i < 200; i++) {
      await again.read(((i * 7919) % 16384) * 4096, IoVector.of(bytes));
      expect(bytes[0]).toBe(i);
    }
  });
});

// Which discards a qcow2 node passes on to its file, what becomes of discarded clusters, and lazy refcounts that a node asks for.
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { BlockError } from "../../../../src/base/errors.ts";
import { IoVector } from "../../../../src/base/io-vector.ts";
import type { Qcow2Driver } from "../../../../src/block/drivers/qcow2/qcow2.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { CLEAN, ImageFolder } from "./qcow2-images.ts";
import { graphOn, RecordedFile } from "./recorded-file.ts";

const CLUSTER = 65536;
/** Where the first cluster of data is in a new image: behind header, refcount table and block, L1 table and L2 table. */
const DATA = 5 * CLUSTER;

type Range = readonly [offset: number, length: number];

/** Notes what is discarded. */
class DiscardLog extends RecordedFile {
  readonly discards: Range[] = [];
  failing = false;

  override discard(offsetBytes: number, lengthBytes: number): void {
    this.discards.push([offsetBytes, lengthBytes]);
    if (this.failing) throw new BlockError("EIO");
    super.discard(offsetBytes, lengthBytes);
  }
}

/** A disk of 16 clusters, of which the first eight hold data, one behind the other in the file from `DATA` on. */
async function filled(
  options: object,
  create: object = {},
): Promise<{ file: DiscardLog; node: BlockNode; end(): Promise<void> }> {
  const file = new DiscardLog({ lengthBytes: 0 });
  const graph = await graphOn(file);
  await graph.create({ driver: "qcow2", file: "file", size: 16 * CLUSTER, ...create });
  const node = await graph.open({ driver: "qcow2", file: "file", ...options });
  await node.write(0, IoVector.of(new Uint8Array(8 * CLUSTER).fill(1)));
  await node.flush();
  return { file, node, end: async () => graph.release(node) };
}

async function firstBytes(node: BlockNode): Promise<number[]> {
  const disk = new Uint8Array(node.lengthBytes);
  await node.read(0, IoVector.of(disk));
  return Array.from({ length: 8 }, (_, i) => disk[i * CLUSTER]!);
}

describe("discards of a qcow2 node", () => {
  it.each<[object, Range[]]>([
    [{ discard: "unmap" }, [[DATA + 2 * CLUSTER, 3 * CLUSTER]]],
    [{ discard: "unmap", "pass-discard-request": true }, [[DATA + 2 * CLUSTER, 3 * CLUSTER]]],
    [{ discard: "unmap", "pass-discard-request": false }, []],
    [
      { discard: "unmap", "pass-discard-request": false, "pass-discard-other": true, "pass-discard-snapshot": true },
      [],
    ],
  ])("with %o pass from a guest to the file: %o", async (options, discards) => {
    const { file, node } = await filled(options);
    await node.discard(2 * CLUSTER, 3 * CLUSTER);
    await node.flush();
    expect(file.discards).toEqual(discards);
    expect(await firstBytes(node)).toEqual([1, 1, 0, 0, 0, 1, 1, 1]);
  });

  it.each<[object, Range[]]>([
    [{}, []],
    [{ discard: "unmap" }, [[DATA, CLUSTER]]],
    [{ "pass-discard-request": true }, [[DATA, CLUSTER]]],
    [{ discard: "unmap", "pass-discard-request": false }, []],
  ])("with %o come of zeroes that may be unmapped: %o", async (options, discards) => {
    const { file, node } = await filled(options);
    await node.writeZeroes(0, CLUSTER, { mayUnmap: true });
    await node.writeZeroes(CLUSTER, CLUSTER);
    await node.flush();
    expect(file.discards).toEqual(discards);
    expect(await firstBytes(node)).toEqual([0, 0, 1, 1, 1, 1, 1, 1]);
  });

  it.each<[object, Range[]]>([
    [{ discard: "unmap", "pass-discard-other": true }, [[DATA + CLUSTER, CLUSTER]]],
    [{ discard: "unmap" }, []],
    [{ discard: "unmap", "pass-discard-other": false, "pass-discard-request": true }, []],
  ])("with %o come of clusters that are replaced: %o", async (options, discards) => {
    const { file, node } = await filled(options);
    await node.write(CLUSTER, IoVector.of(new Uint8Array(CLUSTER).fill(2)), { compressed: true });
    await node.flush();
    expect(file.discards).toEqual(discards);
    expect(await firstBytes(node)).toEqual([1, 2, 1, 1, 1, 1, 1, 1]);
  });

  it("come of what a shorter disk has no more, always", async () => {
    const { file, node } = await filled({ "pass-discard-request": false });
    await node.resize(6 * CLUSTER);
    expect(file.discards).toEqual([[DATA + 6 * CLUSTER, 2 * CLUSTER]]);
  });

  it("wait until the tables are on stable storage", async () => {
    const { file, node } = await filled({ discard: "unmap" });
    await node.discard(0, CLUSTER);
    expect(file.discards).toEqual([]);
    const before = file.changes.length;
    await node.flush();
    const since = file.changes.slice(before);
    const table = since.findIndex(
      (change) => typeof change === "object" && "at" in change && change.at === 4 * CLUSTER,
    );
    const discard = since.findIndex((change) => typeof change === "object" && "at" in change && change.at === DATA);
    expect(table).toBeGreaterThanOrEqual(0);
    expect(since.slice(table, discard)).toContain("flush");
  });

  it("fail nobody where the file fails them", async () => {
    const { file, node, end } = await filled({ discard: "unmap" });
    file.failing = true;
    await node.discard(0, CLUSTER);
    await node.flush();
    expect(file.discards).toHaveLength(1);
    expect(await firstBytes(node)).toEqual([0, 1, 1, 1, 1, 1, 1, 1]);
    await end();
  });

  it("with discard-no-unref leave clusters their places, for what is written next", async () => {
    const { file, node } = await filled({ discard: "unmap", "discard-no-unref": true });
    await node.discard(2 * CLUSTER, 3 * CLUSTER);
    await node.writeZeroes(6 * CLUSTER, CLUSTER, { mayUnmap: true });
    expect(file.discards).toEqual([
      [DATA + 2 * CLUSTER, 3 * CLUSTER],
      [DATA + 6 * CLUSTER, CLUSTER],
    ]);
    await node.flush();
    const entries = readTable(file, 4 * CLUSTER);
    const kept = (cluster: number): bigint => (1n << 63n) | BigInt(DATA + cluster * CLUSTER);
    expect(entries).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((i) => kept(i) | ([2, 3, 4, 6].includes(i) ? 1n : 0n)));
    expect(await firstBytes(node)).toEqual([1, 1, 0, 0, 0, 1, 0, 1]);
    await node.write(3 * CLUSTER, IoVector.of(new Uint8Array(512).fill(9)));
    await node.flush();
    expect(readTable(file, 4 * CLUSTER)[3]).toBe(kept(3));
    expect(await firstBytes(node)).toEqual([1, 1, 0, 9, 0, 1, 0, 1]);
    const cluster = new Uint8Array(CLUSTER);
    await node.read(3 * CLUSTER, IoVector.of(cluster));
    expect(cluster.subarray(512).every((byte) => byte === 0)).toBe(true);
  });

  it("without it give clusters up, and so they do with it where the cluster is compressed", async () => {
    const { file, node } = await filled({ discard: "unmap" });
    await node.discard(0, CLUSTER);
    await node.flush();
    expect(readTable(file, 4 * CLUSTER)[0]).toBe(1n);
    const kept = await filled({ discard: "unmap", "discard-no-unref": true });
    await kept.node.write(0, IoVector.of(new Uint8Array(CLUSTER).fill(2)), { compressed: true });
    await kept.node.discard(0, CLUSTER);
    await kept.node.flush();
    expect(readTable(kept.file, 4 * CLUSTER)[0]).toBe(1n);
  });

  it("cannot leave clusters their places in an image of version 2", async () => {
    await expect(filled({ "discard-no-unref": true }, { version: "v2" })).rejects.toThrow(
      "discard-no-unref is only supported since qcow2 version 3",
    );
  });

  function readTable(file: DiscardLog, offset: number): bigint[] {
    const bytes = new Uint8Array(64);
    file.read(offset, IoVector.of(bytes));
    const view = new DataView(bytes.buffer);
    return Array.from({ length: 8 }, (_, i) => view.getBigUint64(i * 8));
  }
});

describeWithTools(["qemu-img"], "runtime options of qcow2 nodes", () => {
  let folder: ImageFolder;

  afterEach(() => folder.dispose());

  const DIRTY = 1;

  it.each([
    [false, true, DIRTY],
    [true, false, 0],
    [true, undefined, DIRTY],
    [false, undefined, 0],
  ])(
    "an image with lazy refcounts: %o, opened with lazy-refcounts=%s, is marked dirty: %i",
    async (made, opened, mark) => {
      folder = new ImageFolder();
      await folder.create("disk.qcow2", { size: 1 << 20, "lazy-refcounts": made });
      const node = await folder.open("disk.qcow2", { "lazy-refcounts": opened });
      await node.write(0, IoVector.of(new Uint8Array(512).fill(1)));
      await node.flush();
      const marked = (): number => readFileSync(folder.file("disk.qcow2"))[79]! & DIRTY;
      expect(marked()).toBe(mark);
      await folder.close(node);
      expect(marked()).toBe(0);
      expect(folder.check("disk.qcow2")).toBe(CLEAN);
    },
  );

  it("change by blockdev-reopen, and back, with what was written and the bitmaps kept", async () => {
    folder = new ImageFolder();
    const { graph } = folder;
    await folder.create("disk.qcow2", { size: 1 << 20 });
    const file = { driver: "file", filename: folder.file("disk.qcow2") };
    const options = { driver: "qcow2", "node-name": "disk", file, discard: "unmap" } as const;
    const node = await graph.add(options);
    const bitmap = node.bitmaps.create({ name: "b0", granularityBytes: 65536 });
    bitmap.persistent = true;
    const steps: [object, (driver: Qcow2Driver) => unknown, unknown][] = [
      [{ "lazy-refcounts": true }, ({ image }) => image.lazyRefcounts, true],
      [{ "l2-cache-entry-size": 512 }, ({ image }) => image.layout.sliceBytes, 512],
      [{ "cache-clean-interval": 7 }, ({ image }) => image.cacheCleanMs, 7000],
      [{ "discard-no-unref": true }, ({ image }) => image.discardNoUnref, true],
      [{ "pass-discard-other": true, "pass-discard-snapshot": false }, ({ image }) => image.lazyRefcounts, false],
      [{ "cache-size": 1 << 20 }, ({ image }) => image.discardNoUnref, false],
      [{}, ({ image }) => [image.layout.sliceBytes, image.cacheCleanMs], [65536, 600_000]],
    ];
    for (const [i, [change, seen, expected]] of steps.entries()) {
      await graph.reopen([{ ...options, ...change }]);
      expect(seen(node.driver as Qcow2Driver)).toEqual(expected);
      await node.write(i * 65536, IoVector.of(new Uint8Array(512).fill(i + 1)));
      expect(bitmap.countBytes).toBe((i + 1) * 65536);
    }
    for (const [wrong, text] of [
      [{ "l2-cache-entry-size": 5 }, "L2 cache entry size must be a power of two"],
      [{ "cache-clean-interval": -1 }, "Cache clean interval too big"],
      [{ "cache-size": 1, "l2-cache-size": 1, "refcount-cache-size": 1 }, "may not be set at the same time"],
    ] as const)
      await expect(graph.reopen([{ ...options, ...wrong }])).rejects.toThrow(text);
    expect((await bytesOf(node)).slice(0, steps.length)).toEqual(steps.map((_, i) => i + 1));
    await graph.delete("disk");
    expect(folder.check("disk.qcow2")).toBe(CLEAN);
    const again = await graph.add(options);
    expect(again.bitmaps.find("b0")?.countBytes).toBe(steps.length * 65536);
    await graph.delete("disk");
  });

  async function bytesOf(node: BlockNode): Promise<number[]> {
    const disk = new Uint8Array(node.lengthBytes);
    await node.read(0, IoVector.of(disk));
    return Array.from({ length: 16 }, (_, i) => disk[i * 65536]!);
  }
});

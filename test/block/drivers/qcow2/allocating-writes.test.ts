// Writes that take new clusters: what reaches the file, and when.
import { describe, expect, it } from "vitest";
import { BlockError } from "../../../../src/base/errors.ts";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { checkImage } from "../../../../src/block/drivers/qcow2/check.ts";
import type { Qcow2Driver } from "../../../../src/block/drivers/qcow2/qcow2.ts";
import type { BlockdevOptions } from "../../../../src/block/graph-options.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { graphOn, RecordedFile } from "./recorded-file.ts";

const CLUSTER = 65536;
const DISK = 64 * CLUSTER;

/** A file that fails, or answers later, when a test says so. */
class TestFile extends RecordedFile {
  failWrites = false;
  later = false;
  growing = 0;
  mostGrowing = 0;

  override write(offsetBytes: number, vector: IoVector): void {
    if (this.failWrites) throw new BlockError("ENOSPC");
    super.write(offsetBytes, vector);
  }

  override async resize(lengthBytes: number): Promise<void> {
    this.growing++;
    this.mostGrowing = Math.max(this.mostGrowing, this.growing);
    if (this.later) await new Promise((resolve) => setImmediate(resolve));
    super.resize(lengthBytes);
    this.growing--;
  }
}

/** A file of holes on a disk that may be full: what was written before can be written again, and nothing else. */
class HolesOnDisk extends RecordedFile {
  full = false;
  readonly #sectors = new Set<number>();

  override write(offsetBytes: number, vector: IoVector): void {
    const end = (offsetBytes + vector.byteLength) / 512;
    for (let sector = Math.floor(offsetBytes / 512); sector < end; sector++) {
      if (this.full && !this.#sectors.has(sector)) throw new BlockError("ENOSPC");
      this.#sectors.add(sector);
    }
    super.write(offsetBytes, vector);
  }
}

/** An image with room in its file for some clusters, one of which is written. */
async function openImage(file: TestFile): Promise<BlockNode> {
  const graph = await graphOn(file);
  await graph.create({ driver: "qcow2", file: "file", size: DISK });
  const node = await graph.open({ driver: "qcow2", file: "file" });
  await node.write(0, IoVector.of(new Uint8Array(CLUSTER).fill(1)));
  await file.resize(file.lengthBytes + 8 * CLUSTER);
  file.changes.length = 0;
  return node;
}

/** Bytes of each write to the file. */
function writtenTo({ changes }: RecordedFile): number[] {
  return changes.flatMap((change) => (change !== "flush" && "bytes" in change ? [change.bytes.length] : []));
}

function data(length: number, value: number): IoVector {
  return IoVector.of(new Uint8Array(length).fill(value));
}

async function reads(node: BlockNode, expected: Uint8Array): Promise<boolean> {
  const seen = new Uint8Array(node.lengthBytes);
  await node.read(0, IoVector.of(seen));
  return Buffer.from(seen).equals(expected);
}

async function faultsOf(node: BlockNode): Promise<{ leaks: number; corruptions: number }> {
  await node.flush();
  const { leaks, corruptions } = await checkImage((node.driver as Qcow2Driver).image);
  return { leaks, corruptions };
}

describe("writes to new clusters of a qcow2 image", () => {
  it("end within the call, with their data alone written, until a flush", async () => {
    const file = new TestFile({ lengthBytes: 0 });
    const node = await openImage(file);
    expect(node.write(CLUSTER, data(CLUSTER, 2))).toBe(undefined);
    expect(node.write(4 * CLUSTER + 8192, data(4096, 3))).toBe(undefined);
    expect(node.write(6 * CLUSTER, data(2 * CLUSTER, 4))).toBe(undefined);
    expect(node.write(4 * CLUSTER, data(4096, 5))).toBe(undefined);
    expect(writtenTo(file)).toEqual([CLUSTER, 4096, 2 * CLUSTER, 4096]);
    const expected = new Uint8Array(DISK);
    expected
      .fill(1, 0, CLUSTER)
      .fill(2, CLUSTER, 2 * CLUSTER)
      .fill(4, 6 * CLUSTER, 8 * CLUSTER);
    expected.fill(5, 4 * CLUSTER, 4 * CLUSTER + 4096).fill(3, 4 * CLUSTER + 8192, 4 * CLUSTER + 12288);
    expect(await reads(node, expected)).toBe(true);
    expect(await faultsOf(node)).toEqual({ leaks: 0, corruptions: 0 });
  });

  it.each([
    ["L2 tables", { "cluster-size": 512 }, 24 * 1024],
    ["a refcount block", { "cluster-size": 4096, "refcount-bits": 64 }, 1024],
  ])(
    "that ended can be flushed when the disk is full by then, for new tables have room: %s",
    async (_what, options, step) => {
      const file = new HolesOnDisk({ lengthBytes: 0 });
      const graph = await graphOn(file);
      await graph.create({ driver: "qcow2", file: "file", size: DISK, ...options } as BlockdevOptions);
      const node = await graph.open({ driver: "qcow2", file: "file" });
      const expected = new Uint8Array(DISK);
      for (let at = 0; at < 0.75 * DISK; at += step) {
        await node.write(at, data(1024, 1 + (at % 251)));
        expected.fill(1 + (at % 251), at, at + 1024);
      }
      file.full = true;
      await expect(Promise.resolve().then(() => node.write(DISK - CLUSTER, data(CLUSTER, 9)))).rejects.toMatchObject({
        errno: "ENOSPC",
      });
      expect(await faultsOf(node)).toMatchObject({ corruptions: 0 });
      expect(await reads(node, expected)).toBe(true);
      await graph.release(node);
      const again = await graph.open({ driver: "qcow2", file: "file" });
      expect(await reads(again, expected)).toBe(true);
      expect(await faultsOf(again)).toMatchObject({ corruptions: 0 });
    },
  );

  it("give their clusters back when they fail", async () => {
    const file = new TestFile({ lengthBytes: 0 });
    const node = await openImage(file);
    file.failWrites = true;
    await expect(node.write(CLUSTER, data(CLUSTER, 2))).rejects.toMatchObject({ errno: "ENOSPC" });
    file.failWrites = false;
    expect(await reads(node, new Uint8Array(DISK).fill(1, 0, CLUSTER))).toBe(true);
    expect(await faultsOf(node)).toEqual({ leaks: 0, corruptions: 0 });
    expect(node.write(CLUSTER, data(CLUSTER, 3))).toBe(undefined);
    expect(await reads(node, new Uint8Array(DISK).fill(1, 0, CLUSTER).fill(3, CLUSTER, 2 * CLUSTER))).toBe(true);
  });

  it("wait while tables are on their way to the file, and then end without a turn each", async () => {
    const file = new TestFile({ lengthBytes: 0 });
    const node = await openImage(file);
    expect(node.write(CLUSTER, data(CLUSTER, 2))).toBe(undefined);
    const flushed = node.flush();
    const waiting = [2, 3, 4].map((at) => node.write(at * CLUSTER, data(CLUSTER, at + 1)));
    expect(writtenTo(file).slice(1)).not.toContain(CLUSTER);
    await Promise.all([flushed, ...waiting]);
    expect(node.write(5 * CLUSTER, data(CLUSTER, 6))).toBe(undefined);
    const expected = new Uint8Array(DISK);
    for (let at = 0; at < 6; at++) expected.fill(at + 1, at * CLUSTER, (at + 1) * CLUSTER);
    expect(await reads(node, expected)).toBe(true);
    expect(await faultsOf(node)).toEqual({ leaks: 0, corruptions: 0 });
  });

  it("make a file that grows later longer one after the other", async () => {
    const file = new TestFile({ lengthBytes: 0 });
    const node = await openImage(file);
    file.later = true;
    await Promise.all(Array.from({ length: 63 }, (_, i) => node.write((i + 1) * CLUSTER, data(CLUSTER, i + 2))));
    const expected = new Uint8Array(DISK);
    for (let at = 0; at < 64; at++) expected.fill(at + 1, at * CLUSTER, (at + 1) * CLUSTER);
    expect(await reads(node, expected)).toBe(true);
    expect(file.mostGrowing).toBe(1);
    expect(await faultsOf(node)).toEqual({ leaks: 0, corruptions: 0 });
  });

  it("are told of a file that cannot grow, and leave nothing behind", async () => {
    const file = new TestFile({ lengthBytes: 0 });
    const node = await openImage(file);
    file.resize = () => Promise.reject(new BlockError("ENOSPC"));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 63 }, async (_, i) => node.write((i + 1) * CLUSTER, data(CLUSTER, 2))),
    );
    const failed = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(failed.length).toBeGreaterThan(0);
    for (const { reason } of failed) expect(reason).toMatchObject({ errno: "ENOSPC" });
    expect(await faultsOf(node)).toEqual({ leaks: 0, corruptions: 0 });
  });
});

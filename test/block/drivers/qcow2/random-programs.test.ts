// Random programs on qcow2 images, against an array of bytes, with qemu-img as the judge of what stands in the file.
import { writeFileSync } from "node:fs";
import fc from "fast-check";
import { expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { blockStatusAbove } from "../../../../src/block/block-status.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { CLEAN, ImageFolder } from "./qcow2-images.ts";

const SECTOR = 512;
const MAX_SECTORS = 4096;
const RUNS = process.env["VBLK_SOAK"] === undefined ? 25 : 2000;

type Step =
  | { readonly op: "write" | "zero" | "zero-unmap" | "discard" | "read"; readonly at: number; readonly length: number }
  | { readonly op: "compressed"; readonly at: number }
  | { readonly op: "resize"; readonly sectors: number }
  | { readonly op: "flush" | "reopen" | "tool" };

interface Shape {
  readonly clusterBits: number;
  readonly version: 2 | 3;
  readonly refcountOrder: number;
  readonly lazy: boolean;
  readonly extended: boolean;
  readonly backing: "none" | "shorter" | "longer";
  readonly preallocation: "off" | "metadata" | "full";
  readonly sectors: number;
}

const shapes: fc.Arbitrary<Shape> = fc.record({
  clusterBits: fc.constantFrom(9, 10, 12, 14, 16, 18),
  version: fc.constantFrom(2 as const, 3 as const, 3 as const, 3 as const),
  refcountOrder: fc.integer({ min: 0, max: 6 }),
  lazy: fc.boolean(),
  extended: fc.boolean(),
  backing: fc.constantFrom("none" as const, "none" as const, "shorter" as const, "longer" as const),
  preallocation: fc.constantFrom("off" as const, "off" as const, "off" as const, "metadata" as const, "full" as const),
  sectors: fc.integer({ min: 1, max: MAX_SECTORS }),
});

const place = {
  at: fc.nat(MAX_SECTORS),
  length: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 1500 })),
};
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constantFrom(
        "write" as const,
        "write" as const,
        "write" as const,
        "zero" as const,
        "zero-unmap" as const,
        "discard" as const,
        "read" as const,
      ),
      ...place,
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("compressed" as const), at: fc.nat(MAX_SECTORS) }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("resize"), sectors: fc.integer({ min: 1, max: MAX_SECTORS }) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom("flush" as const, "reopen" as const, "tool" as const) }) },
);

/** One image, and what should stand in it. */
class Twin {
  readonly #folder: ImageFolder;
  readonly #shape: Shape;
  #node: BlockNode;
  #model: Uint8Array;
  #byte = 0;

  private constructor(folder: ImageFolder, shape: Shape, node: BlockNode, model: Uint8Array) {
    this.#folder = folder;
    this.#shape = shape;
    this.#node = node;
    this.#model = model;
  }

  static async create(folder: ImageFolder, shape: Shape): Promise<Twin> {
    const { version, clusterBits, sectors, backing } = shape;
    const model = new Uint8Array(sectors * SECTOR);
    const old = version === 2;
    const extended = shape.extended && clusterBits >= 14 && !old;
    if (backing !== "none") {
      const length = backing === "longer" ? MAX_SECTORS * SECTOR : Math.ceil(sectors / 2) * SECTOR;
      const below = Uint8Array.from({ length }, (_, i) => (Math.floor(i / 7000) % 3 === 0 ? 0 : (i >> 9) % 251));
      writeFileSync(folder.file("below.raw"), below);
      model.set(below.subarray(0, model.length));
    }
    await folder.create("disk.qcow2", {
      size: sectors * SECTOR,
      version: `v${version}`,
      "cluster-size": 2 ** clusterBits,
      "extended-l2": extended,
      "lazy-refcounts": shape.lazy && !old,
      "refcount-bits": old ? 16 : 2 ** shape.refcountOrder,
      ...(backing === "none"
        ? { preallocation: shape.preallocation }
        : { "backing-file": "below.raw", "backing-fmt": "raw" }),
    });
    return new Twin(folder, shape, await folder.open("disk.qcow2"), model);
  }

  async run(step: Step): Promise<void> {
    switch (step.op) {
      case "resize":
        return this.#resize(step.sectors * SECTOR);
      case "flush":
        return this.#node.flush();
      case "reopen":
        return this.#reopen();
      case "tool":
        return this.#writeByTool();
      case "compressed":
        return this.#writeCompressed(step.at * SECTOR);
    }
    const start = (step.at * SECTOR) % this.#model.length;
    const end = Math.min(this.#model.length, start + step.length * SECTOR);
    const length = end - start;
    switch (step.op) {
      case "write": {
        const data = Uint8Array.from({ length }, (_, i) => (this.#byte + (i >> 9)) % 255);
        this.#byte += 17;
        await this.#node.write(start, IoVector.of(data));
        this.#model.set(data, start);
        return;
      }
      case "zero":
      case "zero-unmap":
        await this.#node.writeZeroes(start, length, { mayUnmap: step.op === "zero-unmap" });
        this.#model.fill(0, start, end);
        return;
      case "discard":
        return this.#discard(start, length);
      case "read": {
        const data = new Uint8Array(length).fill(0xee);
        await this.#node.read(start, IoVector.of(data));
        expect(Buffer.from(data).equals(this.#model.subarray(start, end))).toBe(true);
      }
    }
  }

  /** All of the image, by this program and by the tools. */
  async finish(): Promise<void> {
    await this.#node.flush();
    const map = await statusMap(this.#node);
    const data = new Uint8Array(this.#model.length);
    await this.#node.read(0, IoVector.of(data));
    expect(Buffer.from(data).equals(this.#model)).toBe(true);
    await this.#folder.close(this.#node);
    expect(this.#folder.check("disk.qcow2")).toBe(CLEAN);
    writeFileSync(this.#folder.file("model.raw"), this.#model);
    expect(this.#folder.run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", "disk.qcow2", "model.raw")).toBe(
      "Images are identical.\n",
    );
    expect(map).toEqual(toolMap(this.#folder));
  }

  async #resize(length: number): Promise<void> {
    await this.#node.resize(length);
    const model = new Uint8Array(length);
    model.set(this.#model.subarray(0, length));
    this.#model = model;
  }

  async #reopen(): Promise<void> {
    await this.#folder.close(this.#node);
    this.#node = await this.#folder.open("disk.qcow2");
  }

  /** qemu-io goes on where this program left off. */
  async #writeByTool(): Promise<void> {
    await this.#folder.close(this.#node);
    const end = Math.min(this.#model.length, 70 * SECTOR);
    const from = end > 1024 ? 512 : 0;
    this.#folder.run("qemu-io", "-f", "qcow2", "-c", `write -P 200 ${from} ${end - from}`, "disk.qcow2");
    this.#model.fill(200, from, end);
    this.#node = await this.#folder.open("disk.qcow2");
  }

  async #writeCompressed(at: number): Promise<void> {
    const cluster = this.#node.driver.clusterSizeBytes!;
    const start = Math.floor((at % this.#model.length) / cluster) * cluster;
    const data = new Uint8Array(Math.min(cluster, this.#model.length - start)).fill(this.#byte++ % 255);
    await this.#node.driver.writeCompressed!(start, IoVector.of(data));
    this.#model.set(data, start);
  }

  /** Whole clusters read as zeroes after it, unless the image is too old to say so above a backing file. */
  async #discard(start: number, length: number): Promise<void> {
    await this.#node.discard(start, length);
    if (this.#shape.version === 2 && this.#shape.backing !== "none") return;
    const cluster = this.#node.driver.clusterSizeBytes!;
    const end = start + length;
    const last = end === this.#model.length ? end : Math.floor(end / cluster) * cluster;
    const first = Math.ceil(start / cluster) * cluster;
    if (first < last) this.#model.fill(0, first, last);
  }
}

interface MapEntry {
  readonly start: number;
  readonly length: number;
  readonly zero: boolean;
  readonly data: boolean;
}

/** What qemu-img map tells of kinds, joined where one follows another of the same kind. */
function toolMap(folder: ImageFolder): MapEntry[] {
  const entries = JSON.parse(folder.run("qemu-img", "map", "--output=json", "disk.qcow2")) as (MapEntry & {
    depth: number;
    present: boolean;
  })[];
  // The file's own holes below a cluster of data, and zeroes of the raw file below, are not the image's business.
  return joined(
    entries.map(({ start, length, zero, data, depth }) => ({
      start,
      length,
      zero: depth === 0 && zero && !data,
      data: depth === 0 && data,
    })),
  );
}

async function statusMap(node: BlockNode): Promise<MapEntry[]> {
  const entries: MapEntry[] = [];
  for (let at = 0; at < node.lengthBytes; ) {
    const own = await node.blockStatus(at, node.lengthBytes - at);
    const status = await blockStatusAbove(node, undefined, at, own.lengthBytes);
    const length = own.allocated ? own.lengthBytes : status.lengthBytes;
    const backing = node.driver.children.find(({ role }) => role === "backing")?.node;
    const ofLayer = own.allocated || at >= (backing?.lengthBytes ?? 0);
    entries.push({ start: at, length, zero: ofLayer && status.zero, data: own.allocated && own.data });
    at += length;
  }
  return joined(entries);
}

function joined(entries: readonly MapEntry[]): MapEntry[] {
  const all: MapEntry[] = [];
  for (const entry of entries) {
    const last = all.at(-1);
    if (last !== undefined && last.zero === entry.zero && last.data === entry.data)
      all[all.length - 1] = { ...last, length: last.length + entry.length };
    else all.push(entry);
  }
  return all;
}

describeWithTools(["qemu-img", "qemu-io"], "random programs on qcow2 images", () => {
  it("leave an image that qemu-img finds right, with the bytes of the model", { timeout: 3_600_000 }, async () => {
    const programs = fc.asyncProperty(shapes, fc.array(steps, { maxLength: 30 }), async (shape, program) => {
      const folder = new ImageFolder();
      try {
        const twin = await Twin.create(folder, shape);
        for (const step of program) await twin.run(step);
        await twin.finish();
      } finally {
        await folder.dispose();
      }
    });
    await fc.assert(programs, { numRuns: RUNS });
  });
});

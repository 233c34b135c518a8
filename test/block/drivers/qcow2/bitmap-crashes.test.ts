// What is known of an image's bitmaps when the machine stops: all, or nothing; never too little. persistence-migration.md §3.2.
import { writeFileSync } from "node:fs";
import fc from "fast-check";
import { expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import type { DirtyBitmap } from "../../../../src/bitmap/dirty-bitmap.ts";
import { checkImage } from "../../../../src/block/drivers/qcow2/check.ts";
import type { Qcow2Driver } from "../../../../src/block/drivers/qcow2/qcow2.ts";
import type { BlockNode } from "../../../../src/block/node.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { CLEAN, ImageFolder } from "./qcow2-images.ts";
import { fileAfter, graphOn, RecordedFile } from "./recorded-file.ts";

const DISK = 256 << 10;
const RUNS = process.env["VBLK_SOAK"] === undefined ? 6 : 300;
const NAMES = ["a", "b", "c"] as const;

interface Step {
  readonly op: "write" | "write" | "flush" | "add" | "remove" | "clear" | "disable" | "reopen" | "inactivate" | "close";
  readonly at: number;
  readonly name: string;
}

const steps: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom(
    "write",
    "write",
    "flush",
    "add",
    "add",
    "remove",
    "clear",
    "disable",
    "reopen",
    "inactivate",
    "close",
  ),
  at: fc.nat(DISK / 512 - 8),
  name: fc.constantFrom(...NAMES),
});

const programs = fc.record({
  clusterBits: fc.constantFrom(9, 12, 16),
  lazy: fc.boolean(),
  granularityBits: fc.constantFrom(9, 12),
  steps: fc.array(steps, { minLength: 4, maxLength: 14 }),
});

type Program = typeof programs extends fc.Arbitrary<infer Value> ? Value : never;

/** A bitmap as it was stored, and the disk since when it has recorded; undefined where it has not always. */
interface Stored {
  readonly name: string;
  readonly hash: string;
  readonly since: Uint8Array | undefined;
}

/** Carries programs out, with a note of all that ever was stored. */
class Recording {
  readonly file: RecordedFile = new RecordedFile({ lengthBytes: 0 });
  readonly stored: Stored[] = [];
  /** Changes of the file until there was an image. */
  start = 0;
  readonly #since = new Map<string, Uint8Array | undefined>();
  #node!: BlockNode;
  #fill = 1;

  async run(program: Program): Promise<void> {
    const graph = await graphOn(this.file);
    await graph.create({
      driver: "qcow2",
      file: "file",
      size: DISK,
      "cluster-size": 2 ** program.clusterBits,
      "lazy-refcounts": program.lazy,
    });
    this.start = this.file.changes.length;
    const options = { driver: "qcow2", "node-name": "q", file: "file", discard: "unmap" } as const;
    this.#node = await graph.add(options);
    for (const step of [...program.steps, { op: "close", at: 0, name: "a" } as const]) {
      const bitmap = this.#node.bitmaps.find(step.name);
      if (step.op === "reopen") {
        await this.#note();
        await graph.reopen([{ ...options, "read-only": true }]);
        await graph.reopen([options]);
      } else if (step.op === "inactivate") {
        await this.#note();
        await graph.setActive("q", false);
        await graph.activateAll();
      } else if (step.op === "close") {
        await this.#note();
        await graph.delete("q");
        this.#node = await graph.add(options);
      } else await this.#step(step, bitmap, program.granularityBits);
    }
    await this.#note();
    await graph.delete("q");
  }

  async #step({ op, at, name }: Step, bitmap: DirtyBitmap | undefined, granularityBits: number): Promise<void> {
    const node = this.#node;
    if (op === "write") await node.write(at * 512, IoVector.of(new Uint8Array(8 * 512).fill(this.#fill++)));
    else if (op === "flush") await node.flush();
    else if (op === "add" && bitmap === undefined) {
      node.bitmaps.add({ name, granularityBytes: 2 ** granularityBits }).persistent = true;
      this.#since.set(name, await diskOf(node));
    } else if (bitmap === undefined) return;
    else if (op === "remove") {
      await node.driver.bitmapStore!.remove(name);
      node.bitmaps.release(bitmap);
    } else if (op === "clear") {
      bitmap.clear();
      this.#since.set(name, bitmap.enabled ? await diskOf(node) : undefined);
    } else if (op === "disable") {
      bitmap.disable();
      this.#since.set(name, undefined);
    }
  }

  /** Before anything is stored. */
  async #note(): Promise<void> {
    for (const { name, bits } of this.#node.bitmaps)
      this.stored.push({ name: name!, hash: await bits.sha256(), since: this.#since.get(name!) });
  }
}

async function diskOf(node: BlockNode): Promise<Uint8Array> {
  const disk = new Uint8Array(DISK);
  await node.read(0, IoVector.of(disk));
  return disk;
}

/** True if the bitmap has all that is not as it was. */
function covers({ bits }: DirtyBitmap, disk: Uint8Array, since: Uint8Array | undefined): boolean {
  if (since === undefined) return true;
  for (let at = 0; at < DISK; at += 512)
    if (!bits.get(at) && Buffer.compare(disk.subarray(at, at + 512), since.subarray(at, at + 512)) !== 0) return false;
  return true;
}

/** Opens what a crash left. Returns how many bitmaps it took for right. */
async function examine(bytes: Uint8Array, stored: readonly Stored[]): Promise<number> {
  const graph = await graphOn(bytes);
  const node = await graph.open({ driver: "qcow2", file: "file" });
  const { damage, corruptions } = await checkImage((node.driver as Qcow2Driver).image);
  expect({ damage, corruptions }).toEqual({ damage: [], corruptions: 0 });
  const disk = await diskOf(node);
  let right = 0;
  for (const bitmap of node.bitmaps) {
    if (bitmap.inconsistent) continue;
    const hash = await bitmap.bits.sha256();
    const fits = stored.some((one) => one.name === bitmap.name && one.hash === hash && covers(bitmap, disk, one.since));
    if (!fits) expect.fail(`bitmap '${bitmap.name}' is neither as it was stored nor in use`);
    right++;
  }
  await graph.release(node);
  return right;
}

describeWithTools(["qemu-img"], "crashes of qcow2 images with bitmaps", () => {
  it("leave each bitmap as it was stored, in use or gone, and never with changes missed", {
    timeout: 3_600_000,
  }, async () => {
    let right = 0;
    await fc.assert(
      fc.asyncProperty(programs, fc.infiniteStream(fc.boolean()), async (program, coins) => {
        const recording = new Recording();
        await recording.run(program);
        const { changes } = recording.file;
        for (let count = recording.start; count <= changes.length; count++)
          for (const reordered of [false, true]) {
            const bytes = fileAfter(changes, count, () => reordered && (coins.next().value as boolean));
            right += await examine(bytes, recording.stored);
          }
        const folder = new ImageFolder();
        try {
          writeFileSync(folder.file("disk.qcow2"), recording.file.bytes);
          expect(folder.check("disk.qcow2")).toBe(CLEAN);
        } finally {
          await folder.dispose();
        }
      }),
      { numRuns: RUNS },
    );
    expect(right).toBeGreaterThan(0);
  });
});

// What is in the file of a qcow2 image when the machine stops: after each write, and with writes lost that no flush was waited for.
import { writeFileSync } from "node:fs";
import fc from "fast-check";
import { expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { checkImage } from "../../../../src/block/drivers/qcow2/check.ts";
import type { Qcow2Driver } from "../../../../src/block/drivers/qcow2/qcow2.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { CLEAN, ImageFolder } from "./qcow2-images.ts";
import { fileAfter, graphOn, RecordedFile } from "./recorded-file.ts";

const DISK = 1 << 20;
const RUNS = process.env["VBLK_SOAK"] === undefined ? 12 : 500;

interface Step {
  readonly op: "write" | "zero" | "discard" | "flush" | "resize" | "compressed";
  readonly at: number;
  readonly length: number;
}

const steps: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom("write", "write", "write", "zero", "discard", "flush", "resize", "compressed"),
  at: fc.nat(2047),
  length: fc.integer({ min: 1, max: 400 }),
});

interface Program {
  readonly clusterBits: number;
  readonly lazy: boolean;
  readonly refcountBits: number;
  readonly options: object;
  readonly steps: readonly Step[];
}

const programs: fc.Arbitrary<Program> = fc.record({
  clusterBits: fc.constantFrom(9, 10, 12, 16),
  lazy: fc.boolean(),
  refcountBits: fc.constantFrom(1, 16, 64),
  options: fc.constantFrom<object[]>(
    {},
    { "pass-discard-other": true },
    { "pass-discard-other": true, "discard-no-unref": true },
    { "l2-cache-entry-size": 512 },
    { "lazy-refcounts": true },
  ),
  steps: fc.array(steps, { minLength: 1, maxLength: 14 }),
});

/** What the disk held at a flush, and how many changes the file had seen when that was acknowledged. */
interface Moment {
  readonly changes: number;
  readonly disk: Uint8Array;
}

/** Carries a program out. No step but a flush says anything of what is on stable storage. */
async function record(program: Program): Promise<{ file: RecordedFile; moments: Moment[]; written: Step[] }> {
  const file = new RecordedFile({ lengthBytes: 0 });
  const graph = await graphOn(file);
  const { clusterBits, lazy, refcountBits } = program;
  await graph.create({
    driver: "qcow2",
    file: "file",
    size: DISK,
    "cluster-size": 2 ** clusterBits,
    "lazy-refcounts": lazy,
    "refcount-bits": refcountBits,
  });
  const start = file.changes.length;
  const node = await graph.open({
    driver: "qcow2",
    file: "file",
    discard: "unmap",
    "l2-cache-size": 4096,
    ...program.options,
  });
  const moments: Moment[] = [{ changes: start, disk: new Uint8Array(DISK) }];
  let [fill, known] = [1, true];
  for (const { op, at, length } of program.steps) {
    const offset = Math.min(at * 512, node.lengthBytes - 512);
    const bytes = Math.min(length * 512, node.lengthBytes - offset);
    if (op === "write") await node.write(offset, IoVector.of(new Uint8Array(bytes).fill(fill++)));
    else if (op === "compressed")
      await node.write(offset, IoVector.of(new Uint8Array(bytes).fill(fill++)), { compressed: true });
    else if (op === "zero") await node.writeZeroes(offset, bytes, { mayUnmap: length % 2 === 0 });
    else if (op === "discard") await node.discard(offset, bytes);
    else if (op === "resize") {
      await node.resize(Math.max(512, at * 512));
      known = false;
    } else if (known) {
      await node.flush();
      const disk = new Uint8Array(node.lengthBytes);
      await node.read(0, IoVector.of(disk));
      moments.push({ changes: file.changes.length, disk });
    }
  }
  await graph.release(node);
  return { file, moments, written: program.steps.filter(({ op }) => op !== "flush") };
}

/** Opens what a crash left, writable, so that it is repaired if it must be; the check finds no count that is too low. */
async function examine(bytes: Uint8Array): Promise<Uint8Array> {
  const graph = await graphOn(bytes);
  const node = await graph.open({ driver: "qcow2", file: "file" });
  const driver = node.driver as Qcow2Driver;
  const { damage, corruptions } = await checkImage(driver.image);
  expect({ damage, corruptions }).toEqual({ damage: [], corruptions: 0 });
  const disk = new Uint8Array(node.lengthBytes);
  await node.read(0, IoVector.of(disk));
  await graph.release(node);
  return disk;
}

/** Sectors that no step after a moment touched must be as they were then. */
function expectKept(disk: Uint8Array, { disk: before }: Moment, later: ReadonlySet<number>): void {
  for (let sector = 0; sector < before.length / 512; sector++) {
    if (later.has(sector)) continue;
    const at = sector * 512;
    if (!Buffer.from(disk.buffer, at, 512).equals(Buffer.from(before.buffer, at, 512)))
      expect.fail(`sector ${sector} was flushed and is lost`);
  }
}

describeWithTools(["qemu-img"], "crashes of qcow2 images", () => {
  it("leave leaked clusters at worst, and what was flushed", { timeout: 3_600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(programs, fc.infiniteStream(fc.boolean()), async (program, coins) => {
        const { file, moments, written } = await record(program);
        const { changes } = file;
        const resized = written.some(({ op }) => op === "resize");
        for (let count = moments[0]!.changes; count <= changes.length; count++) {
          for (const reordered of [false, true]) {
            const bytes = fileAfter(changes, count, () => reordered && (coins.next().value as boolean));
            const disk = await examine(bytes);
            if (resized) continue;
            const moment = moments.findLast((candidate) => candidate.changes <= count)!;
            const flushes = moments.indexOf(moment);
            expectKept(disk, moment, touchedAfter(program.steps, flushes));
          }
        }
        const folder = new ImageFolder();
        try {
          writeFileSync(folder.file("disk.qcow2"), file.bytes);
          expect(folder.check("disk.qcow2")).toBe(CLEAN);
        } finally {
          await folder.dispose();
        }
      }),
      { numRuns: RUNS },
    );
  });
});

/** Sectors that steps behind the flush number `flushes` touch. */
function touchedAfter(list: readonly Step[], flushes: number): Set<number> {
  const touched = new Set<number>();
  let seen = 0;
  for (const { op, at, length } of list) {
    if (op === "flush") seen++;
    if (op === "flush" || seen < flushes) continue;
    for (let sector = at; sector < at + length; sector++) touched.add(sector);
  }
  return touched;
}

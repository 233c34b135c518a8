// Debian's own programs as judges of what a program of the qcow2 model test has left.

import { createHash } from "node:crypto";
import { expect } from "vitest";
import { backingOf } from "../../../src/block/block-status.ts";
import type { BlockNode } from "../../../src/block/node.ts";
import { hashesByQemu } from "../../block/drivers/qcow2/bitmap-tools.ts";
import { type MapEntry, mapOf, mapOfTool } from "./block-map.ts";
import type { Program } from "./program.ts";
import { type Outcome, runProgram, type ToolSteps } from "./run-program.ts";
import { expectBytes, type Stage } from "./stage.ts";
import type { ToolImage } from "./start-images.ts";
import { ToolFolder } from "./tool-folder.ts";
import type { StoredBitmap } from "./twin.ts";

const CLEAN = 0;
const LEAKS = 3;
const IDENTICAL = "Images are identical.\n";

/** Runs a program, in which the tools take part, and then lets them judge all images. */
export async function runJudged(program: Program, start: readonly ToolImage[]): Promise<void> {
  const folder = new ToolFolder();
  try {
    const judge = new Judge(folder, program, start);
    await judge.judge(await runProgram(program, judge));
  } finally {
    folder.dispose();
  }
}

class Judge implements ToolSteps {
  readonly start: readonly ToolImage[];
  readonly #folder: ToolFolder;
  readonly #program: Program;
  #map: readonly MapEntry[] = [];
  #rawDepth: number | undefined;

  constructor(folder: ToolFolder, program: Program, start: readonly ToolImage[]) {
    this.#folder = folder;
    this.#program = program;
    this.start = start;
  }

  write({ files }: Stage, start: number, length: number, value: number): void {
    this.#folder.writeAll(files);
    this.#folder.run("qemu-io", "-f", "qcow2", "-c", `write -P ${value} ${start} ${length}`, "disk.qcow2");
    files.put("disk.qcow2", this.#folder.read("disk.qcow2"));
  }

  async mapped(node: BlockNode): Promise<void> {
    this.#rawDepth = rawDepthOf(node);
    this.#map = await mapOf(node, this.#rawDepth);
  }

  async judge({ stage, twin, backups }: Outcome): Promise<void> {
    const folder = this.#folder;
    folder.writeAll(stage.files);
    folder.write("model.raw", twin.bytes);
    const verdicts = [
      this.#check("disk.qcow2", twin.mayLeak),
      this.#compare("disk.qcow2", "model.raw"),
      this.#info("disk.qcow2", twin.shown),
      this.#compareMap(),
      this.#compareSnapshots(),
    ];
    this.#compareBits(twin.stored);
    for (const { file, shows } of backups) {
      verdicts.push(this.#check(file, false));
      if (shows === undefined) continue;
      folder.write(`${file}.raw`, shows);
      verdicts.push(this.#compare(file, `${file}.raw`));
    }
    await Promise.all(verdicts);
  }

  async #check(file: string, mayLeak: boolean): Promise<void> {
    const { status, stdout, stderr } = await this.#folder.start("qemu-img", "check", "-f", "qcow2", file);
    const allowed = mayLeak ? [CLEAN, LEAKS] : [CLEAN];
    if (!allowed.includes(status)) expect.fail(`qemu-img check ${file}: ${status} ${stdout}${stderr}`);
  }

  async #compare(file: string, raw: string): Promise<void> {
    const { stdout, stderr } = await this.#folder.start("qemu-img", "compare", "-f", "qcow2", "-F", "raw", file, raw);
    expect(stdout + stderr, `qemu-img compare ${file}`).toBe(IDENTICAL);
  }

  async #info(file: string, bitmaps: readonly object[]): Promise<void> {
    const { stdout } = await this.#folder.start("qemu-img", "info", "--output=json", file);
    const info = JSON.parse(stdout) as { "format-specific": { data: { bitmaps?: object[] } } };
    expect(info["format-specific"].data.bitmaps ?? [], `bitmaps in ${file}`).toEqual(bitmaps);
  }

  /** As qemu-storage-daemon loads them; what is in use nobody loads. */
  #compareBits(stored: readonly StoredBitmap[]): void {
    const right = stored.filter(({ inUse }) => !inUse);
    if (right.length === 0) return;
    const hashes = hashesByQemu(this.#folder, "disk.qcow2");
    for (const { name, bits } of right) {
      const hash = createHash("sha256").update(bits.packed(true)).digest("hex");
      expect(hashes[name], `bits of bitmap ${name}`).toBe(hash);
    }
  }

  async #compareMap(): Promise<void> {
    const { stdout } = await this.#folder.start("qemu-img", "map", "--output=json", "disk.qcow2");
    expect(this.#map, "map of disk.qcow2").toEqual(mapOfTool(stdout, this.#rawDepth));
  }

  async #compareSnapshots(): Promise<void> {
    const { start } = this.#program;
    if (start === undefined) return;
    for (const [name, disk] of this.start[start % this.start.length]!.snapshots) {
      const raw = `${name}.raw`;
      const from = ["-f", "qcow2", "-l", `snapshot.name=${name}`, "disk.qcow2"];
      const { status, stderr } = await this.#folder.start("qemu-img", "convert", ...from, "-O", "raw", raw);
      expect(status, `snapshot ${name}: ${stderr}`).toBe(0);
      const shown = this.#folder.read(raw);
      // Of a disk that was resized since, as much as the disk has now.
      const length = Math.min(shown.length, disk.length);
      expectBytes(shown.subarray(0, length), disk.subarray(0, length), `snapshot ${name}`);
    }
  }
}

/** How far down a raw file is. */
function rawDepthOf(node: BlockNode): number | undefined {
  let depth = 0;
  for (let at: BlockNode | undefined = node; at !== undefined; at = backingOf(at), depth++)
    if (at.driver.driverName === "raw") return depth;
  return undefined;
}

// Runs a program on an image and on its twin, and looks at both after every step.

import { expect } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import { backingOf } from "../../../src/block/block-status.ts";
import type { Qcow2Driver } from "../../../src/block/drivers/qcow2/qcow2.ts";
import type { BlockNode } from "../../../src/block/node.ts";
import { Random } from "../../support/simulation.ts";
import { Backup, type BackupImage } from "./backups.ts";
import { BitmapSteps } from "./bitmap-steps.ts";
import { examineCrash, recoverFromCrash } from "./crash.ts";
import { Guest } from "./guest.ts";
import type { GuestStep, NodeOptions, Place, Program, Step } from "./program.ts";
import { type Below, checkFile, checkLive, contents, expectBytes, imageOptions, Stage } from "./stage.ts";
import { ImageTwin } from "./twin.ts";

const SECTOR = 512;
const MAX_BACKUPS = 4;
/** Of so many steps, after one it is looked at what a crash would leave. */
const CRASH_EVERY = 3;

/** An image that something else has made, and its disk. */
export interface StartImage {
  readonly bytes: Uint8Array;
  readonly disk: Uint8Array;
  readonly version: 2 | 3;
}

/** What is there when a program has ended, with nothing open. */
export interface Outcome {
  readonly stage: Stage;
  readonly twin: ImageTwin;
  readonly backups: readonly BackupImage[];
}

/** The real tools, where there are any. */
export interface ToolSteps {
  readonly start: readonly StartImage[];
  /** Writes `length` bytes by qemu-io. */
  write(stage: Stage, start: number, length: number, value: number): void;
  /** Looks at an image that is complete in its file, while the program still has it open. */
  mapped(node: BlockNode): Promise<void>;
}

/** Throws where image and twin differ. */
export async function runProgram(program: Program, tools?: ToolSteps): Promise<Outcome> {
  const run = new Run(program, tools);
  await run.begin();
  for (const step of program.steps) await run.perform(step);
  return run.end();
}

class Run {
  readonly #program: Program;
  readonly #tools: ToolSteps | undefined;
  readonly #stage: Stage;
  readonly #backups: BackupImage[] = [];
  #twin!: ImageTwin;
  #node!: BlockNode;
  #below: Below | undefined;
  #version: 2 | 3;
  #hasSnapshots = false;
  #options: NodeOptions;
  #steps = 0;

  constructor(program: Program, tools: ToolSteps | undefined) {
    this.#program = program;
    this.#tools = tools;
    this.#version = program.shape.version;
    this.#options = program.options;
    this.#stage = new Stage(new Random(program.seed));
  }

  async begin(): Promise<void> {
    const { start, delayed, shape, sectors } = this.#program;
    const made = start === undefined ? undefined : this.#tools?.start[start % this.#tools.start.length];
    this.#stage.files.delayed = delayed;
    if (made !== undefined) {
      this.#stage.files.put("disk.qcow2", made.bytes.slice());
      this.#twin = new ImageTwin(made.disk.slice());
      this.#version = made.version;
      this.#hasSnapshots = true;
    } else {
      const shown = await this.#makeBelow();
      const bytes = new Uint8Array(sectors * SECTOR);
      bytes.set(shown.subarray(0, bytes.length));
      await this.#stage.createImage("disk.qcow2", bytes.length, shape, this.#below);
      this.#twin = new ImageTwin(bytes);
    }
    await this.#open();
    await this.#check("at first");
  }

  async perform(step: Step): Promise<void> {
    await this.#perform(step);
    await this.#check(`after step ${++this.#steps}, ${step.op}`);
  }

  async end(): Promise<Outcome> {
    const node = this.#node;
    await node.flush();
    expectBytes(await contents(node), this.#twin.bytes, "the disk at the end");
    await this.#tools?.mapped(node);
    await this.#close();
    await checkFile(this.#stage.files, "disk.qcow2", this.#twin.mayLeak, "at the end");
    await this.#stage.dispose();
    return { stage: this.#stage, twin: this.#twin, backups: this.#backups };
  }

  async #perform(step: Step): Promise<void> {
    const twin = this.#twin;
    switch (step.op) {
      case "write":
      case "zero":
      case "zero-unmap":
      case "discard":
      case "compressed":
        return twin.readOnly ? this.#refused(step) : this.#guest.request(step);
      case "burst":
        return twin.readOnly ? undefined : this.#guest.burst(step.place, step.requests);
      case "read":
        return this.#guest.read(step.place);
      case "flush":
        await this.#node.flush();
        return twin.flushed();
      case "resize":
        return this.#resize(step.sectors * SECTOR);
      case "backup":
        return this.#backup(step);
      case "close":
        await this.#close();
        await checkFile(this.#stage.files, "disk.qcow2", twin.mayLeak, "when closed");
        return this.#open();
      case "options":
        this.#options = step.options;
        return this.#carryOutReopen(twin.readOnly);
      case "inactivate":
        return this.#inactivate();
      case "read-only":
        return this.#reopen(true);
      case "read-write":
        return this.#reopen(false);
      case "crash":
        await recoverFromCrash(this.#stage, twin);
        return this.#open();
      case "qemu-io":
        return this.#writeByTool(step.place, step.value);
      default:
        return new BitmapSteps(this.#stage, twin, this.#node, this.#version).perform(step);
    }
  }

  get #guest(): Guest {
    return new Guest(this.#node, this.#twin, this.#version === 2 && this.#below !== undefined);
  }

  /** Files below the image; returns what they show. */
  async #makeBelow(): Promise<Uint8Array> {
    const { backing, backingSectors, middle, middleSteps } = this.#program;
    const stage = this.#stage;
    let shown = new Uint8Array(0);
    if (backing === "raw" || backing === "both") {
      shown = patterned(backingSectors);
      stage.files.put("base.raw", shown.slice());
      this.#below = { file: "base.raw", format: "raw" };
    }
    if (backing === "qcow2" || backing === "both") {
      // As long as the one below it, or a little longer.
      const bytes = new Uint8Array((backingSectors + 9) * SECTOR);
      bytes.set(shown);
      await stage.createImage("middle.qcow2", bytes.length, middle, this.#below);
      const twin = new ImageTwin(bytes);
      const node = await stage.addImage("middle", "middle.qcow2");
      const guest = new Guest(node, twin, middle.version === 2 && this.#below !== undefined);
      for (const step of middleSteps) await guest.request(step);
      expectBytes(await contents(node), twin.bytes, "the backing image");
      await stage.remove("middle");
      shown = twin.bytes as Uint8Array<ArrayBuffer>;
      this.#below = { file: "middle.qcow2", format: "qcow2" };
    }
    return shown;
  }

  async #open(): Promise<void> {
    this.#twin.readOnly = false;
    this.#node = await this.#stage.addImage("disk", "disk.qcow2", this.#nodeOptions());
    this.#twin.load();
    this.#twin.flushed();
  }

  /** Without what an old image cannot do. */
  #nodeOptions(): object {
    const { "lazy-refcounts": lazy, "discard-no-unref": noUnref, ...any } = this.#options;
    if (this.#version === 2) return any;
    return this.#options;
  }

  async #close(): Promise<void> {
    await this.#stage.remove("disk");
    this.#twin.store();
    this.#twin.ram = [];
  }

  async #reopen(readOnly: boolean): Promise<void> {
    const twin = this.#twin;
    if (twin.readOnly === readOnly) return;
    await this.#carryOutReopen(readOnly);
    if (readOnly) twin.store();
    else for (const entry of twin.stored) entry.inUse = true;
    for (const bitmap of twin.ram) if (bitmap.persistent) bitmap.readonly = readOnly;
    twin.readOnly = readOnly;
    twin.flushed();
    if (readOnly) await checkFile(this.#stage.files, "disk.qcow2", twin.mayLeak, "when read-only");
  }

  async #carryOutReopen(readOnly: boolean): Promise<void> {
    const backing = backingOf(this.#node)?.name;
    const options = {
      ...this.#nodeOptions(),
      ...(backing === undefined ? {} : { backing }),
      "read-only": readOnly,
    };
    await this.#stage.execute("blockdev-reopen", { options: [imageOptions("disk", "disk.qcow2", options)] });
  }

  /** And takes it back. */
  async #inactivate(): Promise<void> {
    const { files } = this.#stage;
    const twin = this.#twin;
    await this.#stage.execute("blockdev-set-active", { "node-name": "disk", active: false });
    twin.store();
    twin.ram = twin.ram.filter(({ persistent, inconsistent }) => !persistent || inconsistent);
    twin.flushed();
    twin.check(this.#node.bitmaps, "when inactive");
    expect(await checkFile(files, "disk.qcow2", twin.mayLeak, "when inactive"), "inactive, and not dirty").toBe(true);
    await examineCrash(this.#stage, twin);
    await this.#stage.execute("blockdev-set-active", { "node-name": "disk", active: true });
    twin.load();
  }

  /** Nothing may change. */
  async #refused(step: GuestStep): Promise<void> {
    const writing = async (): Promise<void> => {
      const sector = IoVector.of(new Uint8Array(SECTOR));
      if (step.op === "discard") await this.#node.discard(0, SECTOR);
      else if (step.op === "write" || step.op === "compressed") await this.#node.write(0, sector);
      else await this.#node.writeZeroes(0, SECTOR);
    };
    await expect(writing()).rejects.toThrow("Block node is read-only");
  }

  async #resize(lengthBytes: number): Promise<void> {
    const twin = this.#twin;
    const refusal = this.#resizeRefusal(lengthBytes);
    const resizing = this.#stage.execute("block_resize", { "node-name": "disk", size: lengthBytes });
    if (refusal !== undefined) return expect(resizing).rejects.toThrow(refusal);
    await resizing;
    twin.resize(lengthBytes);
  }

  #resizeRefusal(lengthBytes: number): string | undefined {
    const { readOnly, stored, ram } = this.#twin;
    if (readOnly) return "Image is read-only";
    const bad = stored.find(({ name }) => ram.some((bitmap) => bitmap.name === name && bitmap.inconsistent));
    if (bad !== undefined) return `Bitmap '${bad.name}' is inconsistent and cannot be used`;
    if (this.#version === 2 && this.#hasSnapshots && lengthBytes >= 0)
      return "Can't resize a v2 image which has snapshots";
    return undefined;
  }

  async #backup(step: Extract<Step, { op: "backup" }>): Promise<void> {
    if (this.#backups.length === MAX_BACKUPS) return;
    const source = { stage: this.#stage, node: this.#node, twin: this.#twin, guest: this.#guest, below: this.#below };
    const backup = Backup.of(source, step, this.#backups);
    if (backup !== undefined) this.#backups.push(await backup.run());
  }

  /** Enabled bitmaps of the image take note of what qemu-io writes. */
  async #writeByTool(place: Place, value: number): Promise<void> {
    if (this.#tools === undefined) return;
    const range = this.#guest.range(place);
    await this.#close();
    this.#tools.write(this.#stage, range.start, range.length, value);
    this.#twin.bytes.fill(value, range.start, range.start + range.length);
    for (const { bits, auto, inUse } of this.#twin.stored) if (auto && !inUse) bits.set(range.start, range.length);
    await this.#open();
  }

  async #check(when: string): Promise<void> {
    const twin = this.#twin;
    const driver = this.#node.driver as Qcow2Driver;
    expect(driver.lengthBytes, `length ${when}`).toBe(twin.bytes.length);
    expect(driver.image.corrupt).toBe(false);
    twin.check(this.#node.bitmaps, when);
    await checkLive(this.#node, twin.mayLeak, when);
    if (this.#steps % CRASH_EVERY === 1) await examineCrash(this.#stage, twin);
    else await checkFile(this.#stage.files, "disk.qcow2", true, `in the file ${when}`);
  }
}

/** Runs of sectors that say where they are, and of zeroes. */
function patterned(sectors: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sectors * SECTOR);
  for (let sector = 0; sector < sectors; sector++)
    if (Math.floor(sector / 14) % 3 !== 0) bytes.fill(1 + (sector % 251), sector * SECTOR, (sector + 1) * SECTOR);
  return bytes;
}

// Backups in the qcow2 model test: from the image to another one, of which it is known what it must show. docs/reference/backup.md §3.

import { expect } from "vitest";
import type { BlockNode } from "../../../src/block/node.ts";
import { FlatBitmap } from "../../bitmap/flat-bitmap.ts";
import type { Guest } from "./guest.ts";
import type { BackupStep } from "./program.ts";
import { type Below, checkFile, checkLive, contents, expectBytes, type Stage } from "./stage.ts";
import type { ImageTwin, RamBitmap } from "./twin.ts";

const MIN_CLUSTER = 65536;
const DRIVE_BACKUP_CLUSTER = 65536;

/** An image that a backup has made. */
export interface BackupImage {
  readonly file: string;
  /** What it shows with all that it stands on; undefined where that is not known. */
  readonly shows: Uint8Array | undefined;
}

/** What a backup is made of. */
export interface BackupSource {
  readonly stage: Stage;
  readonly node: BlockNode;
  readonly twin: ImageTwin;
  readonly guest: Guest;
  /** What the image stands on. */
  readonly below: Below | undefined;
}

/** One job, from T0 to its end. */
export class Backup {
  readonly #source: BackupSource;
  readonly #step: BackupStep;
  readonly #file: string;
  readonly #earlier: readonly BackupImage[];
  readonly #sync: BackupStep["sync"];
  readonly #bitmap: RamBitmap | undefined;
  readonly #t0: Uint8Array;
  /** Of the bitmap. */
  readonly #before: FlatBitmap | undefined;

  /** Undefined where there is nothing to do: no bitmap that the job could take. `earlier` are the images of those before. */
  static of(source: BackupSource, step: BackupStep, earlier: readonly BackupImage[]): Backup | undefined {
    const named = step.sync === "incremental" || step.sync === "bitmap";
    const bitmap = source.twin.find(step.bitmap);
    const usable = bitmap !== undefined && !bitmap.inconsistent && !bitmap.readonly;
    if (named && !usable) return undefined;
    if (source.twin.readOnly && step.during.length > 0) return Backup.of(source, { ...step, during: [] }, earlier);
    const takes = usable && step.sync !== "none" && (named || step.mode !== "never");
    return new Backup(source, step, takes ? bitmap : undefined, earlier);
  }

  private constructor(
    source: BackupSource,
    step: BackupStep,
    bitmap: RamBitmap | undefined,
    earlier: readonly BackupImage[],
  ) {
    this.#source = source;
    this.#step = step;
    this.#earlier = earlier;
    this.#file = `b${earlier.length}.qcow2`;
    this.#bitmap = bitmap;
    this.#before = bitmap?.bits.clone();
    this.#t0 = source.twin.bytes.slice();
    const alone = source.below === undefined;
    this.#sync = step.drive && step.sync === "top" && alone ? "full" : step.sync;
  }

  async run(): Promise<BackupImage> {
    const { stage, guest, twin } = this.#source;
    const { drive, during } = this.#step;
    if (!drive) await this.#makeTarget();
    const name = `${this.#step.sync} backup to ${this.#file}`;
    // While the job has the bitmap, what guests write goes to another one.
    this.#bitmap?.bits.bits.fill(0);
    await stage.execute(drive ? "drive-backup" : "blockdev-backup", this.#arguments());
    const job = [...stage.jobs].find(({ id }) => id === "job")!;
    for (const step of during) await guest.requestDuringJob(step);
    const node = drive ? undefined : stage.graph.getNode("target");
    if (this.#sync !== "none") await stage.untilPending(job);
    else if (node !== undefined) expectBytes(await contents(node), this.#t0, `what fleecing shows of ${this.#file}`);
    await stage.execute(this.#isCancelled ? "job-cancel" : "job-finalize", { id: "job" });
    const outcome = await job.untilConcluded();
    expect(outcome.kind, `${name}: ${JSON.stringify(outcome)}`).toBe(this.#isCancelled ? "cancelled" : "completed");
    await stage.execute("job-dismiss", { id: "job" });
    this.#endBitmap();
    const shows = await this.#check(node, name);
    expect(twin.bytes.length).toBe(this.#t0.length);
    return { file: this.#file, shows };
  }

  get #isCancelled(): boolean {
    return this.#sync === "none" || this.#step.cancel;
  }

  /** The bitmap forgets what is on the target: §3.1, where nothing is left to be copied. */
  get #forgets(): boolean {
    const { sync, mode, cancel } = this.#step;
    if (sync === "incremental" || mode === "on-success") return !cancel;
    return mode === "always";
  }

  /** As incremental backups are chained: on the one before. Of the top layer, on what that stands on. */
  get #targetBelow(): Below | undefined {
    const { below } = this.#source;
    if (this.#sync === "top") return below;
    const chain = this.#bitmap?.chain;
    const named = this.#sync === "incremental" || this.#sync === "bitmap";
    return named && chain !== undefined ? { file: chain, format: "qcow2" } : undefined;
  }

  async #makeTarget(): Promise<void> {
    const { stage } = this.#source;
    const below = this.#targetBelow;
    await stage.createImage(this.#file, this.#t0.length, this.#step.target, below);
    await stage.addImage("target", this.#file, this.#sync === "none" ? { backing: "disk" } : {});
  }

  #arguments(): object {
    const { sync, mode, compress, chunkClusters, drive, target } = this.#step;
    const cluster = drive ? DRIVE_BACKUP_CLUSTER : Math.max(MIN_CLUSTER, 2 ** target.clusterBits);
    return {
      "job-id": "job",
      device: "disk",
      target: drive ? this.#file : "target",
      sync,
      compress,
      // What guests write meanwhile comes before the end, and what they discard is of no effect.
      "auto-finalize": false,
      "auto-dismiss": false,
      ...(drive ? { format: "qcow2" } : {}),
      ...(this.#bitmap === undefined ? {} : { bitmap: this.#bitmap.name }),
      ...(this.#bitmap === undefined || sync === "incremental" ? {} : { "bitmap-mode": mode }),
      "x-perf": { "max-workers": 1 + (chunkClusters % 2), "max-chunk": chunkClusters * cluster },
    };
  }

  #endBitmap(): void {
    const bitmap = this.#bitmap;
    if (bitmap === undefined) return;
    const { twin } = this.#source;
    if (!this.#forgets) return bitmap.bits.merge(this.#before!);
    // The successor has taken the name, at the head of the list.
    twin.ram = [bitmap, ...twin.ram.filter((other) => other !== bitmap)];
  }

  /** What the target shows is as it must be, as far as that is known; which is returned. */
  async #check(target: BlockNode | undefined, name: string): Promise<Uint8Array | undefined> {
    const { stage } = this.#source;
    const expected = this.#expected();
    const node = target ?? (await stage.addImage("target", this.#file));
    if (expected !== undefined) expectBytes(await contents(node), expected, name);
    await checkLive(node, false, `after ${name}`);
    await stage.execute("blockdev-del", { "node-name": "target" });
    await checkFile(stage.files, this.#file, false, `after ${name}`);
    this.#extendChain(expected);
    return expected;
  }

  #expected(): Uint8Array | undefined {
    switch (this.#sync) {
      case "full":
      case "top":
        return this.#t0;
      case "none":
        return undefined;
      default:
        return this.#copiedFrom(this.#shownBelow());
    }
  }

  #shownBelow(): Uint8Array | undefined {
    if (this.#step.drive) return new Uint8Array(this.#t0.length);
    const below = this.#targetBelow;
    if (below === undefined) return new Uint8Array(this.#t0.length);
    return this.#earlier.find(({ file }) => file === below.file)?.shows;
  }

  /** Clusters that the bitmap names are those of T0. */
  #copiedFrom(below: Uint8Array | undefined): Uint8Array | undefined {
    if (below === undefined) return undefined;
    const { drive, target } = this.#step;
    const clusterBytes = drive ? DRIVE_BACKUP_CLUSTER : Math.max(MIN_CLUSTER, 2 ** target.clusterBits);
    const clusters = new FlatBitmap(this.#t0.length, clusterBytes);
    clusters.merge(this.#before!);
    const shows = below.slice();
    for (const [i, covered] of clusters.bits.entries()) {
      const [from, to] = [i * clusterBytes, (i + 1) * clusterBytes];
      if (covered === 1) shows.set(this.#t0.subarray(from, to), from);
    }
    return shows;
  }

  /** From a full backup on, every one that stands on the one before comes to the whole disk. */
  #extendChain(shows: Uint8Array | undefined): void {
    const bitmap = this.#bitmap;
    if (bitmap === undefined || shows === undefined) return;
    const { drive } = this.#step;
    const continues = this.#sync !== "full" && this.#sync !== "top" && bitmap.chain !== undefined && !drive;
    if (continues) expectBytes(shows, this.#t0, `the chain of bitmap ${bitmap.name} up to ${this.#file}`);
    if (!this.#forgets) return;
    const begins = this.#sync === "full" || this.#sync === "top";
    bitmap.chain = (begins || continues) && bitmap.recording ? this.#file : undefined;
  }
}

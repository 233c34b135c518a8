// What a backup must have done when it has ended, told from outside: docs/reference/backup.md §3, §3.1, §4.9.

import { expect } from "vitest";
import type { DirtyBitmap } from "../../src/bitmap/dirty-bitmap.ts";
import { backingOf } from "../../src/block/block-status.ts";
import type { BlockNode } from "../../src/block/node.ts";
import type { Job } from "../../src/job/job.ts";
import type { JsonObject } from "../../src/qmp/json/value.ts";
import { FlatBitmap } from "../bitmap/flat-bitmap.ts";
import { same } from "../support/copy-pair.ts";
import { FaultyDriver } from "../support/faulty-driver.ts";
import type { Change, TwinBitmap } from "./flat-disk.ts";
import { contents, type Disk, isHole, type World } from "./world.ts";

const MIN_CLUSTER = 65536;

/** A backup, from the moment T0 on in which it was made. */
export class BackupTwin {
  readonly job: Job;
  readonly #world: World;
  readonly #args: JsonObject;
  readonly #sync: string;
  readonly #source: BlockNode;
  readonly #target: BlockNode;
  readonly #disk: Disk | undefined;
  readonly #t0: Uint8Array;
  readonly #clusterBytes: number;
  /** What guests have changed since T0, until a cancel. */
  readonly #changes: Change[] = [];
  #changedAfterCancel = false;
  readonly #faultsAtT0: number;
  #bitmap: TwinBitmap | undefined;
  /** What the bitmap held at T0: P. */
  #before: FlatBitmap | undefined;
  /** What the job's bitmap has while the job has it. */
  readonly #successor: DirtyBitmap | undefined;
  /** The command that made it has succeeded. */
  started = false;
  ended = false;
  succeeded = false;
  /** Somebody else writes where its target is: what is there says nothing. */
  shared = false;

  /** To be made when the job is. */
  constructor(world: World, job: Job, args: JsonObject) {
    this.job = job;
    this.#world = world;
    this.#args = args;
    this.#source = world.graph.lookup(String(args["device"])).node;
    this.#target = targetOf(this.#source);
    const isDriveBackup = args["target"] !== this.#target.name;
    const standsAlone = backingOf(this.#source) === undefined;
    this.#sync = isDriveBackup && args["sync"] === "top" && standsAlone ? "full" : String(args["sync"]);
    this.#disk = world.disks.find(({ node }) => node === bottom(this.#source));
    this.#t0 = (this.#source.name === "s2" ? world.snapshot : contents(this.#source)).slice();
    this.#successor = this.#realBitmap()?.successor;
    const perf = (args["x-perf"] ?? {}) as JsonObject;
    const ofTarget = this.#target.driver.clusterSizeBytes ?? 0;
    this.#clusterBytes = Math.max(MIN_CLUSTER, Number(perf["min-cluster-size"] ?? 0), ofTarget);
    this.#faultsAtT0 = world.faultCount;
  }

  /** Nodes that what is written to the target comes to. */
  get written(): Set<BlockNode> {
    return writtenThrough(this.#target);
  }

  /** The disk whose data it discards when they are copied. */
  get discards(): Disk | undefined {
    return this.#args["discard-source"] === true && !isSnapshot(this.#source) ? this.#disk : undefined;
  }

  /** Nodes that its discards come to: a copy-before-write filter there writes to its target before. */
  get discarded(): Set<BlockNode> {
    return this.#args["discard-source"] === true && !isSnapshot(this.#source)
      ? writtenThrough(this.#source)
      : new Set();
  }

  /** It discards below what another copies: as with any write there, nobody asks the other first. */
  takesFrom(other: BackupTwin): boolean {
    return this.discards !== undefined && this.discards === other.#disk && this.#source !== other.#source;
  }

  note(disk: Disk, change: Change): void {
    if (disk !== this.#disk) return;
    if (this.job.cancelled) this.#changedAfterCancel = true;
    else this.#changes.push(change);
  }

  /** Its command has succeeded: takes its bitmap, in the state in which the actions before it have left it. */
  start(): void {
    expect(this.ended, `job ${this.job.id} ended before its command did`).toBe(false);
    this.started = true;
    const name = this.#args["bitmap"];
    if (typeof name !== "string") return;
    this.#bitmap = this.#disk!.flat.freeze(name);
    this.#before = this.#bitmap.bits.clone();
  }

  /** The job has just given back what it had: what it has left behind is what §3.1 says. */
  end(): void {
    this.ended = true;
    if (!this.started) return;
    this.#disk?.flat.advance(this.#disk.flat.changes.length);
    const covered = this.#covered();
    const readable = !this.shared && covered !== undefined && !this.#isBroken();
    if (readable && (this.succeeded || this.#sync === "none")) this.#checkTarget(covered);
    if (this.#bitmap !== undefined) this.#endBitmap(this.#bitmap, readable ? covered : undefined);
  }

  /** The job has given its bitmap back. It may have to close nodes before it says that it has concluded. */
  get gaveBitmapBack(): boolean {
    return this.#bitmap !== undefined && this.#realBitmap()?.successor !== this.#successor;
  }

  #realBitmap(): DirtyBitmap | undefined {
    const name = this.#args["bitmap"];
    return typeof name === "string" ? this.#disk?.node.bitmaps.find(name) : undefined;
  }

  /** With `break-snapshot` a fault of a guest's copy is told nobody. */
  #isBroken(): boolean {
    return this.#args["on-cbw-error"] === "break-snapshot" && this.#world.faultCount > this.#faultsAtT0;
  }

  /** By cluster, whether it belongs to the copy; undefined where that cannot be told from outside. */
  #covered(): Uint8Array | undefined {
    const clusters = new FlatBitmap(this.#t0.length, this.#clusterBytes);
    if (this.#source.name !== "s2" && isSnapshot(this.#source)) return undefined;
    switch (this.#sync) {
      case "full":
        return clusters.bits.fill(1);
      case "top":
        return this.#allocated(clusters);
      case "none":
        if (this.#disk === undefined || this.#source.name === "s2") return undefined;
        for (const { offsetBytes, lengthBytes } of this.#changes) clusters.set(offsetBytes, lengthBytes);
        return clusters.bits;
      default:
        clusters.merge(this.#before!);
        return clusters.bits;
    }
  }

  #allocated(clusters: FlatBitmap): Uint8Array | undefined {
    if (this.#disk === undefined || this.#source.name === "s2") return undefined;
    for (let at = 0; at < this.#t0.length; at += 4096) if (!isHole(this.#t0, at)) clusters.set(at, 1);
    return clusters.bits;
  }

  #cluster(bytes: Uint8Array, i: number): Uint8Array {
    return bytes.subarray(i * this.#clusterBytes, (i + 1) * this.#clusterBytes);
  }

  /** Where the target stands on the source, all of it shows T0; else what was covered. */
  #checkTarget(covered: Uint8Array): void {
    const target = contents(this.#target);
    const standsOnSource = this.#target.driver.children.some(({ node }) => node === this.#source);
    const fleece = standsOnSource && !this.#changedAfterCancel;
    for (const [i, covers] of covered.entries()) {
      if (covers === 0 && !(fleece && this.#sync === "none")) continue;
      if (same(this.#cluster(target, i), this.#cluster(this.#t0, i))) continue;
      expect.fail(`cluster ${i} on the target of ${this.job.id} is not what it was at T0`);
    }
  }

  /** `covered` is undefined where the target says nothing. */
  #endBitmap(bitmap: TwinBitmap, covered: Uint8Array | undefined): void {
    const { flat } = this.#disk!;
    const mode = this.#sync === "incremental" ? "on-success" : this.#args["bitmap-mode"];
    const moves = mode === "always" || (mode === "on-success" && this.succeeded);
    const written = bitmap.frozen!;
    if (!moves) return flat.reclaim(bitmap);
    flat.abdicate(bitmap);
    if (!this.succeeded) this.#mergeRemaining(bitmap, written, covered);
    this.#extendChain(bitmap, covered);
  }

  /** W ∪ R: R is the job's secret, but what is neither dirty nor on the target is lost. */
  #mergeRemaining(bitmap: TwinBitmap, written: FlatBitmap, covered: Uint8Array | undefined): void {
    const real = this.#disk!.node.bitmaps.get(bitmap.name).bits;
    const allowed = written.clone();
    const clusters = new FlatBitmap(this.#t0.length, this.#clusterBytes);
    clusters.bits.set(this.#possible());
    allowed.merge(clusters);
    const target = contents(this.#target);
    const bits = new FlatBitmap(this.#t0.length, written.granularity);
    for (let bit = 0; bit < bits.bits.length; bit++) {
      bits.bits[bit] = real.get(bit * bits.granularity) ? 1 : 0;
      if (bits.bits[bit]! > allowed.bits[bit]!) expect.fail(`bit ${bit} of ${bitmap.name} is dirty for nothing`);
      if (bits.bits[bit]! < written.bits[bit]!) expect.fail(`bit ${bit} of ${bitmap.name}: a write is lost`);
    }
    bitmap.bits = bits;
    if (covered === undefined) return;
    for (let at = 0; at < this.#t0.length; at += 512) {
      if (covered[Math.floor(at / this.#clusterBytes)] === 0 || bits.get(at)) continue;
      if (!same(target.subarray(at, at + 512), this.#t0.subarray(at, at + 512)))
        expect.fail(`${at} is neither on the target of ${this.job.id} nor dirty in ${bitmap.name}`);
    }
  }

  /** What may count as not copied: a scan of the top layer that did not end leaves more than is allocated. */
  #possible(): Uint8Array {
    const sync = this.#sync;
    const all = new FlatBitmap(this.#t0.length, this.#clusterBytes).bits.fill(1);
    return sync === "top" ? all : this.#covered()!;
  }

  /** The backups of a chain, each on those before it, come to what the disk held at the last one's T0. */
  #extendChain(bitmap: TwinBitmap, covered: Uint8Array | undefined): void {
    const sync = this.#sync;
    if (covered === undefined || sync === "top" || !bitmap.recording) {
      bitmap.chain = undefined;
      return;
    }
    const target = contents(this.#target);
    if (sync === "full" && this.succeeded) bitmap.chain = target.slice();
    const { chain } = bitmap;
    if (chain === undefined) return;
    for (let at = 0; at < chain.length; at += 512) {
      if (covered[Math.floor(at / this.#clusterBytes)] === 0) continue;
      // What is dirty again, or was not copied, comes with the next.
      if (this.succeeded || !bitmap.bits.get(at)) chain.set(target.subarray(at, at + 512), at);
    }
    if (this.succeeded) expect(same(chain, this.#t0), `the chain of ${bitmap.name} up to ${this.job.id}`).toBe(true);
  }
}

/** The image below filters. */
export function bottom(node: BlockNode): BlockNode {
  const { driver } = node;
  const child = driver.children[0]?.node;
  return driver instanceof FaultyDriver || driver.driverName === "memory" || child === undefined ? node : bottom(child);
}

/** What the newest of the jobs that read a node copies it to. */
function targetOf(source: BlockNode): BlockNode {
  const targets = [...source.parents].map(({ filterTarget }) => filterTarget).filter((target) => target !== undefined);
  return targets.at(-1)!;
}

/** It shows what something was at a moment that this model does not know. */
function isSnapshot({ driver }: BlockNode): boolean {
  return driver.driverName === "snapshot-access" || driver.children.some(({ node }) => isSnapshot(node));
}

function writtenThrough(node: BlockNode, nodes: Set<BlockNode> = new Set()): Set<BlockNode> {
  nodes.add(node);
  for (const { role, node: child } of node.driver.children) if (role !== "backing") writtenThrough(child, nodes);
  return nodes;
}

// The machine of the qcow2 model test: a block graph over files in memory, the monitor's commands on it, and a checker of images.

import { expect } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { IoVector } from "../../../src/base/io-vector.ts";
import { type CheckResult, checkImage } from "../../../src/block/drivers/qcow2/check.ts";
import { INCOMPAT_DIRTY } from "../../../src/block/drivers/qcow2/feature-table.ts";
import { openImage } from "../../../src/block/drivers/qcow2/open-image.ts";
import { qcow2Opener } from "../../../src/block/drivers/qcow2/opener.ts";
import type { Qcow2Driver } from "../../../src/block/drivers/qcow2/qcow2.ts";
import { rawOpener } from "../../../src/block/drivers/raw-opener.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import type { BlockNode } from "../../../src/block/node.ts";
import type { Job } from "../../../src/job/job.ts";
import { JobList } from "../../../src/job/job-list.ts";
import { bitmapCommands } from "../../../src/qmp/commands/bitmap.ts";
import { blockdevCommands } from "../../../src/qmp/commands/blockdev.ts";
import { jobCommands } from "../../../src/qmp/commands/job.ts";
import { transactionCommands } from "../../../src/qmp/commands/transaction.ts";
import { QmpServer } from "../../../src/qmp/qmp-server.ts";
import type { Random } from "../../support/simulation.ts";
import { MemoryFiles } from "./memory-files.ts";
import type { Shape } from "./program.ts";

/** What the new image stands on. */
export interface Below {
  readonly file: string;
  readonly format: "raw" | "qcow2";
}

export class Stage {
  readonly files: MemoryFiles;
  readonly graph: BlockGraph;
  readonly jobs: JobList;
  readonly server: QmpServer;

  constructor(random: Random) {
    this.files = new MemoryFiles(random);
    this.graph = graphOn(this.files);
    const { graph } = this;
    this.jobs = new JobList(graph.names);
    const { jobs } = this;
    const clock = systemClock;
    this.server = new QmpServer({ clock, wallClock: { nowMs: () => 0 }, version: "0" });
    this.server.commands.add(
      ...bitmapCommands(graph),
      ...blockdevCommands({ graph, jobs }),
      ...jobCommands(jobs),
      ...transactionCommands({ graph, jobs, clock }),
    );
  }

  execute(name: string, args: object): Promise<unknown> {
    return this.server.execute(name, args);
  }

  async createImage(file: string, sizeBytes: number, shape: Shape, below?: Below): Promise<void> {
    const { version, clusterBits, refcountBits, extended, lazy, preallocation } = shape;
    this.files.put(file, new Uint8Array(0));
    await this.graph.create({
      driver: "qcow2",
      file: { driver: "file", filename: file },
      size: sizeBytes,
      version: `v${version}`,
      "cluster-size": 2 ** clusterBits,
      "refcount-bits": refcountBits,
      "extended-l2": extended,
      "lazy-refcounts": lazy,
      ...(below === undefined ? { preallocation } : { "backing-file": below.file, "backing-fmt": below.format }),
    });
  }

  /** A node over an image file, and over what its header names below it. */
  async addImage(name: string, file: string, options: object = {}): Promise<BlockNode> {
    await this.execute("blockdev-add", imageOptions(name, file, options));
    return this.graph.getNode(name);
  }

  remove(name: string): Promise<unknown> {
    return this.execute("blockdev-del", { "node-name": name });
  }

  /** A job has done its work, or has failed. */
  async untilPending(job: Job): Promise<void> {
    if (["pending", "concluded"].includes(job.status)) return;
    await new Promise<void>((resolve) => {
      const stop = this.jobs.listen((of, event) => {
        if (of !== job || event.kind !== "status-change" || !["pending", "concluded"].includes(event.status)) return;
        stop();
        resolve();
      });
    });
  }

  async dispose(): Promise<void> {
    await this.server.shutdown();
    await this.graph.close();
  }
}

export function imageOptions(name: string, file: string, options: object = {}): object {
  return {
    driver: "qcow2",
    "node-name": name,
    file: { driver: "file", filename: file },
    discard: "unmap",
    ...options,
  };
}

/** Another machine over the same files, as another program would have. */
export function graphOn(files: MemoryFiles): BlockGraph {
  return new BlockGraph({ drivers: [files.opener, rawOpener, qcow2Opener] });
}

/** All that a node shows. */
export async function contents(node: BlockNode): Promise<Uint8Array> {
  const bytes = new Uint8Array(node.lengthBytes).fill(0xee);
  await node.read(0, IoVector.of(bytes));
  return bytes;
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Fails, with where, if the bytes are not these. */
export function expectBytes(seen: Uint8Array, expected: Uint8Array, what: string): void {
  if (same(seen, expected)) return;
  expect(seen.length, `length of ${what}`).toBe(expected.length);
  const at = seen.findIndex((byte, i) => byte !== expected[i]);
  expect.fail(`${what}: ${seen[at]} in place of ${expected[at]} at ${at} (sector ${Math.floor(at / 512)})`);
}

/** An open image contradicts itself nowhere, and has no leaks but what waits for a flush. */
export async function checkLive(node: BlockNode, mayLeak: boolean, when: string): Promise<void> {
  const { image } = node.driver as Qcow2Driver;
  expectWhole(await image.mutex.run(() => checkImage(image)), mayLeak || image.dirty, when);
}

/** The same of what stands in a file, as `vblk check` looks at it. False where the image says that its refcounts are to be repaired. */
export async function checkFile(files: MemoryFiles, file: string, mayLeak: boolean, when: string): Promise<boolean> {
  const graph = graphOn(files);
  const node = await graph.open({ driver: "file", filename: file, "read-only": true });
  const image = await openImage(node, { readOnly: true });
  const isDirty = (image.header.incompatible & INCOMPAT_DIRTY) !== 0n;
  if (!isDirty) expectWhole(await checkImage(image), mayLeak, when);
  await graph.release(node);
  return !isDirty;
}

function expectWhole({ damage, corruptions, leaks, wrongCounts }: CheckResult, mayLeak: boolean, when: string): void {
  expect({ damage, corruptions }, `image ${when}: ${JSON.stringify(wrongCounts.slice(0, 10))}`).toEqual({
    damage: [],
    corruptions: 0,
  });
  if (!mayLeak) expect(leaks, `leaks ${when}: ${JSON.stringify(wrongCounts.slice(0, 10))}`).toBe(0);
}

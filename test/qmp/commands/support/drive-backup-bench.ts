// A graph with a drive and all that backs it up, driven by QMP commands.
import { writeFileSync } from "node:fs";
import { systemClock } from "../../../../src/base/clock.ts";
import { fileOpener } from "../../../../src/block/drivers/file/file-opener.ts";
import { memoryOpener, nullOpener } from "../../../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../../../src/block/drivers/raw-opener.ts";
import { throttleOpener } from "../../../../src/block/filters/throttle.ts";
import { ThrottleGroups } from "../../../../src/block/filters/throttle-group.ts";
import { BlockGraph } from "../../../../src/block/graph.ts";
import type { DriverOpener } from "../../../../src/block/graph-options.ts";
import { JobList } from "../../../../src/job/job-list.ts";
import { bitmapCommands } from "../../../../src/qmp/commands/bitmap.ts";
import { blockdevCommands } from "../../../../src/qmp/commands/blockdev.ts";
import { jobCommands } from "../../../../src/qmp/commands/job.ts";
import { transactionCommands } from "../../../../src/qmp/commands/transaction.ts";
import type { JsonObject } from "../../../../src/qmp/json/value.ts";
import { eventText } from "../../../job/scripted-job.ts";
import { type Execute, executor } from "./invoke.ts";

export const MIB: number = 1 << 20;
/** Of the drive. */
export const LENGTH: number = 4 * MIB;

/** The drive `d` on the node `n`, a raw image in a file, and the node `m` without a drive, both of 4 MiB. */
export class DriveBackupBench {
  readonly graph: BlockGraph;
  readonly jobs: JobList;
  readonly execute: Execute;
  /** What jobs report. */
  events: string[] = [];
  /** The nodes while there is no job. */
  atRest: readonly string[] = [];
  /** By default what drive-backup makes. */
  readonly target: string;
  readonly sourcePath: string;

  private constructor(inFolder: (name: string) => string, more: readonly DriverOpener[]) {
    this.target = inFolder("target.img");
    this.sourcePath = inFolder("source.img");
    const throttle = throttleOpener(new ThrottleGroups(systemClock));
    this.graph = new BlockGraph({ drivers: [rawOpener, nullOpener, memoryOpener, fileOpener(), throttle, ...more] });
    this.jobs = new JobList(this.graph.names);
    const services = { graph: this.graph, jobs: this.jobs, clock: systemClock };
    this.execute = executor([
      ...blockdevCommands(services),
      ...jobCommands(this.jobs),
      ...transactionCommands(services),
      ...bitmapCommands(this.graph),
    ]);
    this.jobs.listen((job, event) => this.events.push(`${job.id} ${eventText(event)}`));
  }

  static async make(inFolder: (name: string) => string, ...more: DriverOpener[]): Promise<DriveBackupBench> {
    const bench = new DriveBackupBench(inFolder, more);
    const { graph } = bench;
    writeFileSync(bench.sourcePath, pattern());
    const node = await graph.open({
      driver: "raw",
      "node-name": "n",
      cache: { direct: true },
      file: { driver: "file", filename: bench.sourcePath },
    });
    graph.addBackend({ name: "d", node });
    await graph.add({ driver: "memory", "node-name": "m", size: LENGTH });
    bench.atRest = bench.nodeNames();
    return bench;
  }

  backup(args: JsonObject = {}): Promise<unknown> {
    return this.execute("drive-backup", { device: "d", sync: "full", target: this.target, ...args });
  }

  nodeNames(): string[] {
    return Array.from(this.graph.nodes, ({ node }) => node.name).sort();
  }

  async ended(id = "d"): Promise<void> {
    await this.jobs.get(id)?.untilConcluded();
  }

  async untilPending(id = "d"): Promise<void> {
    while (this.jobs.get(id)!.status !== "pending") await new Promise(setImmediate);
  }

  async close(): Promise<void> {
    await this.jobs.cancelAll();
    for (const backend of this.graph.backends) await this.graph.removeBackend(backend);
    await this.graph.close();
  }
}

/** What the drive holds. */
export function pattern(): Uint8Array {
  const bytes = new Uint8Array(LENGTH);
  for (let at = 0; at < LENGTH; at += 4096) bytes.fill(1 + ((at / 4096) % 250), at, at + 4096);
  // A part that the target need not hold.
  return bytes.fill(0, 2 * MIB, 3 * MIB);
}

export function ofJob(id: string, list: readonly string[]): string[] {
  return list.map((text) => `${id} ${text}`);
}

// A disk, its guest's backend and a target on faulty drivers, with everything that is heard of the jobs.

import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { BlockNode } from "../../src/block/node.ts";
import type { Backup } from "../../src/job/backup.ts";
import { startBackup } from "../../src/job/backup-action.ts";
import type { BackupOptions } from "../../src/job/backup-options.ts";
import { JobList } from "../../src/job/job-list.ts";
import { patterned } from "../support/copy-pair.ts";
import { FaultyDriver, type FaultyDriverOptions } from "../support/faulty-driver.ts";
import type { Simulation } from "../support/simulation.ts";
import { eventText } from "./scripted-job.ts";

/** Names of whoever uses the two nodes, and how many notifiers there are. */
export interface Traces {
  readonly source: readonly string[];
  readonly target: readonly string[];
  readonly notifiers: number;
}

export class BackupBench {
  readonly simulation: Simulation;
  readonly sourceDriver: FaultyDriver;
  readonly targetDriver: FaultyDriver;
  readonly source: BlockNode;
  readonly target: BlockNode;
  readonly guest: BlockBackend;
  readonly jobs: JobList = new JobList();
  readonly events: string[] = [];
  /** What the disk held at the beginning. */
  readonly before: Uint8Array;

  constructor(
    simulation: Simulation,
    options: {
      readonly lengthBytes: number;
      readonly source?: Partial<FaultyDriverOptions>;
      readonly target?: Partial<FaultyDriverOptions>;
    },
  ) {
    const { lengthBytes } = options;
    this.simulation = simulation;
    this.before = patterned(lengthBytes);
    this.sourceDriver = new FaultyDriver({ simulation, bytes: this.before.slice(), ...options.source });
    const stale = new Uint8Array(lengthBytes).fill(0xee);
    this.targetDriver = new FaultyDriver({ simulation, bytes: stale, ...options.target });
    this.source = new BlockNode({ name: "source", driver: this.sourceDriver, discard: "unmap" });
    this.target = new BlockNode({ name: "target", driver: this.targetDriver, discard: "unmap" });
    this.source.bitmaps.add({ name: "b", granularityBytes: 65536 });
    this.guest = new BlockBackend({ name: "drive0", node: this.source });
    this.jobs.listen((_job, event) => this.events.push(eventText(event)));
  }

  start(options: Partial<BackupOptions> = {}): Promise<Backup> {
    const { source, target } = this;
    return this.simulation.run(startBackup(this.jobs, { id: "j0", source, target, ...options }, this.simulation));
  }

  /** A guest's write of one byte value. */
  write(offsetBytes: number, lengthBytes: number, value: number): void | Promise<void> {
    return this.guest.write(offsetBytes, IoVector.of(new Uint8Array(lengthBytes).fill(value)));
  }

  get dirtyBytes(): number {
    return this.source.bitmaps.get("b").countBytes;
  }

  get traces(): Traces {
    return {
      source: [...this.source.parents].map((parent) => parent.parentName),
      target: [...this.target.parents].map((parent) => parent.parentName),
      notifiers: this.source.beforeWrite.count,
    };
  }
}

/** `traces` with no job. */
export const NO_TRACES: Traces = { source: ["block device 'drive0'"], target: [], notifiers: 0 };

// What the human monitor needs of the machine that it is a monitor of.

import type { Clock } from "../../base/clock.ts";
import type { RunStateName } from "../../base/run-state.ts";
import type { BlockBackend } from "../../block/backend.ts";
import type { ThrottleGroups } from "../../block/filters/throttle-group.ts";
import type { BlockGraph } from "../../block/graph.ts";
import type { BlockNode } from "../../block/node.ts";
import type { JobList } from "../../job/job-list.ts";
import type { Migration } from "../../migration/migration.ts";
import type { VersionInfo } from "../version.ts";

/** What qemu-io's commands reach beyond the block layer. */
export interface QemuIoServices {
  readonly graph: BlockGraph;
  readonly clock: Clock;
  /** Standard output of the program. */
  readonly output: (text: string) => void;
  /** Standard error of the program. */
  readonly errorOutput: (text: string) => void;
  /** The first `maxBytes` bytes of a file of the host, for `write -s`. Rejects with a `BlockError`. Absent: there are no files. */
  readFile?(path: string, maxBytes: number): Promise<Uint8Array>;
  /** When it is aborted, `sleep` and `wait_break` return: the machine goes. */
  readonly interrupted?: AbortSignal;
}

export interface HumanMonitorServices extends QemuIoServices {
  readonly jobs: JobList;
  readonly throttleGroups: ThrottleGroups;
  /** Absent: the machine cannot migrate. */
  readonly migration?: Migration;
  readonly version: VersionInfo;
  /** Of the machine, from `-name`. */
  readonly name?: string | undefined;
  /** Of the machine, from `-uuid`; zeroes by default. */
  readonly uuid?: string | undefined;
  runState(): RunStateName;
  /** The backend of a guest's device, by the device's id or its path. */
  deviceBackend(idOrPath: string): BlockBackend | undefined;
  /** What `info block` calls the image of a node: the name of its file, or `json:{…}`. */
  imageName(node: BlockNode): string;
  /** What an image takes up of its host's disk, as far as one can tell. */
  allocatedBytes?(node: BlockNode): Promise<number | undefined>;
  /** The commands of these names. They throw or reject with a `QmpError`. */
  stop(): void | Promise<void>;
  cont(): void | Promise<void>;
  quit(): void | Promise<void>;
  systemReset(): void | Promise<void>;
}

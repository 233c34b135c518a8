// throttle: a filter whose requests go by the limits of a throttle group.

import { BlockError, QmpError } from "../../base/errors.ts";
import type { IoVector } from "../../base/io-vector.ts";
import { blockStatusThrough } from "../block-status.ts";
import type { BlockDriver, BlockStatus, DriverChild, WriteZeroesOptions } from "../driver.ts";
import type { BlockdevOptions, BlockdevReference, DriverOpener } from "../graph-options.ts";
import type { BlockNode } from "../node.ts";
import { type Direction, type ThrottleGroup, type ThrottleGroups, ThrottleMember } from "./throttle-group.ts";

/** QMP's options of `throttle`. */
export interface ThrottleNodeOptions extends BlockdevOptions {
  readonly file: BlockdevReference;
  readonly "throttle-group": string;
}

/** The filter. Write-zeroes and discards count as writes of that many bytes, flushes not at all. */
export class ThrottleDriver implements BlockDriver {
  readonly driverName: string = "throttle";
  readonly readOnly: boolean = false;
  readonly children: readonly DriverChild[];
  readonly group: ThrottleGroup;
  readonly #file: BlockNode;
  readonly #member = new ThrottleMember();

  constructor(options: { file: BlockNode; group: ThrottleGroup }) {
    this.#file = options.file;
    this.group = options.group;
    this.children = [{ role: "file", node: options.file }];
    this.group.members.add(this.#member);
  }

  get lengthBytes(): number {
    return this.#file.lengthBytes;
  }

  get clusterSizeBytes(): number | undefined {
    return this.#file.driver.clusterSizeBytes;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#passing("read", vector.byteLength, () => this.#file.read(offsetBytes, vector));
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#passing("write", vector.byteLength, () => {
      if (vector.abandoned) throw new BlockError("ECANCELED");
      return this.#file.write(offsetBytes, vector);
    });
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    return this.#passing("write", lengthBytes, () => this.#file.writeZeroes(offsetBytes, lengthBytes, options));
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    return this.#passing("write", lengthBytes, () => this.#file.discard(offsetBytes, lengthBytes));
  }

  flush(): void | Promise<void> {
    return this.#file.flush();
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    return blockStatusThrough(this.#file, offsetBytes, lengthBytes);
  }

  resize(lengthBytes: number): Promise<void> {
    return this.#file.resize(lengthBytes);
  }

  extend(lengthBytes: number): void | Promise<void> {
    return this.#file.extend(lengthBytes);
  }

  async close(): Promise<void> {
    this.group.leave(this.#member);
  }

  beginDrain(): void {
    this.#member.drains++;
    this.group.release(this.#member);
  }

  endDrain(): void {
    this.#member.drains--;
  }

  #passing(direction: Direction, bytes: number, request: () => void | Promise<void>): void | Promise<void> {
    const waiting = this.group.pass(this.#member, direction, bytes);
    return waiting === undefined ? request() : waiting.then(request);
  }
}

/** The opener of `throttle`, on a machine's groups. */
export function throttleOpener(groups: ThrottleGroups): DriverOpener {
  return {
    driver: "throttle",
    children: [{ role: "file", required: true }],
    reopen: {
      changeable: ["file", "throttle-group"],
      check: (options) => {
        findGroup(groups, options);
      },
    },
    open: (context) => new ThrottleDriver({ file: context.child("file"), group: findGroup(groups, context.options) }),
  };
}

function findGroup(groups: ThrottleGroups, options: BlockdevOptions): ThrottleGroup {
  // Where options are checked, it is there; but not where a file name is all that is given.
  const name = (options as Partial<ThrottleNodeOptions>)["throttle-group"];
  if (name === undefined) throw new QmpError("Please specify a throttle group");
  const group = groups.get(name);
  if (group === undefined) throw new QmpError(`Throttle group '${name}' does not exist`);
  return group;
}

// A driver over memory whose requests end when the test says so, in the order it likes, and which writes down all of them.

import { BlockError, type Errno } from "../../../src/base/errors.ts";
import type { IoVector } from "../../../src/base/io-vector.ts";
import type { BlockDriver, BlockStatus, DriverChild } from "../../../src/block/driver.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { diskPattern } from "./machine.ts";

/** One request under way. Data move when it ends. */
export interface HeldCall {
  readonly kind: "read" | "write" | "flush";
  readonly offsetBytes: number;
  readonly vector: IoVector | undefined;
  /** Ends it, well or with an error; its caller hears of it in a microtask. */
  end(errno?: Errno): void;
}

export class HeldDriver implements BlockDriver {
  readonly driverName: string = "held";
  readonly readOnly: boolean = false;
  readonly clusterSizeBytes: undefined;
  readonly children: readonly DriverChild[] = [];
  readonly memory: MemoryDriver;
  /** Whether to hold the requests that come; those that are not held end at once. */
  holding = true;
  /** What those that are not held end with. */
  errno: Errno | undefined;
  /** Requests under way, oldest first. */
  readonly held: HeldCall[] = [];
  /** Everything that was asked of it, as `read 0+512`. */
  readonly log: string[] = [];

  constructor(sectors = 128) {
    this.memory = new MemoryDriver({ bytes: diskPattern(512 * sectors) });
  }

  get lengthBytes(): number {
    return this.memory.lengthBytes;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    this.log.push(`read ${offsetBytes}+${vector.byteLength}`);
    return this.#perform("read", offsetBytes, vector, () => this.memory.read(offsetBytes, vector));
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    this.log.push(`write ${offsetBytes}+${vector.byteLength}`);
    return this.#perform("write", offsetBytes, vector, () => this.memory.write(offsetBytes, vector));
  }

  writeZeroes(offsetBytes: number, lengthBytes: number): void {
    this.memory.writeZeroes(offsetBytes, lengthBytes);
  }

  flush(): void | Promise<void> {
    this.log.push("flush");
    return this.#perform("flush", 0, undefined, () => {});
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus {
    return this.memory.blockStatus(offsetBytes, lengthBytes);
  }

  resize(lengthBytes: number): void {
    this.memory.resize(lengthBytes);
  }

  async close(): Promise<void> {}

  /** Ends all that are under way, newest or oldest first. */
  endAll(order: "oldest first" | "newest first" = "oldest first"): void {
    const calls = [...this.held];
    if (order === "newest first") calls.reverse();
    for (const call of calls) call.end();
  }

  #perform(
    kind: HeldCall["kind"],
    offsetBytes: number,
    vector: IoVector | undefined,
    move: () => void,
  ): void | Promise<void> {
    if (!this.holding) {
      if (this.errno !== undefined) throw new BlockError(this.errno);
      return move();
    }
    return new Promise((resolve, reject) => {
      const call: HeldCall = {
        kind,
        offsetBytes,
        vector,
        end: (errno) => {
          this.held.splice(this.held.indexOf(call), 1);
          if (errno !== undefined) return reject(new BlockError(errno));
          move();
          resolve();
        },
      };
      this.held.push(call);
    });
  }
}

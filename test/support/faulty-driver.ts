// A driver over an image in memory that delays, reorders and fails requests as a seed and rules say, and records all of them.

import { BlockError, type Errno } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import type { BlockDriver, BlockStatus, DriverChild, WriteZeroesOptions } from "../../src/block/driver.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import type { Simulation } from "./simulation.ts";

export type CallKind = "read" | "write" | "write-zeroes" | "discard" | "flush" | "status" | "resize";

/** One call of the driver. */
export interface DriverCall {
  readonly kind: CallKind;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly mayUnmap: boolean;
  /** `Simulation.order` at its begin. */
  readonly begun: number;
  /** `Simulation.order` when its caller could first know how it ended; undefined before that. */
  ended: number | undefined;
  /** How it ended; undefined when well, or not yet. */
  error: Errno | undefined;
}

export interface FaultyDriverOptions {
  readonly simulation: Simulation;
  readonly bytes: Uint8Array;
  readonly readOnly?: boolean;
  readonly clusterSizeBytes?: number;
  /** The part of calls that complete later, by 0 to `maxDelayMs`. All complete at once by default. */
  readonly delayed?: number;
  readonly maxDelayMs?: number;
  /** What a call fails with. */
  readonly fault?: (call: DriverCall) => Errno | undefined;
  /** What stands at an offset; data to the end by default. */
  readonly status?: (offsetBytes: number, lengthBytes: number) => BlockStatus;
  /** Called when a call has ended, before its caller knows. */
  readonly onEnd?: (call: DriverCall) => void;
}

/**
 * Where a call is delayed, the data move at its begin or at its end, as chance has it: for a read, before or after what other
 * calls write meanwhile. A write that fails may have changed a part of its range. A write whose vector changes
 * while it is under way is an error of the test's subject and throws.
 */
export class FaultyDriver implements BlockDriver {
  readonly driverName: string = "faulty";
  readonly readOnly: boolean;
  readonly clusterSizeBytes: number | undefined;
  readonly children: readonly DriverChild[] = [];
  readonly calls: DriverCall[] = [];
  readonly memory: MemoryDriver;
  closed = false;
  /** May be replaced at any time. */
  fault: ((call: DriverCall) => Errno | undefined) | undefined;
  readonly #simulation: Simulation;
  readonly #delayed: number;
  readonly #maxDelayMs: number;
  readonly #status: ((offsetBytes: number, lengthBytes: number) => BlockStatus) | undefined;
  readonly #onEnd: ((call: DriverCall) => void) | undefined;

  constructor(options: FaultyDriverOptions) {
    this.memory = new MemoryDriver({ bytes: options.bytes });
    this.readOnly = options.readOnly ?? false;
    this.clusterSizeBytes = options.clusterSizeBytes;
    this.fault = options.fault;
    this.#simulation = options.simulation;
    this.#delayed = options.delayed ?? 0;
    this.#maxDelayMs = options.maxDelayMs ?? 3;
    this.#status = options.status;
    this.#onEnd = options.onEnd;
  }

  get lengthBytes(): number {
    return this.memory.lengthBytes;
  }

  get bytes(): Uint8Array {
    return this.memory.bytes;
  }

  /** Calls that have begun and not ended. */
  get inFlight(): readonly DriverCall[] {
    return this.calls.filter((call) => call.ended === undefined);
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const call = this.#begin("read", offsetBytes, vector.byteLength);
    return this.#perform(call, () => this.memory.read(offsetBytes, vector));
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const call = this.#begin("write", offsetBytes, vector.byteLength);
    const before = contents(vector);
    const partly = (): void => {
      const some = this.#simulation.random.below(before.length + 1);
      this.memory.write(offsetBytes, IoVector.of(before, 0, some));
    };
    const all = (): void => {
      if (!sameBytes(contents(vector), before)) throw new Error("a write's data changed while it was under way");
      this.memory.write(offsetBytes, IoVector.of(before));
    };
    return this.#perform(call, all, partly);
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    const call = this.#begin("write-zeroes", offsetBytes, lengthBytes, options.mayUnmap);
    const partly = (): void => this.memory.writeZeroes(offsetBytes, this.#simulation.random.below(lengthBytes + 1));
    return this.#perform(call, () => this.memory.writeZeroes(offsetBytes, lengthBytes), partly);
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    const call = this.#begin("discard", offsetBytes, lengthBytes, true);
    return this.#perform(call, () => this.memory.discard(offsetBytes, lengthBytes));
  }

  flush(): void | Promise<void> {
    return this.#perform(this.#begin("flush", 0, 0), () => {});
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    const call = this.#begin("status", offsetBytes, lengthBytes);
    const pending = this.#perform(call, () => {});
    const answer = (): BlockStatus =>
      this.#status === undefined
        ? this.memory.blockStatus(offsetBytes, lengthBytes)
        : this.#status(offsetBytes, lengthBytes);
    return pending === undefined ? answer() : pending.then(answer);
  }

  resize(lengthBytes: number): void | Promise<void> {
    const call = this.#begin("resize", 0, lengthBytes);
    return this.#perform(call, () => this.memory.resize(lengthBytes));
  }

  async close(): Promise<void> {
    if (this.closed) throw new Error("closed twice");
    this.closed = true;
  }

  #begin(kind: CallKind, offsetBytes: number, lengthBytes: number, mayUnmap = false): DriverCall {
    if (this.closed) throw new Error(`${kind} after close`);
    const begun = this.#simulation.order();
    const call = { kind, offsetBytes, lengthBytes, mayUnmap, begun, ended: undefined, error: undefined };
    this.calls.push(call);
    return call;
  }

  #perform(call: DriverCall, move: () => void, moveInPart: () => void = () => {}): void | Promise<void> {
    const error = this.fault?.(call);
    const effect = error === undefined ? move : moveInPart;
    const { random } = this.#simulation;
    if (!random.chance(this.#delayed)) {
      effect();
      return this.#end(call, error);
    }
    const early = random.chance(0.5);
    if (early) effect();
    return this.#simulation.after(random.below(this.#maxDelayMs + 1)).then(() => {
      if (!early) effect();
      this.#end(call, error);
    });
  }

  #end(call: DriverCall, error: Errno | undefined): void {
    call.ended = this.#simulation.order();
    call.error = error;
    this.#onEnd?.(call);
    if (error !== undefined) throw new BlockError(error);
  }
}

function contents(vector: IoVector): Uint8Array {
  const bytes = new Uint8Array(vector.byteLength);
  vector.copyTo(bytes, 0);
  return bytes;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

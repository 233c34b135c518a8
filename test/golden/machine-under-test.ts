// What a golden program is played on: this project's machine in process or over its socket, or a real QEMU.
import type { JsonObject } from "../../src/qmp/json/value.ts";
import type { GoldenBitmaps, GoldenEvent, GoldenIo, GoldenResult } from "./golden-files.ts";

/** A job as query-jobs and query-block-jobs together tell of it. */
export interface JobState {
  readonly id: string;
  readonly type: string;
  readonly status: string;
  readonly busy: boolean;
  readonly current: number;
  readonly total: number;
  readonly error?: string;
}

/** Nodes and devices of one scenario are there; `close` ends it. */
export interface MachineUnderTest {
  /** The command's `return` or `error`. */
  execute(name: string, args: JsonObject): Promise<GoldenResult>;
  /** A guest's request, or one on a node: `ok`, and `msg` where it failed. */
  io(io: GoldenIo): Promise<GoldenResult>;
  jobs(): Promise<readonly JobState[]>;
  /** Named bitmaps of every node that has any, with their hashes. */
  bitmaps(): Promise<GoldenBitmaps>;
  /** What the file below a node holds: faults are injected above it. */
  image(node: string): Promise<Uint8Array>;
  /** Lets it go on for a moment, in which whatever can be done at once is done. */
  rest(): Promise<void>;
  /** What was told since this was last asked. */
  takeEvents(): GoldenEvent[];
  /** Ends it in order. What `image` reads then is what remains. */
  close(): Promise<void>;
}

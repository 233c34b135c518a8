// What a migration needs of the machine that it moves.

import type { Clock } from "../base/clock.ts";
import type { RunState, RunStateName } from "../base/run-state.ts";
import type { BlockGraph } from "../block/graph.ts";
import type { MigrationChannels } from "./migration-address.ts";

/** As query-migrate and MIGRATION tell it. */
export type MigrationStatus =
  | "none"
  | "setup"
  | "cancelling"
  | "cancelled"
  | "active"
  | "postcopy-active"
  | "postcopy-paused"
  | "completed"
  | "failed"
  | "pre-switchover"
  | "device";

export interface MigrationHost {
  /** As streams name the machine. */
  readonly machine: string;
  /** -uuid */
  readonly uuid: string | undefined;
  readonly graph: BlockGraph;
  readonly clock: Clock;
  readonly runState: RunState;
  readonly channels: MigrationChannels;
  /** Stops the guest, and waits until no request is in flight. */
  stop(state: "finish-migrate"): Promise<void>;
  /** Gives all images away, to whoever goes on with them. Rejects with an `InactivationError`, and some may have been given away. */
  inactivate(): Promise<void>;
  /** Takes them back, and the machine is what it was `before` it stopped; or stands still where it cannot have them, which is told. */
  takeBack(before: RunStateName): Promise<void>;
  /** To the standard error. */
  report(line: string): void;
  onStatus(status: MigrationStatus): void;
  onPass(pass: number): void;
}

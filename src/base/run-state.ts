// Whether a machine runs: QEMU's run states, as far as a machine without a CPU can be in them. docs/reference/monitor.md §2, §3.

import { assert } from "./assert.ts";
import { tracePoint } from "./trace.ts";

const stateSet = tracePoint("runstate_set");
const stateNotified = tracePoint("vm_state_notify");

/** As in query-status. */
export type RunStateName =
  | "prelaunch"
  | "running"
  | "paused"
  | "io-error"
  | "inmigrate"
  | "finish-migrate"
  | "postmigrate"
  | "shutdown"
  | ForeignRunState;

/** Those in which only a machine that has migrated from elsewhere can be. */
export type ForeignRunState =
  | "colo"
  | "debug"
  | "guest-panicked"
  | "internal-error"
  | "restore-vm"
  | "save-vm"
  | "suspended"
  | "watchdog";

/** Hears of a change after it was made: `running` says whether the machine runs now. */
export type RunStateListener = (running: boolean, state: RunStateName) => void;

/**
 *   prelaunch ──cont──▶ running ──stop──▶ paused, io-error, … ──cont──▶ running
 *                        any ──reset while in io-error──▶ prelaunch
 *
 * Only `running` runs. Stopping what is stopped, and continuing what runs, changes nothing and is told to nobody.
 */
export class RunState {
  #state: RunStateName;
  readonly #listeners: RunStateListener[] = [];

  constructor(state: "prelaunch" | "running" | "inmigrate" = "running") {
    this.#state = state;
  }

  get state(): RunStateName {
    return this.#state;
  }

  get running(): boolean {
    return this.#state === "running";
  }

  /** Stops the machine for a reason, which is the state it is in then. False when it did not run. */
  stop(state: Exclude<RunStateName, "running" | "prelaunch" | "inmigrate">): boolean {
    if (!this.running) return false;
    this.#change(state);
    return true;
  }

  /** False when it runs already. */
  resume(): boolean {
    if (this.running) return false;
    this.#change("running");
    return true;
  }

  /** From one stopped state to another: nobody starts or stops anything for that. */
  restate(state: Exclude<RunStateName, "running">): void {
    assert(!this.running, "run state: a running machine is stopped first");
    this.#set(state);
  }

  /** Calls `listener` after each start and stop, in the order of the subscriptions; the function returned ends it. */
  onChange(listener: RunStateListener): () => void {
    this.#listeners.push(listener);
    return () => {
      const index = this.#listeners.indexOf(listener);
      if (index >= 0) this.#listeners.splice(index, 1);
    };
  }

  #set(state: RunStateName): void {
    if (stateSet.enabled) stateSet.emit({ current: this.#state, new: state });
    this.#state = state;
  }

  #change(state: RunStateName): void {
    this.#set(state);
    if (stateNotified.enabled) stateNotified.emit({ running: this.running, reason: state });
    for (const listener of [...this.#listeners]) listener(this.running, state);
  }
}

// What becomes of a device's failed request: QEMU's rerror and werror. docs/reference/monitor.md §4.

import type { BlockError } from "../base/errors.ts";
import { type ErrorAction, type ErrorPolicy, errorAction, type IoStatus } from "./error-policy.ts";

/** One failed request of a device. A flush counts as a write. */
export interface IoErrorReport {
  readonly operation: "read" | "write";
  readonly action: ErrorAction;
  readonly error: BlockError;
}

/**
 * The errors of one device's requests. The device asks `decide`; whoever runs the machine hears of each error, stops the
 * machine where that was decided, and calls `retry` when it goes on.
 */
export class IoErrors {
  /** By default nothing stops: that is for those who run a machine that can go on. */
  rerror: ErrorPolicy = "report";
  werror: ErrorPolicy = "report";
  /** Why the device is stopped, if it is. */
  status: IoStatus = "ok";
  #onError: ((report: IoErrorReport) => void) | undefined;
  #onRetry: (() => void) | undefined;

  /** Whether the device can stop for an error, and so has an io-status for users to see. */
  get statusEnabled(): boolean {
    return ["auto", "enospc", "stop"].includes(this.werror) || this.rerror === "stop";
  }

  /** For the machine: `listener` hears of each error once it has been decided upon. */
  onError(listener: (report: IoErrorReport) => void): void {
    this.#onError = listener;
  }

  /** For the device: `listener` is to send what it holds back again. */
  onRetry(listener: () => void): void {
    this.#onRetry = listener;
  }

  decide(operation: "read" | "write", error: BlockError): ErrorAction {
    const action = errorAction(this.#policy(operation), error.errno);
    if (action === "stop" && this.status === "ok") this.status = error.errno === "ENOSPC" ? "nospace" : "failed";
    this.#onError?.({ operation, action, error });
    return action;
  }

  /** The machine goes on. */
  retry(): void {
    this.#onRetry?.();
  }

  /** By default reads are reported, whatever the error. */
  #policy(operation: "read" | "write"): ErrorPolicy {
    if (operation === "write") return this.werror;
    return this.rerror === "auto" ? "report" : this.rerror;
  }
}

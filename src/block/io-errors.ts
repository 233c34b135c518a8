// What becomes of a device's failed request: QEMU's rerror and werror. docs/reference/monitor.md §4.

import type { BlockError } from "../base/errors.ts";

/** As users give it. `auto` is `report` for reads and `enospc` for writes; `enospc` stops for a full disk and reports the rest. */
export type ErrorPolicy = "auto" | "report" | "ignore" | "stop" | "enospc";
/** What is done: the guest is told, the request counts as done, or the machine stops and the request waits for it to go on. */
export type ErrorAction = "report" | "ignore" | "stop";
/** As in query-block. */
export type IoStatus = "ok" | "failed" | "nospace";

/** One failed request of a device. A flush counts as a write. */
export interface IoErrorReport {
  readonly operation: "read" | "write";
  readonly action: ErrorAction;
  readonly error: BlockError;
}

/** What a policy says of an error. */
export function errorAction(policy: ErrorPolicy, operation: "read" | "write", error: BlockError): ErrorAction {
  switch (policy) {
    case "auto":
      return operation === "write" && error.errno === "ENOSPC" ? "stop" : "report";
    case "enospc":
      return error.errno === "ENOSPC" ? "stop" : "report";
    case "report":
    case "ignore":
    case "stop":
      return policy;
  }
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
    const action = errorAction(operation === "read" ? this.rerror : this.werror, operation, error);
    if (action === "stop" && this.status === "ok") this.status = error.errno === "ENOSPC" ? "nospace" : "failed";
    this.#onError?.({ operation, action, error });
    return action;
  }

  /** The machine goes on. */
  retry(): void {
    this.#onRetry?.();
  }
}

// What happens to a job, as its listeners hear of it: docs/reference/backup.md §1.5.

import type { BlockError } from "../base/errors.ts";
import type { ErrorAction } from "../block/error-policy.ts";
import { failureText, type JobDriver } from "./job-driver.ts";
import type { JobStatus } from "./job-status.ts";

/** How a job ended. */
export type JobOutcome =
  | { readonly kind: "completed" }
  | { readonly kind: "failed"; readonly error: BlockError }
  | { readonly kind: "cancelled" };

/**
 * What happens to a job, in the order in which QEMU reports it. Length and offset are the job's `progress` then. All but
 * `status-change` happen to block jobs alone.
 */
export type JobEvent =
  | { readonly kind: "status-change"; readonly status: JobStatus }
  /** It waits for `finalize`. */
  | { readonly kind: "pending" }
  /** An I/O request failed, and this is done about it. */
  | { readonly kind: "error"; readonly operation: "read" | "write"; readonly action: ErrorAction }
  /** It ended, well or by an error. */
  | { readonly kind: "completed"; readonly error: string | undefined }
  | { readonly kind: "cancelled" };

/** What happens to a block job that ends so. */
export function endEvent(outcome: JobOutcome, driver: JobDriver): JobEvent {
  switch (outcome.kind) {
    case "completed":
      return { kind: "completed", error: undefined };
    case "failed":
      return { kind: "completed", error: failureText(driver, outcome.error) };
    case "cancelled":
      return { kind: "cancelled" };
  }
}

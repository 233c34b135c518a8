// What a job does about an I/O error of its own: docs/reference/backup.md §1.10.

import type { Errno } from "../base/errors.ts";

/** As in QMP (`on-source-error`, `on-target-error`). */
export type ErrorPolicy = "report" | "ignore" | "stop" | "enospc" | "auto";

/** Fail with it, try again at once, or pause and try again when resumed. */
export type ErrorAction = "report" | "ignore" | "stop";

/** As in query-block-jobs: not `ok` while stopped by an error. */
export type IoStatus = "ok" | "failed" | "nospace";

export function errorAction(policy: ErrorPolicy, errno: Errno): ErrorAction {
  switch (policy) {
    case "report":
    case "ignore":
    case "stop":
      return policy;
    case "enospc":
    case "auto":
      return errno === "ENOSPC" ? "stop" : "report";
  }
}

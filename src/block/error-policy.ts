// What is done about an I/O error, of a job or of a device: docs/reference/backup.md §1.10, monitor.md §4.

import type { Errno } from "../base/errors.ts";

/** As in QMP: a job's `on-source-error` and `on-target-error`, a device's `rerror` and `werror`. */
export type ErrorPolicy = "report" | "ignore" | "stop" | "enospc" | "auto";

/**
 * Of a job: fail with it, try again at once, or pause and try again when resumed. Of a device: tell the guest, count the request as
 * done, or stop the machine and try again when it goes on.
 */
export type ErrorAction = "report" | "ignore" | "stop";

/** As in query-block-jobs and query-block: not `ok` while stopped by an error. */
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

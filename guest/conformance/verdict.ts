// How a case can end.

/** The device broke the requirement: thrown by a case. */
export class ViolationError extends Error {
  override readonly name: string = "ViolationError";
}

/** The requirement could not be looked at: thrown by a case. */
export class CaseSkippedError extends Error {
  override readonly name: string = "CaseSkippedError";
}

/**
 * - `pass`: looked at and found kept.
 * - `fail`: found broken; a violation where the level is MUST, a deviation where it is SHOULD.
 * - `skip`: not looked at, for a reason that lies with the device or its host.
 * - `lost`: the device's process died or stopped answering meanwhile.
 * - `error`: the suite itself is at fault.
 */
export type Outcome = "pass" | "fail" | "skip" | "lost" | "error";

/** What became of one case in one variant. */
export interface Verdict {
  readonly outcome: Outcome;
  /** What was seen and what was to be seen; why it was skipped; what the case noted of a passing device. */
  readonly reason?: string | undefined;
  /** The last accesses before a failure, oldest first. */
  readonly conversation: readonly string[];
  readonly elapsedMs: number;
}

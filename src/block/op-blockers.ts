// Operations that a user of a node forbids to all others, with his reason: docs/reference/backup.md §1.4, corrections.md A6, A11.

import { assert } from "../base/assert.ts";

/** What can be forbidden. */
export type BlockOperation =
  | "backup-source"
  | "backup-target"
  | "mirror-source"
  | "mirror-target"
  | "resize"
  | "delete";

const ALL: readonly BlockOperation[] = [
  "backup-source",
  "backup-target",
  "mirror-source",
  "mirror-target",
  "resize",
  "delete",
];

/** What one user forbids. */
export interface OpBlocker {
  /** As messages have it after `Node 'a' is busy: `. */
  readonly reason: string;
  /** Undefined: all. */
  readonly operations?: readonly BlockOperation[];
}

/** The blockers of one node, any number of them at a time. */
export class OpBlockers {
  readonly #blockers = new Set<OpBlocker>();

  add(blocker: OpBlocker): void {
    assert(!this.#blockers.has(blocker), `op blocker '${blocker.reason}': added twice`);
    this.#blockers.add(blocker);
  }

  remove(blocker: OpBlocker): void {
    assert(this.#blockers.delete(blocker), `op blocker '${blocker.reason}': not there`);
  }

  /** Why the operation may not be carried out, by the newest blocker; undefined if it may. */
  reason(operation: BlockOperation): string | undefined {
    let reason: string | undefined;
    for (const blocker of this.#blockers) if ((blocker.operations ?? ALL).includes(operation)) reason = blocker.reason;
    return reason;
  }
}

// Several actions at one moment, all or none: docs/reference/bitmaps.md §4, corrections.md A8.

import { QmpError } from "../base/errors.ts";
import type { BlockNode } from "../block/node.ts";
import type { Job } from "./job.ts";
import { JobTransaction } from "./job-transaction.ts";

/** As in QMP: whether the jobs that a transaction starts end each on its own, or all well or none. */
export type CompletionMode = "individual" | "grouped";

/** What its actions share. */
export interface TransactionContext {
  /** Which the jobs of this transaction join; undefined where each has its own. */
  readonly jobs: JobTransaction | undefined;
  /** Jobs that have told of the pause for an action of this transaction beside that for the transaction. */
  readonly pausedAgain: Set<Job>;
}

/**
 * One thing to do, which can be undone until all are done.
 *
 *     prepare ──▶ commit ──▶ clean
 *        ├──────▶ abort ───▶ clean
 *        └─throws─────────▶ clean
 */
export interface TransactionAction {
  /** As in QMP. */
  readonly type: string;
  /** It starts a job, which a completion mode concerns; or it can do with any mode since it always fails. */
  readonly takesCompletionMode?: boolean;
  /** Looks up what it needs, which actions before it may have made, and does it. One that throws has changed nothing. */
  prepare(context: TransactionContext): void | Promise<void>;
  commit?(): void;
  /** Undoes what `prepare` has done. */
  abort?(): void | Promise<void>;
  /** Called last, when guests may go on, if `prepare` was. */
  clean?(): void;
}

export interface TransactionOptions {
  readonly actions: readonly TransactionAction[];
  /** Nobody changes these from before the first action until after the last: all of the graph. */
  readonly nodes: Iterable<BlockNode>;
  readonly completionMode?: CompletionMode;
}

/**
 * Drains the nodes, prepares all actions in order, commits them in order, lets guests go on and cleans up. What an action
 * throws, and a `QmpError` for one that a completion mode does not suit, is thrown when all before it are undone, the last first.
 */
export async function runTransaction(options: TransactionOptions): Promise<void> {
  const { actions, completionMode = "individual" } = options;
  const nodes = [...options.nodes];
  const jobs = completionMode === "grouped" ? new JobTransaction() : undefined;
  const reached: TransactionAction[] = [];
  for (const node of nodes) node.beginDrain();
  try {
    await untilAllQuiet(nodes);
    await prepareAll(actions, { jobs, pausedAgain: new Set() }, reached, completionMode);
    for (const action of actions) action.commit?.();
  } finally {
    for (const node of nodes) node.endDrain();
    for (const action of reached) action.clean?.();
  }
}

async function prepareAll(
  actions: readonly TransactionAction[],
  context: TransactionContext,
  reached: TransactionAction[],
  completionMode: CompletionMode,
): Promise<void> {
  const prepared: TransactionAction[] = [];
  try {
    for (const action of actions) {
      if (completionMode !== "individual" && action.takesCompletionMode !== true)
        throw new QmpError(
          `Action '${action.type}' does not support Transaction property completion-mode = ${completionMode}`,
        );
      reached.push(action);
      await action.prepare(context);
      prepared.push(action);
    }
  } catch (error) {
    for (const action of prepared.reverse()) await action.abort?.();
    throw error;
  }
}

async function untilAllQuiet(nodes: readonly BlockNode[]): Promise<void> {
  for (let quiet = false; !quiet; ) {
    quiet = true;
    for (const node of nodes) {
      for (let busy = node.untilQuiet(); busy !== undefined; busy = node.untilQuiet()) {
        quiet = false;
        await busy;
      }
    }
  }
}

/** The action `abort`: fails, so that all is undone. */
export function abortAction(): TransactionAction {
  return {
    type: "abort",
    takesCompletionMode: true,
    prepare() {
      throw new QmpError("Transaction aborted using Abort action");
    },
  };
}

// What others notice of an intercepted node: docs/reference/backup.md §2.2 (rows 12 and 21), §4.1, corrections.md A6 and B12.

import { QmpError } from "../base/errors.ts";
import type { NodeParent } from "./drain.ts";
import type { BlockNode } from "./node.ts";
import type { OpBlocker } from "./op-blockers.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_RESIZE, PERM_WRITE, type Permissions } from "./permissions.ts";

/** Of the target: to write it, and nobody changes its length. */
const TARGET_PERMISSIONS = { needs: PERM_WRITE, shares: PERM_ALL & ~PERM_RESIZE };
/** Of the source: to read it, and nobody changes it past the interception. */
const SOURCE_PERMISSIONS = { needs: PERM_CONSISTENT_READ, shares: PERM_ALL & ~(PERM_WRITE | PERM_RESIZE) };
/** The same, of one that discards what it has copied: it does so past the interception itself. */
const DISCARDING_PERMISSIONS = { ...SOURCE_PERMISSIONS, needs: PERM_CONSISTENT_READ | PERM_WRITE };

const NO_DRAINS = { beginDrain() {}, untilQuiet: () => undefined, endDrain() {} };

/**
 * Stands for the filter that QEMU puts between a job's source and its users. Requests are intercepted by a notifier on the
 * node itself, so there is no such node here, but who may use source and target meanwhile is decided as if there were:
 *
 *   (new) ──attachTarget──▶ ──coverSource──▶ ──activate──▶ ──remove──▶
 *
 * Each of the first three throws a `QmpError` with QEMU's text where permissions are against it; `remove` then takes back what
 * was done before. Users of the source that were there before `coverSource` go on; new ones may read. Operations on source's
 * drive and on the target are blocked with `reason`.
 */
export class Interception {
  readonly source: BlockNode;
  readonly target: BlockNode;
  readonly #blocker: OpBlocker;
  readonly #permissions: Permissions;
  readonly #ofSource: NodeParent;
  readonly #ofTarget: NodeParent;
  #targetAttached = false;
  #sourceAttached = false;
  #active = false;

  /** `filterName` is the filter's node name; `reason` as messages have it after `Node 'b' is busy: `. */
  constructor(options: {
    filterName: string;
    source: BlockNode;
    target: BlockNode;
    reason: string;
    discardSource?: boolean | undefined;
  }) {
    const { filterName, source, target, reason } = options;
    this.source = source;
    this.target = target;
    this.#blocker = { reason };
    this.#permissions = options.discardSource === true ? DISCARDING_PERMISSIONS : SOURCE_PERMISSIONS;
    const parentName = `node '${filterName}'`;
    this.#ofSource = {
      parentName,
      role: "file",
      filterName,
      filterTarget: target,
      opBlocker: this.#blocker,
      ...NO_DRAINS,
    };
    this.#ofTarget = { parentName, role: "target", ...NO_DRAINS };
  }

  /** From here on both nodes have a user in it, though the source one who does nothing yet. */
  attachTarget(): void {
    prefixed("Could not create node: ", () => {
      this.source.attachParent(this.#ofSource);
      this.#sourceAttached = true;
      this.target.attachParent(this.#ofTarget, TARGET_PERMISSIONS);
      this.#targetAttached = true;
    });
  }

  /** Those by which requests to the target come to the source stay as they are: a copy must not wait for itself. */
  coverSource(): void {
    const above = nodesBelow(this.target);
    const isExempt = ({ node }: NodeParent): boolean => node !== undefined && above.has(node);
    prefixed("Could not replace node: ", () => {
      this.source.coverParents(this.#ofSource, isExempt);
      // Like any copy-before-write filter, this one keeps others from writing below it as soon as it has a user: a backend or
      // a node. Other jobs are none, for theirs are filters of their own.
      const covers = [...this.source.parents].some(
        (parent) => (parent.isBackend === true || parent.node !== undefined) && this.#isCovered(parent),
      );
      if (covers) this.source.setParentPermissions(this.#ofSource, this.#permissions);
    });
  }

  activate(): void {
    this.source.setParentPermissions(this.#ofSource, this.#permissions);
    this.target.opBlockers.add(this.#blocker);
    this.#active = true;
  }

  /** Drained sections of those alone whose requests are intercepted: what they write would come to the target. */
  beginDrain(): void {
    this.source.beginCoveredDrain(this.#ofSource);
  }

  /** Undefined when nothing of theirs is under way; else a promise to ask again after. */
  untilQuiet(): Promise<void> | undefined {
    return this.source.untilCoveredQuiet(this.#ofSource);
  }

  endDrain(): void {
    this.source.endCoveredDrain(this.#ofSource);
  }

  remove(): void {
    if (this.#active) this.target.opBlockers.remove(this.#blocker);
    if (this.#sourceAttached) this.source.detachParent(this.#ofSource);
    if (this.#targetAttached) this.target.detachParent(this.#ofTarget);
    this.#active = false;
    this.#sourceAttached = false;
    this.#targetAttached = false;
  }

  #isCovered(parent: NodeParent): boolean {
    return this.source.parentEdge(parent).coveredBy?.parent === this.#ofSource;
  }
}

/** A node and all that requests to it lead to: what it stands on, and the targets of the interceptions that are on the way. */
export function nodesBelow(node: BlockNode, nodes: Set<BlockNode> = new Set()): Set<BlockNode> {
  if (nodes.has(node)) return nodes;
  nodes.add(node);
  for (const { node: child } of node.driver.children) {
    for (const target of interceptionTargets(child, node)) nodesBelow(target, nodes);
    nodesBelow(child, nodes);
  }
  return nodes;
}

/** Where the interceptions copy to that stand between a node and the one above it. */
function interceptionTargets(node: BlockNode, above: BlockNode): BlockNode[] {
  const targets: BlockNode[] = [];
  for (const parent of node.parents) {
    if (parent.node !== above) continue;
    for (let cover = node.parentEdge(parent).coveredBy; cover !== undefined; cover = cover.coveredBy)
      if (cover.parent.filterTarget !== undefined) targets.push(cover.parent.filterTarget);
  }
  return targets;
}

function prefixed(prefix: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw new QmpError(prefix + error.message, error.errorClass, { hint: error.hint });
  }
}

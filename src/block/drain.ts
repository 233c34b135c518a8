// Who uses a node, and drained sections: a while in which none of them sends requests and none is in flight.

import { assert } from "../base/assert.ts";
import type { BlockNode } from "./node.ts";
import type { OpBlocker } from "./op-blockers.ts";
import { combinePermissions, type ParentEdge, type Permissions } from "./permissions.ts";

/** Who sends a node requests: a backend, a job, the node above. */
export interface NodeParent {
  /** How messages name this user of the node, such as `block device 'drive0'`. */
  readonly parentName: string;
  /** As what it uses the node: `file`, `backing`, …; `root` by default. */
  readonly role?: string;
  /** Of a node above: that node. */
  readonly node?: BlockNode;
  /** A backend, as opposed to nodes and jobs. */
  readonly isBackend?: boolean;
  /** Of a job: its id. */
  readonly jobId?: string;
  /** Of a drive: its id, by which users may mean the node. */
  readonly driveId?: string | undefined;
  /** Of an interception: how messages name the filter that it stands for. */
  readonly filterName?: string;
  /** Of an interception: the node that it copies to, which those that it covers so write to. */
  readonly filterTarget?: BlockNode;
  /** Of an interception: what may not be done by way of those that it covers. */
  readonly opBlocker?: OpBlocker;
  /** Send no more requests, soon. May be called several times, each with an `endDrain` of its own. */
  beginDrain(): void;
  /** While drained: undefined when nothing of this parent's is under way any more; else a promise to ask again after. */
  untilQuiet(): Promise<void> | undefined;
  endDrain(): void;
  /** The node has another length now. */
  resized?(lengthBytes: number): void;
}

/** Ends the drained section when disposed of: `using drained = await node.drain()`. */
export interface DrainedSection extends Disposable {}

/**
 * The parents of one node with what each needs and shares, and how many drained sections it is in. Every parent is told of
 * every section: one that joins or leaves during a section begins or ends it then.
 * Those that an interception covers may be drained alone.
 */
export class NodeParents {
  readonly #edges = new Map<NodeParent, ParentEdge>();
  #drains = 0;

  get count(): number {
    return this.#edges.size;
  }

  /** Drained sections that have begun and not ended. */
  get drains(): number {
    return this.#drains;
  }

  /** In the order in which they came. */
  [Symbol.iterator](): Iterator<NodeParent> {
    return this.#edges.keys();
  }

  edge(parent: NodeParent): ParentEdge {
    const edge = this.#edges.get(parent);
    assert(edge !== undefined, `${parent.parentName}: not attached`);
    return edge;
  }

  /** What all of them need and share together. Throws a `QmpError` where two of them exclude one another. */
  combinePermissions(nodeName: string): Permissions {
    return combinePermissions(nodeName, [...this.#edges.values()].reverse());
  }

  /** `check` throws where the new user does not get along with the others; it is then none. */
  attach(parent: NodeParent, permissions: Permissions, check: () => void): void {
    assert(!this.#edges.has(parent), `${parent.parentName}: attached twice`);
    this.#edges.set(parent, { parent, permissions, coveredBy: undefined, coveredDrains: 0 });
    try {
      check();
    } catch (error) {
      this.#edges.delete(parent);
      throw error;
    }
    // The parent may drain this node in turn, which is no section that it has to be told of.
    for (let i = 0, drains = this.#drains; i < drains; i++) parent.beginDrain();
  }

  /** Those whose requests went through this one are on their own again. */
  detach(parent: NodeParent): void {
    const gone = this.edge(parent);
    assert(gone.coveredDrains === 0, `${parent.parentName}: detached while those that it covers are drained`);
    this.#edges.delete(parent);
    for (const edge of this.#edges.values()) if (edge.coveredBy === gone) edge.coveredBy = gone.coveredBy;
    for (let i = this.#drainsOf(gone); i > 0; i--) parent.endDrain();
  }

  /**
   * From now on the requests of all that are there go through `cover`, but for those that `exempt` names and covers that have
   * one of those behind them. Unless `check` throws.
   */
  cover(cover: NodeParent, exempt: (parent: NodeParent) => boolean, check: () => void): void {
    const by = this.edge(cover);
    assert(by.coveredDrains === 0, `${cover.parentName}: covers more while those that it covers are drained`);
    const edges = [...this.#edges.values()];
    const isExempt = (edge: ParentEdge): boolean =>
      exempt(edge.parent) || edges.some((behind) => behind.coveredBy === edge && isExempt(behind));
    const covered = edges.filter((edge) => edge !== by && edge.coveredBy === undefined && !isExempt(edge));
    for (const edge of covered) edge.coveredBy = by;
    try {
      check();
    } catch (error) {
      for (const edge of covered) edge.coveredBy = undefined;
      throw error;
    }
  }

  beginDrain(): void {
    this.#drains++;
    for (const parent of [...this.#edges.keys()]) parent.beginDrain();
  }

  endDrain(): void {
    assert(this.#drains > 0, "drained section: ended twice");
    this.#drains--;
    for (const parent of [...this.#edges.keys()]) parent.endDrain();
  }

  /** Undefined when no parent has anything under way. */
  untilQuiet(): Promise<void> | undefined {
    for (const parent of this.#edges.keys()) {
      const busy = parent.untilQuiet();
      if (busy !== undefined) return busy;
    }
    return undefined;
  }

  /** A drained section of those alone whose requests go through `cover`. */
  beginCoveredDrain(cover: NodeParent): void {
    const by = this.edge(cover);
    by.coveredDrains++;
    for (const parent of this.#coveredBy(by)) parent.beginDrain();
  }

  endCoveredDrain(cover: NodeParent): void {
    const by = this.edge(cover);
    assert(by.coveredDrains > 0, `${cover.parentName}: drained section ended twice`);
    by.coveredDrains--;
    for (const parent of this.#coveredBy(by)) parent.endDrain();
  }

  /** Undefined when nobody whose requests go through `cover` has anything under way. */
  untilCoveredQuiet(cover: NodeParent): Promise<void> | undefined {
    for (const parent of this.#coveredBy(this.edge(cover))) {
      const busy = parent.untilQuiet();
      if (busy !== undefined) return busy;
    }
    return undefined;
  }

  /** All sections that a parent has been told of. */
  #drainsOf(edge: ParentEdge): number {
    let drains = this.#drains;
    for (let cover = edge.coveredBy; cover !== undefined; cover = cover.coveredBy) drains += cover.coveredDrains;
    return drains;
  }

  /** Those whose requests go through `cover`, also if through others before. */
  #coveredBy(cover: ParentEdge): NodeParent[] {
    const isCovered = ({ coveredBy }: ParentEdge): boolean =>
      coveredBy !== undefined && (coveredBy === cover || isCovered(coveredBy));
    return [...this.#edges.values()].filter(isCovered).map(({ parent }) => parent);
  }
}

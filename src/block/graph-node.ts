// A node's place in the block graph: who uses it and what they may, what it stands on, drained sections.

import { assert } from "../base/assert.ts";
import { ChildEdge } from "./child-edge.ts";
import { type DrainedSection, type NodeParent, NodeParents } from "./drain.ts";
import type { BlockDriver } from "./driver.ts";
import { OpBlockers } from "./op-blockers.ts";
import { refreshPermissions, settlePermissions, type UnsettledNodes } from "./permission-refresh.ts";
import { NO_PERMISSIONS, type ParentEdge, PERM_ALL, PERM_CONSISTENT_READ, type Permissions } from "./permissions.ts";

/**
 * What a `BlockNode` is to its neighbours.
 *
 * A parent joins with what it needs and shares. Where that is against what another user of the node, or of one below it, needs
 * or shares, it is refused, and nothing has changed.
 *
 * A drained section goes up: parents send nothing more, and their parents to them. It also hurries what is below: a filter there
 * that holds requests back lets them go, for somebody waits for them now.
 */
export abstract class GraphNode {
  readonly name: string;
  readonly opBlockers: OpBlockers = new OpBlockers();
  readonly #parents = new NodeParents();
  #childEdges: readonly ChildEdge[] = [];
  #driver: BlockDriver;
  #hurries = 0;
  #closed = false;
  #active: boolean;

  protected constructor(name: string, driver: BlockDriver, active: boolean) {
    this.name = name;
    this.#driver = driver;
    this.#active = active;
  }

  /** The image is this program's. While it is not, nobody writes to the node, and others may write to the image. */
  get active(): boolean {
    return this.#active;
  }

  /** In a drained section. Throws a `QmpError`, and has changed nothing, where permissions are against it. See `activateNode`. */
  setActive(active: boolean): void {
    const before = this.#active;
    this.#active = active;
    try {
      refreshPermissions(this);
    } catch (error) {
      this.#active = before;
      throw error;
    }
  }

  get driver(): BlockDriver {
    return this.#driver;
  }

  abstract get readOnly(): boolean;
  /** A node that this one stands on has another length. */
  abstract childResized(): void;
  /** Resolves once no request was in flight here; undefined when none is. */
  protected abstract untilIdle(): Promise<void> | undefined;

  /** Throws a `QmpError` where permissions are against it; the parent is then none. */
  attachParent(parent: NodeParent, permissions: Permissions = NO_PERMISSIONS): void {
    assert(!this.#closed, `node '${this.name}': attached to after close`);
    this.#parents.attach(parent, permissions, () => refreshPermissions(this));
  }

  /** `unsettled`: as of `refreshPermissions`. */
  detachParent(parent: NodeParent, unsettled?: UnsettledNodes): void {
    this.#parents.detach(parent);
    refreshPermissions(this, unsettled);
  }

  /** Throws a `QmpError` where the new permissions are against others'; the old ones then hold. */
  setParentPermissions(parent: NodeParent, permissions: Permissions): void {
    const edge = this.#parents.edge(parent);
    const before = edge.permissions;
    edge.permissions = permissions;
    try {
      refreshPermissions(this);
    } catch (error) {
      edge.permissions = before;
      throw error;
    }
  }

  /**
   * Makes `cover`, a parent with a `filterName`, stand between the node and all that use it now, as far as permissions go:
   * what others need and share counts as the filter's, beside what it needs and shares itself. Whoever comes later uses the
   * node directly. Ends when the cover is detached.
   */
  coverParents(cover: NodeParent, exempt: (parent: NodeParent) => boolean = () => false): void {
    this.#parents.cover(cover, exempt, () => refreshPermissions(this));
  }

  get parents(): Iterable<NodeParent> {
    return this.#parents;
  }

  get parentCount(): number {
    return this.#parents.count;
  }

  parentEdge(parent: NodeParent): ParentEdge {
    return this.#parents.edge(parent);
  }

  /** What all parents together need and share. While the node is inactive backends do without writing. */
  combinedPermissions(): Permissions {
    const { needs, shares } = this.#parents.combinePermissions(this.name);
    if (this.#active) return { needs, shares };
    const of = (parent: NodeParent): number =>
      parent.isBackend === true ? 0 : this.parentEdge(parent).permissions.needs;
    const others = Array.from(this.#parents, of).reduce((all, each) => all | each, 0);
    return { needs: (needs & PERM_CONSISTENT_READ) | others, shares: PERM_ALL };
  }

  /** Works out anew what the node needs of those below. Throws a `QmpError`, and has changed nothing, where users are against it. */
  refreshPermissions(): void {
    refreshPermissions(this);
  }

  /**
   * Gives the node another driver, in a drained section. Throws a `QmpError`, and has changed nothing, where the driver may not use
   * the nodes that it stands on. The old one is not closed. What the nodes below have locked for it they keep until
   * `settlePermissions(unsettled)`, where that is given.
   */
  replaceDriver(driver: BlockDriver, unsettled?: UnsettledNodes): void {
    const before = this.#driver;
    const replaced: UnsettledNodes = unsettled ?? new Set();
    this.#detachChildren(replaced);
    this.#driver = driver;
    try {
      this.attachChildren();
    } catch (error) {
      this.#driver = before;
      this.attachChildren();
      throw error;
    } finally {
      if (unsettled === undefined) settlePermissions(replaced);
    }
    if (this.#hurries === 0) return;
    before.endDrain?.();
    driver.beginDrain?.();
  }

  /** The edges to the nodes that it stands on. */
  get childEdges(): readonly ChildEdge[] {
    return this.#childEdges;
  }

  /** Resolves when nobody sends requests and none is in flight, which stays so until the section is disposed of. */
  async drain(): Promise<DrainedSection> {
    this.beginDrain();
    for (let busy = this.untilQuiet(); busy !== undefined; busy = this.untilQuiet()) await busy;
    let open = true;
    return {
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        this.endDrain();
      },
    };
  }

  /** The three steps of `drain`, for who passes a drain on: whoever stands above this node sends no more requests, soon. */
  beginDrain(): void {
    this.#parents.beginDrain();
    this.#beginHurry();
  }

  /** Undefined when nothing is in flight here and nobody above has anything under way; else a promise to ask again after. */
  untilQuiet(): Promise<void> | undefined {
    return this.#parents.untilQuiet() ?? this.untilIdle() ?? this.#driver.untilIdle?.();
  }

  /** Ends what a `beginDrain` began. */
  endDrain(): void {
    this.#endHurry();
    this.#parents.endDrain();
  }

  /** As the three above, of those alone that `cover` covers; below here, too, what is held back is let go. */
  beginCoveredDrain(cover: NodeParent): void {
    this.#parents.beginCoveredDrain(cover);
    this.#beginHurry();
  }

  untilCoveredQuiet(cover: NodeParent): Promise<void> | undefined {
    return this.#parents.untilCoveredQuiet(cover);
  }

  endCoveredDrain(cover: NodeParent): void {
    this.#endHurry();
    this.#parents.endCoveredDrain(cover);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Closes the driver. The caller has detached every parent and flushed; children stay open, they are their owner's. */
  async close(): Promise<void> {
    assert(this.#parents.count === 0, `node '${this.name}': closed while in use`);
    assert(!this.#closed, `node '${this.name}': closed twice`);
    assert(this.untilIdle() === undefined, `node '${this.name}': closed with requests in flight`);
    this.#closed = true;
    this.#detachChildren();
    await this.#driver.close();
  }

  /** Joins what the driver stands on. Throws a `QmpError` where permissions are against it; it is then a parent of none. */
  protected attachChildren(): void {
    const attached: ChildEdge[] = [];
    try {
      for (const { role, node } of this.#driver.children) {
        const edge = new ChildEdge(this, role, node);
        edge.attach();
        attached.push(edge);
      }
    } catch (error) {
      for (const edge of attached.reverse()) edge.detach();
      throw error;
    }
    this.#childEdges = attached;
    if (this.#hurries > 0) for (const edge of attached) hurriedBy(edge).#beginHurry();
  }

  #detachChildren(unsettled?: UnsettledNodes): void {
    const edges = this.#childEdges;
    this.#childEdges = [];
    for (const edge of edges) {
      if (this.#hurries > 0) hurriedBy(edge).#endHurry();
      edge.detach(unsettled);
    }
  }

  #beginHurry(): void {
    if (this.#hurries++ > 0) return;
    this.#driver.beginDrain?.();
    for (const edge of this.#childEdges) hurriedBy(edge).#beginHurry();
  }

  #endHurry(): void {
    assert(this.#hurries > 0, `node '${this.name}': drained section ended twice`);
    if (--this.#hurries > 0) return;
    for (const edge of this.#childEdges) hurriedBy(edge).#endHurry();
    this.#driver.endDrain?.();
  }
}

function hurriedBy(edge: ChildEdge): GraphNode {
  return edge.node;
}

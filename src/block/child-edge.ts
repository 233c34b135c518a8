// An edge of the block graph: a node as a user of one below it.

import { QmpError } from "../base/errors.ts";
import type { NodeParent } from "./drain.ts";
import type { ChildRole } from "./driver.ts";
import type { GraphNode } from "./graph-node.ts";
import type { BlockNode } from "./node.ts";
import type { OpBlocker } from "./op-blockers.ts";
import type { UnsettledNodes } from "./permission-refresh.ts";
import {
  backingPermissions,
  filterPermissions,
  PERM_ALL,
  PERM_CONSISTENT_READ,
  type Permissions,
} from "./permissions.ts";

/** From `attach` to `detach` the lower node knows the upper one as a parent. */
export class ChildEdge {
  readonly role: ChildRole;
  readonly node: BlockNode;
  readonly asParent: NodeParent;
  readonly #parent: GraphNode;
  readonly #backingBlocker: OpBlocker | undefined;

  constructor(parent: GraphNode, role: ChildRole, node: BlockNode) {
    this.#parent = parent;
    this.role = role;
    this.node = node;
    this.asParent = {
      parentName: `node '${parent.name}'`,
      role,
      node: parent as BlockNode,
      beginDrain: () => parent.beginDrain(),
      untilQuiet: () => parent.untilQuiet(),
      endDrain: () => parent.endDrain(),
      resized: () => parent.childResized(),
    };
    if (role === "backing")
      this.#backingBlocker = {
        reason: `node is used as backing hd of '${parent.name}'`,
        operations: ["resize", "delete", "mirror-target"],
      };
  }

  /** Throws a `QmpError` where other users of the lower node stand against it. */
  attach(): void {
    if (this.#parent.active && !this.node.active)
      throw new QmpError(`Inactive '${this.node.name}' can't be a ${this.role} child of active '${this.#parent.name}'`);
    this.node.attachParent(this.asParent, this.permissions(this.#parent.combinedPermissions()));
    if (this.#backingBlocker !== undefined) this.node.opBlockers.add(this.#backingBlocker);
  }

  detach(unsettled?: UnsettledNodes): void {
    if (this.#backingBlocker !== undefined) this.node.opBlockers.remove(this.#backingBlocker);
    this.node.detachParent(this.asParent, unsettled);
  }

  /** What the upper node asks of the lower one, when this is asked of itself. */
  permissions(asked: Permissions): Permissions {
    const { driver } = this.#parent;
    const ofDriver = driver.childPermissions?.(this.role, asked, this.#parent.parentCount);
    const permissions = ofDriver ?? (this.role === "backing" ? backingPermissions(asked) : filterPermissions(asked));
    if (this.#parent.active) return permissions;
    return { needs: permissions.needs & PERM_CONSISTENT_READ, shares: PERM_ALL };
  }
}

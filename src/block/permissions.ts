// What users of a node need of it and allow others: docs/reference/backup.md §4.1, corrections.md A6 and B12.

import { QmpError } from "../base/errors.ts";
import type { NodeParent } from "./drain.ts";

/** Bits of a set of permissions, in the order in which messages list them. */
export const PERM_CONSISTENT_READ = 1;
/** To change data. */
export const PERM_WRITE = 2;
/** To write what is there already, as when data come from a backing file. */
export const PERM_WRITE_UNCHANGED = 4;
export const PERM_RESIZE = 8;
export const PERM_ALL = 15;

const NAMES: readonly (readonly [number, string])[] = [
  [PERM_CONSISTENT_READ, "consistent read"],
  [PERM_WRITE, "write"],
  [PERM_WRITE_UNCHANGED, "write unchanged"],
  [PERM_RESIZE, "resize"],
];

/** What one user of a node does with it, and what others may do meanwhile: two sets of the bits above. */
export interface Permissions {
  readonly needs: number;
  readonly shares: number;
}

/** Of a user that only looks, and minds nothing. */
export const NO_PERMISSIONS: Permissions = { needs: 0, shares: PERM_ALL };

/** One use of a node: who, and with which permissions. */
export interface ParentEdge {
  readonly parent: NodeParent;
  permissions: Permissions;
  /**
   * The interception (a backup's, say) through which the parent's requests go. The two are then as a node and the filter
   * above it: what the parent needs is asked for by the filter, and others meet the filter alone.
   */
  coveredBy: ParentEdge | undefined;
  /** Of an interception: drained sections that those are in whose requests go through it, beside those of the node. */
  coveredDrains: number;
}

/** `write, resize`, as messages have it. */
export function permissionNames(permissions: number): string {
  return NAMES.filter(([bit]) => (permissions & bit) !== 0)
    .map(([, name]) => name)
    .join(", ");
}

/**
 * What all users of a node, given newest first, need and share together. Throws a `QmpError` with QEMU's text where one needs
 * what another does not share.
 */
export function combinePermissions(nodeName: string, edges: readonly ParentEdge[]): Permissions {
  return combine(nodeName, edges, undefined);
}

/** Of the parents that go through `cover`, or of those that go through none. */
function combine(nodeName: string, edges: readonly ParentEdge[], cover: ParentEdge | undefined): Permissions {
  const group = edges.filter((edge) => edge.coveredBy === cover);
  const effective = group.map((edge) => withCovered(nodeName, edges, edge));
  refuseConflicts(cover?.parent.filterName ?? nodeName, group, effective);
  return effective.reduce(
    (all, { needs, shares }) => ({ needs: all.needs | needs, shares: all.shares & shares }),
    NO_PERMISSIONS,
  );
}

/** An edge's own permissions, and for an interception those of the parents that it covers. */
function withCovered(nodeName: string, edges: readonly ParentEdge[], edge: ParentEdge): Permissions {
  if (!edges.some(({ coveredBy }) => coveredBy === edge)) return edge.permissions;
  const covered = combine(nodeName, edges, edge);
  return {
    needs: edge.permissions.needs | covered.needs,
    shares: edge.permissions.shares & covered.shares,
  };
}

/** Looks, as QEMU does, at what each in turn does not share. */
function refuseConflicts(nodeName: string, edges: readonly ParentEdge[], effective: readonly Permissions[]): void {
  for (let unsharing = 0; unsharing < edges.length; unsharing++) {
    for (let needing = 0; needing < edges.length; needing++) {
      const conflict = effective[needing]!.needs & ~effective[unsharing]!.shares;
      if (needing === unsharing || conflict === 0) continue;
      const required = describeUse(nodeName, edges[needing]!);
      const unshared = describeUse(nodeName, edges[unsharing]!);
      throw new QmpError(
        `Permission conflict on node '${nodeName}': permissions '${permissionNames(conflict)}' are both required by ` +
          `${required} and unshared by ${unshared}.`,
      );
    }
  }
}

function describeUse(nodeName: string, { parent }: ParentEdge): string {
  return `${parent.parentName} (uses node '${nodeName}' as '${parent.role ?? "root"}' child)`;
}

/** What a guest's disk needs of its node, and leaves to others: to read it and to change its length. */
export function devicePermissions(readOnly: boolean, shareRw: boolean): Permissions {
  return {
    needs: readOnly ? PERM_CONSISTENT_READ : PERM_CONSISTENT_READ | PERM_WRITE,
    shares: PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED | PERM_RESIZE | (shareRw ? PERM_WRITE : 0),
  };
}

/** What a filter, or raw, asks of the node below it: what is asked of itself. */
export function filterPermissions(permissions: Permissions): Permissions {
  return permissions;
}

/**
 * What an overlay asks of its backing node: to be read, if anybody reads the overlay. Who minds that the overlay changes under
 * his hands minds that of the backing node as well.
 */
export function backingPermissions(permissions: Permissions): Permissions {
  const changes = (permissions.shares & PERM_WRITE) !== 0 ? PERM_WRITE | PERM_RESIZE : 0;
  return {
    needs: permissions.needs & PERM_CONSISTENT_READ,
    shares: PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED | changes,
  };
}

// Which nodes are active: the images of the others are somebody else's, to whom they migrate or from whom they come.
// docs/reference/persistence-migration.md §4.

import { AssertionError } from "../base/assert.ts";
import { BlockError, type Errno, QmpError, strerror } from "../base/errors.ts";
import type { DirtyBitmap } from "../bitmap/dirty-bitmap.ts";
import { loadBitmaps, makeBitmapsWritable, storeBitmaps } from "./bitmap-store.ts";
import type { BlockDriver } from "./driver.ts";
import type { BlockNode } from "./node.ts";
import { PERM_RESIZE, PERM_WRITE, PERM_WRITE_UNCHANGED } from "./permissions.ts";

/** What it needs of the graph. */
export interface ActivationServices {
  /** Opens the node's driver once more, where that is how it learns what others have done to the image. */
  openAnew(node: BlockNode): Promise<BlockDriver | undefined>;
}

/** Images could not be given away: somebody needs one, or one could not be written to. */
export class InactivationError extends QmpError {
  readonly errno: Errno;

  constructor(prefix: string, errno: Errno) {
    super(`${prefix}: ${strerror(errno)}`);
    this.errno = errno;
  }
}

const CHANGES = PERM_WRITE | PERM_WRITE_UNCHANGED | PERM_RESIZE;

/**
 * Takes the image back, after those below it: its driver looks at it anew, its bitmaps are loaded, and all of them are stored again
 * from here on. Nothing for an active node. Throws a `QmpError`, and the node is inactive, where that fails.
 */
export async function activateNode(services: ActivationServices, node: BlockNode): Promise<void> {
  if (node.active) return;
  for (const { node: child } of node.driver.children) await activateNode(services, child);
  using _drained = await node.drain();
  if (node.active) return;
  node.setActive(true);
  try {
    await lookAnew(services, node);
    await loadBitmaps(node);
  } catch (error) {
    if (error instanceof AssertionError) throw error;
    await node.driver.inactivate?.();
    node.setActive(false);
    const message = error instanceof Error ? error.message : String(error);
    throw new QmpError(`Could not reopen ${node.driver.driverName} layer: ${message}`);
  }
  for (const bitmap of node.bitmaps) bitmap.skipStore = false;
}

/** Only from here on nobody else may write to what stands below, which may have been active for long. */
async function lookAnew(services: ActivationServices, node: BlockNode): Promise<void> {
  for (const { node: child } of node.driver.children) await lookBelow(child);
  const driver = await services.openAnew(node);
  if (driver === undefined) await node.driver.activate?.();
  else {
    const before = node.driver;
    try {
      node.bitmaps.checkTruncate(driver.lengthBytes);
      node.replaceDriver(driver);
    } catch (error) {
      await driver.close();
      throw error;
    }
    await before.close();
  }
  node.childResized();
}

async function lookBelow(node: BlockNode): Promise<void> {
  for (const { node: child } of node.driver.children) await lookBelow(child);
  await node.driver.activate?.();
  node.childResized();
}

/**
 * Gives the image away: its bitmaps are stored, and then dropped, but for those that migrate; all is on stable storage, and nobody
 * needs to write any more. Then those below that no active node stands on. Nothing for an inactive node. Throws an
 * `InactivationError` whose message begins with `prefix`, and the node is active, where a user needs it or the image cannot be
 * written to; a `QmpError` below an active node.
 */
export async function inactivateNode(node: BlockNode, prefix = "Failed to inactivate node"): Promise<void> {
  if (!node.active) return;
  if (hasActiveParent(node)) throw new QmpError("Node has active parent node");
  checkInactivation(node, prefix);
  using _drained = await node.drain();
  // While requests ended somebody may have come, or have been quicker.
  if (!node.active) return;
  checkInactivation(node, prefix);
  try {
    await giveAway(node);
  } catch (error) {
    if (!(error instanceof BlockError || error instanceof QmpError)) throw error;
    throw new InactivationError(prefix, error instanceof BlockError ? error.errno : "EINVAL");
  }
  node.setActive(false);
  for (const child of new Set(node.driver.children.map((below) => below.node)))
    if (!hasActiveParent(child)) await inactivateNode(child, prefix);
}

/** Throws an `InactivationError` where somebody else than devices, which hold still, and nodes above must be able to write. */
export function checkInactivation(node: BlockNode, prefix: string): void {
  for (const parent of node.parents) {
    if (parent.isBackend === true || parent.node !== undefined) continue;
    const writes = (node.parentEdge(parent).permissions.needs & CHANGES) !== 0;
    if (writes || parent.filterName !== undefined) throw new InactivationError(prefix, "EPERM");
  }
}

export function hasActiveParent(node: BlockNode): boolean {
  return [...node.parents].some((parent) => parent.node?.active === true);
}

async function giveAway(node: BlockNode): Promise<void> {
  // What is on its way into the image nobody uses, removes or clears.
  const kept = [...node.bitmaps].filter(({ persistent, skipStore, busy }) => persistent && !skipStore && !busy);
  for (const bitmap of kept) bitmap.setBusy(true);
  let stored: readonly DirtyBitmap[];
  try {
    stored = await storeAndSettle(node);
  } finally {
    for (const bitmap of kept) bitmap.setBusy(false);
  }
  for (const bitmap of stored) node.bitmaps.release(bitmap);
}

/** Returns what the image holds now. */
async function storeAndSettle(node: BlockNode): Promise<readonly DirtyBitmap[]> {
  if (!node.readOnly) await node.flush();
  const stored = await storeBitmaps(node).catch((error: unknown) => {
    if (error instanceof BlockError) throw new BlockError("EINVAL", error.message, { cause: error });
    throw error;
  });
  for (const bitmap of stored) bitmap.setReadonly(true);
  try {
    await node.driver.inactivate?.();
  } catch (error) {
    // The image says that its bitmaps are right, and the guest is about to go on writing.
    if (!node.readOnly) await makeBitmapsWritable(node);
    throw error;
  }
  return stored;
}

// blockdev-reopen: other options for nodes that are in use, all of them or none. docs/reference/corrections.md C5.

import { QmpError } from "../base/errors.ts";
import { makeBitmapsWritable, storeForReadOnly } from "./bitmap-store.ts";
import type { DrainedSection } from "./drain.ts";
import type { BlockDriver, ChildRole, PreparedReopen } from "./driver.ts";
import type { BlockGraph } from "./graph.ts";
import { wouldCreateCycle } from "./graph-opener.ts";
import {
  type BlockdevOptions,
  type DriverOpener,
  isInlineChild,
  type OpenContext,
  type OptionValue,
} from "./graph-options.ts";
import { checkDetectZeroes, inheritedBy, NOTHING_INHERITED, settingsOf } from "./graph-settings.ts";
import { nodesBelow } from "./interception.ts";
import type { BlockNode } from "./node.ts";
import type { NodeEntry } from "./node-list.ts";
import type { NodeSettings } from "./node-settings.ts";
import { settlePermissions, type UnsettledNodes } from "./permission-refresh.ts";
import { PERM_WRITE, PERM_WRITE_UNCHANGED } from "./permissions.ts";
import { refuseChanges, refuseOtherChild, refuseResets } from "./reopen-options.ts";

/** What it needs of whoever opens nodes. */
export interface ReopenServices {
  readonly graph: BlockGraph;
  opener(driver: string): DriverOpener | undefined;
  context(
    options: BlockdevOptions,
    settings: NodeSettings,
    children: ReadonlyMap<ChildRole, BlockNode>,
    active: boolean,
  ): OpenContext;
}

/** What is to become of one node. */
interface Change {
  readonly entry: NodeEntry;
  readonly opener: DriverOpener;
  readonly options: BlockdevOptions;
  settings: NodeSettings;
  readonly before: NodeSettings;
  /** Its bitmaps have been stored, for it becomes read-only. */
  stored: boolean;
  /** Another driver, where options of its own change. */
  driver: BlockDriver | undefined;
  /** A change of the driver that it has. */
  prepared: PreparedReopen | undefined;
}

/** Ends a `BlockGraph.hold`. */
type LetGo = () => Promise<void> | undefined;

/** Drivers that have been replaced, and the nodes that they stood on. */
interface Replaced {
  readonly drivers: readonly BlockDriver[];
  readonly children: readonly BlockNode[];
}

/** Carries out blockdev-reopen. A `QmpError` or `BlockError` says that nothing has changed. */
export async function reopenNodes(services: ReopenServices, list: readonly BlockdevOptions[]): Promise<void> {
  const { graph } = services;
  const entries = list.map((options) => entryToReopen(graph, options));
  const changes: Change[] = [];
  for (const [i, options] of list.entries()) plan(services, changes, entries[i]!, options, NOTHING_INHERITED);
  const sections: DrainedSection[] = [];
  const held = changes.map(({ entry }) => graph.hold(entry.node));
  try {
    for (const { entry } of changes) sections.push(await entry.node.drain());
    const { drivers, children } = await carryOut(services, changes, held);
    for (const { prepared } of changes) await prepared?.finish();
    for (const { entry, before } of changes.toReversed())
      if (before.readOnly && !entry.node.readOnly && entry.node.active) await makeBitmapsWritable(entry.node);
    for (const driver of drivers) await driver.close();
    for (const node of children) await graph.release(node);
  } finally {
    for (const section of sections.reverse()) section[Symbol.dispose]();
    for (const letGo of held) await letGo();
  }
}

/** What the nodes are to stand on is `held` until the end. */
async function carryOut(services: ReopenServices, changes: readonly Change[], held: LetGo[]): Promise<Replaced> {
  try {
    for (const change of changes) await prepare(services, change, held);
    return commit(changes);
  } catch (error) {
    await giveUp(changes);
    throw error;
  }
}

/** Nothing that was made ready is needed. */
async function giveUp(changes: readonly Change[]): Promise<void> {
  for (const { entry, driver, prepared, stored } of changes) {
    await driver?.close();
    await prepared?.abort();
    if (prepared?.readOnly === true) entry.node.refreshPermissions();
    if (stored) await makeBitmapsWritable(entry.node);
  }
}

function entryToReopen(graph: BlockGraph, options: BlockdevOptions): NodeEntry {
  const name = options["node-name"];
  if (name === undefined) throw new QmpError("node-name not specified");
  const entry = graph.nodes.get(name);
  if (entry === undefined) throw new QmpError(`Failed to find node with node-name='${name}'`);
  return entry;
}

/** Checks options and notes what they change, for the node and for those that are given within. */
function plan(
  services: ReopenServices,
  changes: Change[],
  entry: NodeEntry,
  options: BlockdevOptions,
  inherited: NodeSettings,
): void {
  const { node } = entry;
  const opener = services.opener(entry.options.driver)!;
  // Other than all other settings, this one stays as it was.
  const settings = settingsOf(options, { ...inherited, discard: node.settings.discard });
  checkDetectZeroes(settings);
  if (opener.reopen === undefined)
    throw new QmpError(
      `Block format '${entry.options.driver}' used by node '${node.name}' does not support reopening files`,
    );
  const { changeable, resettable = [] } = opener.reopen;
  if (changeable.includes("backing")) refuseMissingBacking(node, options);
  refuseResets(node.driver, entry.options, options, resettable);
  opener.reopen.check?.(options, node);
  checkFile(services.graph, node, options["file"]);
  refuseChanges(node.driver, entry.options, options, changeable);
  const before = node.settings;
  changes.push({ entry, opener, options, settings, before, stored: false, driver: undefined, prepared: undefined });
  for (const { role, node: child } of node.driver.children) {
    const given = options[role];
    if (!isInlineChild(given)) continue;
    refuseOtherChild(role, entry.options[role], given, child.name);
    plan(services, changes, services.graph.nodes.entry(child), given, inheritedBy(role, settings));
  }
}

/** What an image stands on must be told again, or that it shall stand on nothing: QEMU 7.2 refuses anything else. */
function refuseMissingBacking({ name, driver }: BlockNode, options: BlockdevOptions): void {
  if (options["backing"] !== undefined) return;
  const stands = driver.children.some(({ role }) => role === "backing") || (driver.backingFile ?? "") !== "";
  if (stands) throw new QmpError(`backing is missing for '${name}'`);
}

/** A node that is to be the file must be there, and the place for it. */
function checkFile(graph: BlockGraph, node: BlockNode, given: OptionValue | undefined): void {
  if (typeof given !== "string") return;
  if (node.driver.children.some(({ role }) => role === "file")) childAfter(graph, node, "file", given);
  else {
    graph.find(undefined, given);
    throw new QmpError("Cannot set file child to format node without file child");
  }
}

/** Makes ready whatever may fail. */
async function prepare(services: ReopenServices, change: Change, held: LetGo[]): Promise<void> {
  const { entry, opener, options, settings } = change;
  if (settings.readOnly && !entry.node.readOnly && entry.node.active) {
    await storeForReadOnly(entry.node);
    change.stored = true;
  }
  const changed = opener.reopen!.changeable.some((option) => changes(option, entry, options));
  if (changed) {
    const children = childrenAfter(services.graph, change);
    for (const child of children.values()) held.push(services.graph.hold(child));
    change.driver = await opener.open(services.context(options, settings, children, entry.node.active));
    entry.node.bitmaps.checkTruncate(change.driver.lengthBytes);
  }
  change.prepared = await entry.node.driver.prepareReopen?.(settings);
  const readOnly = change.prepared?.readOnly;
  if (settings.autoReadOnly && readOnly === true) change.settings = { ...settings, readOnly };
}

/** True if an option is not what the node has: a child may be given by name where it was given by options. */
function changes(option: string, entry: NodeEntry, options: BlockdevOptions): boolean {
  const child = entry.node.driver.children.find(({ role }) => role === option);
  if (child === undefined) return entry.options[option] !== options[option];
  return !isInlineChild(options[option]) && options[option] !== child.node.name;
}

function childrenAfter(graph: BlockGraph, { entry, opener, options }: Change): Map<ChildRole, BlockNode> {
  const children = new Map<ChildRole, BlockNode>();
  for (const { role } of opener.children) {
    const child = childAfter(graph, entry.node, role, options[role]);
    if (child !== undefined) children.set(role, child);
  }
  return children;
}

/** Another node where one is named, none where there shall be none, else the one that it is. */
function childAfter(
  graph: BlockGraph,
  node: BlockNode,
  role: ChildRole,
  given: OptionValue | undefined,
): BlockNode | undefined {
  if (given === null) return undefined;
  const child = node.driver.children.find((candidate) => candidate.role === role)?.node;
  if (typeof given !== "string" || given === child?.name) return child;
  const other = graph.find(undefined, given).node;
  if (nodesBelow(other).has(node)) throw wouldCreateCycle(given, role, node.name);
  return other;
}

/** Makes all changes and returns what is no longer needed. Throws, and has changed nothing, where users are against it. */
function commit(list: readonly Change[]): Replaced {
  const undo: (() => void)[] = [];
  const drivers: BlockDriver[] = [];
  const children: BlockNode[] = [];
  const unsettled: UnsettledNodes = new Set();
  try {
    for (const { entry, settings } of list) {
      const { node } = entry;
      const before = node.settings;
      undo.push(() => node.applySettings(before));
      node.applySettings(settings);
    }
    // A driver that will write no more asks less of what it stands on, which may become read-only with it.
    for (const { entry, prepared } of list) {
      if (prepared?.readOnly !== true || entry.node.driver.children.length === 0) continue;
      refuseWriters(entry.node);
      entry.node.refreshPermissions();
    }
    for (const { entry } of list) refuseWriters(entry.node);
    for (const { entry, driver } of list) {
      const { node } = entry;
      const before = node.driver;
      if (driver === undefined) continue;
      node.replaceDriver(driver, unsettled);
      undo.push(() => node.replaceDriver(before, unsettled));
      drivers.push(before);
      children.push(...before.children.map((child) => child.node));
    }
    for (const { entry } of list) refuseWriters(entry.node);
    for (const { entry } of list) entry.node.refreshPermissions();
  } catch (error) {
    for (const takeBack of undo.reverse()) takeBack();
    throw error;
  } finally {
    settlePermissions(unsettled);
  }
  for (const { entry, options, prepared } of list) {
    prepared?.commit();
    entry.options = options;
    entry.node.childResized();
  }
  return { drivers, children };
}

/** A node that becomes read-only must have no users that write. */
function refuseWriters(node: BlockNode): void {
  const { needs } = node.combinedPermissions();
  if ((needs & (PERM_WRITE | PERM_WRITE_UNCHANGED)) === 0) return;
  if (node.readOnly) throw new QmpError(`Read-only block node '${node.name}' cannot support read-write users`);
}

// Opens nodes with their children from options, and closes them with what stands below for their sake alone.

import type { Clock } from "../base/clock.ts";
import { BlockError, QmpError } from "../base/errors.ts";
import { tracePoint } from "../base/trace.ts";
import { backingPath, pathBelow } from "./backing-path.ts";
import { loadBitmaps, storeBitmaps } from "./bitmap-store.ts";
import type { NodeParent } from "./drain.ts";
import type { BlockDriver, ChildRole } from "./driver.ts";
import type { FoundNode } from "./graph.ts";
import type { NodeNames } from "./graph-names.ts";
import {
  type BlockdevOptions,
  type ChildOption,
  type DriverOpener,
  isInlineChild,
  type OpenContext,
  type OptionsNamed,
} from "./graph-options.ts";
import { checkSettings, inheritedBy, NOTHING_INHERITED, settingsOf } from "./graph-settings.ts";
import type { ImageDamage } from "./image-damage.ts";
import { probeFormat } from "./image-file.ts";
import { BlockNode } from "./node.ts";
import type { NodeList } from "./node-list.ts";
import type { NodeSettings } from "./node-settings.ts";

const nodeOpened = tracePoint("bdrv_open_common");

/** What a node that is given within another's options has of that one. */
interface Inherited {
  readonly settings: NodeSettings;
  readonly active: boolean;
  /** False where `active` in options says nothing. */
  readonly mayBeActive: boolean;
}

/** What it needs of the graph. */
interface Graph {
  readonly names: NodeNames;
  readonly nodes: NodeList;
  lookup(name: string): FoundNode;
  findNode(name: string): BlockNode | undefined;
  tellImageDamage(driver: BlockDriver, damage: ImageDamage): void;
}

/**
 * The life of nodes. A node gets its name, and with it its place in the list, when its `file` is open and its settings are checked;
 * its other children and its driver are opened after that: so errors come in QEMU's order, and so do listings.
 */
export class GraphOpener {
  readonly #graph: Graph;
  readonly #drivers: ReadonlyMap<string, DriverOpener>;
  readonly #clock: Clock;
  readonly #optionsNamed: OptionsNamed;
  #order = 0;

  constructor(options: {
    graph: Graph;
    drivers: ReadonlyMap<string, DriverOpener>;
    clock: Clock;
    optionsNamed: OptionsNamed;
  }) {
    this.#graph = options.graph;
    this.#drivers = options.drivers;
    this.#clock = options.clock;
    this.#optionsNamed = options.optionsNamed;
  }

  opener(driver: string): DriverOpener | undefined {
    return this.#drivers.get(driver);
  }

  /**
   * Opens a node. One that is given by name below it is used, one that is given by options is opened. Where they are not to be
   * `active` none of them is, whatever options say.
   */
  open(options: BlockdevOptions, how: { ownedByMonitor: boolean; active: boolean }): Promise<BlockNode> {
    const { ownedByMonitor, active } = how;
    return this.#open(options, ownedByMonitor, { settings: NOTHING_INHERITED, active, mayBeActive: active });
  }

  /** Closes a node that has no users, and releases what stood below. All is closed also if something fails. */
  async close(node: BlockNode): Promise<void> {
    this.#graph.nodes.remove(node);
    const below = node.driver.children.map((child) => child.node);
    const errors: unknown[] = [];
    const note = (error: unknown): number => errors.push(error);
    await flush(node).catch(note);
    // What could not be stored is marked in the image as in use. The node is closed all the same.
    if (node.active) await storeBitmaps(node).catch(noteFailedStore);
    for (const bitmap of [...node.bitmaps]) node.bitmaps.release(bitmap);
    await node.close().catch(note);
    this.#graph.names.release(node.name);
    for (const child of new Set(below)) await this.release(child)?.catch(note);
    if (errors.length > 0) throw errors[0];
  }

  /** Closes a node if nobody uses it and it is nobody's to delete; undefined if there is nothing to do. */
  release(node: BlockNode): Promise<void> | undefined {
    const { nodes } = this.#graph;
    if (node.parentCount > 0 || !nodes.has(node) || nodes.entry(node).ownedByMonitor) return undefined;
    return this.close(node);
  }

  /** What a driver is opened with. */
  context(
    options: BlockdevOptions,
    settings: NodeSettings,
    children: ReadonlyMap<ChildRole, BlockNode>,
    active: boolean,
    openBackingFile: OpenContext["openBackingFile"] = notReopened,
  ): OpenContext {
    return {
      options,
      settings,
      active,
      clock: this.#clock,
      child: (role) => children.get(role)!,
      optionalChild: (role) => children.get(role),
      findNode: (name) => this.#graph.findNode(name),
      openBackingFile,
      imageDamaged: (driver, damage) => this.#graph.tellImageDamage(driver, damage),
    };
  }

  /** The driver once more, of an opener that says so, on the nodes that it stands on. */
  async openAnew(node: BlockNode): Promise<BlockDriver | undefined> {
    const { options } = this.#graph.nodes.entry(node);
    const opener = this.#drivers.get(options.driver)!;
    if (opener.openedAnewOnActivation !== true) return undefined;
    const children = new Map(node.driver.children.map((child) => [child.role, child.node]));
    return opener.open(this.context(options, node.settings, children, true));
  }

  async #open(
    options: BlockdevOptions,
    ownedByMonitor: boolean,
    inherited: Inherited,
    above: readonly string[] = [],
  ): Promise<BlockNode> {
    const opener = this.#drivers.get(options.driver);
    if (opener === undefined) throw new QmpError(`Unknown driver '${options.driver}'`);
    const own: Inherited = {
      settings: settingsOf(options, inherited.settings),
      active: (options.active ?? inherited.active) && inherited.mayBeActive,
      mayBeActive: inherited.mayBeActive,
    };
    const { settings } = own;
    const { names, nodes } = this.#graph;
    const children = new HeldChildren();
    let name: string | undefined;
    try {
      const [file, others] = [opener.children.filter(isFile), opener.children.filter((child) => !isFile(child))];
      await this.#openChildren(file, options, own, children);
      checkSettings(settings);
      name = names.take(options["node-name"]);
      const order = this.#order++;
      await this.#openChildren(others, options, own, children, name);
      const node = await this.#makeNode(name, options, own, children, above);
      nodes.add({ node, options, ownedByMonitor, order });
      if (nodeOpened.enabled) nodeOpened.emit({ bs: name, format_name: options.driver });
      children.letGo();
      return node;
    } catch (error) {
      if (name !== undefined) names.release(name);
      for (const child of children.letGo()) await this.release(child);
      throw error;
    }
  }

  async #openChildren(
    list: readonly ChildOption[],
    options: BlockdevOptions,
    { settings, active, mayBeActive }: Inherited,
    children: HeldChildren,
    name?: string,
  ): Promise<void> {
    for (const { role, required } of list) {
      const given = options[role];
      if (given !== undefined && given === name) throw wouldCreateCycle(name, role, name);
      if (isInlineChild(given)) {
        const child = await this.#open(given, false, { settings: inheritedBy(role, settings), active, mayBeActive });
        await this.#hold(children, role, child);
      } else if (typeof given === "string") children.add(role, this.#graph.lookup(given).node);
      else if (required) throw new QmpError(`A block device must be specified for "${role}"`);
    }
  }

  /** `chain` is the files of the images above, the one that names this one last. */
  async #openBackingFile(
    { settings, active, mayBeActive }: Inherited,
    chain: readonly string[],
    name: string,
    format: string | undefined,
  ): Promise<BlockNode> {
    const named = this.#optionsNamed(name, format);
    const above = chain.at(-1)!;
    const filename = named === undefined ? backingPath(above, name) : above;
    // Which file options mean is known when they have been opened, and that has a backing file in turn.
    const loops = named === undefined ? chain.includes(filename) : chain.indexOf(above) < chain.length - 1;
    if (loops || chain.length >= MAX_CHAIN) throw new QmpError(`Backing file '${name}' creates an infinite loop.`);
    const inherited = { settings: inheritedBy("backing", settings), active, mayBeActive };
    if (named !== undefined) return this.#open(named, false, inherited, chain);
    const file: BlockdevOptions = { driver: "file", filename };
    const driver = format ?? (await this.#probe(file, inherited));
    const takesFile = this.#drivers.get(driver)?.children.some(isFile) === true;
    return this.#open(takesFile ? { driver, file } : { ...file, driver }, false, inherited, chain);
  }

  async #probe(file: BlockdevOptions, inherited: Inherited): Promise<string> {
    const node = await this.#open(file, false, inherited);
    try {
      return await probeFormat({ drivers: [...this.#drivers.values()] }, node);
    } finally {
      await this.release(node);
    }
  }

  /** What was opened for nobody else goes again where its own permissions are against its having a user. */
  async #hold(children: HeldChildren, role: ChildRole, child: BlockNode): Promise<void> {
    try {
      children.add(role, child);
    } catch (error) {
      await this.release(child);
      throw error;
    }
  }

  async #makeNode(
    name: string,
    options: BlockdevOptions,
    own: Inherited,
    children: HeldChildren,
    above: readonly string[],
  ): Promise<BlockNode> {
    const { settings, active } = own;
    const context = this.context(options, settings, children.nodes, active, async (file, filename, format) => {
      const chain = [...above, pathBelow(file)];
      const child = await this.#openBackingFile(own, chain, filename, format);
      await this.#hold(children, "backing", child);
      return child;
    });
    const driver = await this.#drivers.get(options.driver)!.open(context);
    const readOnly = settings.readOnly || (settings.autoReadOnly && driver.readOnly);
    let node: BlockNode;
    try {
      node = new BlockNode({ name, driver, active, ...settings, readOnly });
    } catch (error) {
      await driver.close();
      throw error;
    }
    try {
      if (active) await loadBitmaps(node);
      return node;
    } catch (error) {
      await node.close();
      throw error;
    }
  }
}

/** The children of a node that is being opened: until it uses them itself, nobody closes or deletes them. */
class HeldChildren {
  readonly nodes = new Map<ChildRole, BlockNode>();
  readonly #holder: NodeParent = {
    parentName: "a node that is being opened",
    beginDrain() {},
    untilQuiet: () => undefined,
    endDrain() {},
  };

  add(role: ChildRole, node: BlockNode): void {
    if (![...this.nodes.values()].includes(node)) node.attachParent(this.#holder);
    this.nodes.set(role, node);
  }

  letGo(): Iterable<BlockNode> {
    const nodes = new Set(this.nodes.values());
    for (const node of nodes) node.detachParent(this.#holder);
    return nodes;
  }
}

/** Images that stand on one another; more are a loop that goes by other names. */
const MAX_CHAIN = 200;

/** A node that is opened anew keeps what it stands on, or is told another node. */
function notReopened(): Promise<never> {
  return Promise.reject(new QmpError("A node cannot be reopened with a backing file that is not open"));
}

/** A node cannot stand on itself. */
export function wouldCreateCycle(child: string, role: ChildRole, parent: string): QmpError {
  return new QmpError(`Making '${child}' a ${role} child of '${parent}' would create a cycle`);
}

async function flush(node: BlockNode): Promise<void> {
  using _drained = await node.drain();
  if (!node.readOnly && node.active) await node.flush();
}

/** It was told of already; what is no mistake of an image or its user is ours. */
function noteFailedStore(error: unknown): void {
  if (!(error instanceof BlockError || error instanceof QmpError)) throw error;
}

function isFile(child: ChildOption): boolean {
  return child.role === "file";
}

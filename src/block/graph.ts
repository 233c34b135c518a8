// The block graph: nodes by name, the backends on them, and what may be done to which. docs/reference/corrections.md A1, A6, A11.

import { assert } from "../base/assert.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { QmpError } from "../base/errors.ts";
import { activateNode, checkInactivation, hasActiveParent, InactivationError, inactivateNode } from "./activation.ts";
import { BlockBackend } from "./backend.ts";
import type { BlockBackendOptions } from "./backend-options.ts";
import type { DrainedSection } from "./drain.ts";
import type { BlockDriver } from "./driver.ts";
import { NodeNames } from "./graph-names.ts";
import { GraphOpener } from "./graph-opener.ts";
import type { BlockdevCreateOptions, BlockdevOptions, DriverOpener, OptionsNamed } from "./graph-options.ts";
import { reopenNodes } from "./graph-reopen.ts";
import type { ImageDamage } from "./image-damage.ts";
import type { BlockNode } from "./node.ts";
import { type NodeEntry, NodeList } from "./node-list.ts";
import type { BlockOperation } from "./op-blockers.ts";
import { PERM_ALL, PERM_RESIZE } from "./permissions.ts";

/** A node, and the drive by whose id it was found. */
export interface FoundNode {
  readonly node: BlockNode;
  readonly drive: BlockBackend | undefined;
}

/** A write went beyond a node's threshold: QMP's BLOCK_WRITE_THRESHOLD. */
export type WriteThresholdListener = (node: BlockNode, thresholdBytes: number, exceededBytes: number) => void;

/** A node's image contradicts itself: QMP's BLOCK_IMAGE_CORRUPTED. */
export type ImageDamageListener = (node: BlockNode, damage: ImageDamage) => void;

export interface BlockGraphOptions {
  /** Which drivers there are. */
  readonly drivers: readonly DriverOpener[];
  readonly clock?: Clock;
  /** While it says so, images are somebody else's, who is about to give them away: what users open is inactive. Never by default. */
  readonly opensInactive?: () => boolean;
  /** No name stands for options by default. */
  readonly optionsNamed?: OptionsNamed;
}

/**
 * All nodes and backends of a machine. What a user may get wrong is a `QmpError` with QEMU's text and has then changed nothing.
 *
 * A node that `add` has made stays until `delete`. One that is given within another's options, or opened for a drive or a job, is
 * closed when its last user lets go of it: `release`.
 */
export class BlockGraph {
  readonly names: NodeNames;
  readonly nodes: NodeList = new NodeList();
  readonly #backends: BlockBackend[] = [];
  /** Which drivers there are. */
  readonly drivers: readonly DriverOpener[];
  readonly #opener: GraphOpener;
  readonly #opensInactive: () => boolean;
  readonly #damageListeners = new Set<ImageDamageListener>();
  readonly #thresholdListeners = new Set<WriteThresholdListener>();

  constructor(options: BlockGraphOptions) {
    const { drivers, clock = systemClock, opensInactive = () => false, optionsNamed = () => undefined } = options;
    this.drivers = drivers;
    this.#opensInactive = opensInactive;
    this.names = new NodeNames((name) => this.drive(name) !== undefined);
    const byName = new Map(drivers.map((driver) => [driver.driver, driver]));
    this.#opener = new GraphOpener({ graph: this, drivers: byName, clock, optionsNamed });
  }

  /** Drives in the order in which they came, then the backends of devices on nodes. */
  get backends(): readonly BlockBackend[] {
    const isDrive = (backend: BlockBackend): boolean => backend.name !== "";
    return [...this.#backends.filter(isDrive), ...this.#backends.filter((backend) => !isDrive(backend))];
  }

  /** The drive of that id, with or without a medium. */
  drive(id: string): BlockBackend | undefined {
    return id === "" ? undefined : this.#backends.find(({ name }) => name === id);
  }

  driver(name: string): DriverOpener | undefined {
    return this.#opener.opener(name);
  }

  /** By its own name alone. */
  node(name: string): BlockNode | undefined {
    return this.nodes.get(name)?.node;
  }

  /** By its own name alone, or `QmpError`. */
  getNode(name: string): BlockNode {
    return this.#entryOf(name).node;
  }

  /** What a command with both members means: the drive goes first, an unknown one leaves it to the node's name. */
  find(device: string | undefined, nodeName: string | undefined): FoundNode {
    const drive = device === undefined ? undefined : this.drive(device);
    if (drive !== undefined) {
      if (drive.root === undefined) throw new QmpError(`Device '${drive.name}' has no medium`);
      return { node: drive.root, drive };
    }
    const node = nodeName === undefined ? undefined : this.node(nodeName);
    if (node === undefined)
      throw new QmpError(`Cannot find device='${device ?? ""}' nor node-name='${nodeName ?? ""}'`);
    return { node, drive: undefined };
  }

  /** What a command means by one name, of a drive or a node. */
  lookup(name: string): FoundNode {
    return this.find(name, name);
  }

  /** As `lookup`, and undefined where there is no such node. */
  findNode(name: string): BlockNode | undefined {
    const drive = this.drive(name);
    return drive === undefined ? this.node(name) : drive.root;
  }

  /** Throws a `QmpError` if some user forbids the operation. */
  checkOperation(found: FoundNode, operation: BlockOperation): void {
    const { node, drive } = found;
    const cover = drive === undefined ? undefined : node.parentEdge(drive.asParent).coveredBy;
    const reason = cover === undefined ? node.opBlockers.reason(operation) : cover.parent.opBlocker?.reason;
    if (reason !== undefined) throw new QmpError(`Node '${drive?.name ?? this.displayName(node)}' is busy: ${reason}`);
  }

  /** How messages name a node: by the drive that it is the root of, if there is one. */
  displayName(node: BlockNode): string {
    for (const parent of node.parents) {
      if (parent.driveId !== undefined && node.parentEdge(parent).coveredBy === undefined) return parent.driveId;
    }
    return node.name;
  }

  /** blockdev-add. */
  async add(options: BlockdevOptions): Promise<BlockNode> {
    if (options["node-name"] === undefined) throw new QmpError("'node-name' must be specified for the root node");
    return this.#opener.open(options, { ownedByMonitor: true, active: !this.#opensInactive() });
  }

  /** Opens a node for whoever is about to use it: a job, a command. It has an automatic name where the options give none. */
  open(options: BlockdevOptions): Promise<BlockNode> {
    return this.#opener.open(options, { ownedByMonitor: false, active: true });
  }

  /** As `open`, for a drive. */
  openForDrive(options: BlockdevOptions): Promise<BlockNode> {
    return this.#opener.open(options, { ownedByMonitor: false, active: !this.#opensInactive() });
  }

  /** blockdev-del. If closing fails the node is gone nevertheless, and the error is the flush's or the file's. */
  async delete(nodeName: string): Promise<void> {
    const { node, ownedByMonitor } = this.#entryOf(nodeName);
    for (const parent of node.parents) {
      if (parent.isBackend === true && node.parentEdge(parent).coveredBy === undefined)
        throw new QmpError(`Node ${nodeName} is in use`);
    }
    this.checkOperation({ node, drive: undefined }, "delete");
    if (!ownedByMonitor) throw new QmpError(`Node ${nodeName} is not owned by the monitor`);
    if (node.parentCount > 0) throw new QmpError(`Block device ${nodeName} is in use`);
    await this.#opener.close(node);
  }

  /**
   * Closes a node that nobody uses and that is not the monitor's, and what stood below it for its sake alone. Undefined where the node
   * stays. Rejects as `delete` does.
   */
  release(node: BlockNode): Promise<void> | undefined {
    return this.#opener.release(node);
  }

  /**
   * Keeps a node that is not the monitor's while a command that has looked it up waits for something: its last user may go
   * meanwhile. The function returned lets go of it, and releases it.
   */
  hold(node: BlockNode): () => Promise<void> | undefined {
    return this.nodes.entry(node).ownedByMonitor ? () => undefined : this.keep(node, "a command");
  }

  /** As `hold`, and beyond the command: the monitor's nodes are not deleted either. */
  keep(node: BlockNode, parentName: string): () => Promise<void> | undefined {
    const holder = { parentName, beginDrain() {}, untilQuiet: () => undefined, endDrain() {} };
    node.attachParent(holder);
    return () => {
      node.detachParent(holder);
      return this.release(node);
    };
  }

  /** blockdev-set-active of one node. */
  async setActive(nodeName: string, active: boolean): Promise<void> {
    const node = this.getNode(nodeName);
    await (active ? activateNode(this.#opener, node) : inactivateNode(node));
  }

  /**
   * Gives all images away, those first that no active node stands on. Throws an `InactivationError` where a user needs one, and has
   * then changed nothing; or where one cannot be written to, and then those before it are inactive.
   */
  async inactivateAll(): Promise<void> {
    const prefix = "Failed to inactivate all nodes";
    for (const { node } of this.nodes) if (node.active) checkInactivation(node, prefix);
    for (const { node } of [...this.nodes]) if (!hasActiveParent(node)) await inactivateNode(node, prefix);
    // One that is being closed stands above: it still writes.
    for (const { node } of this.nodes) if (node.active) throw new InactivationError(prefix, "EPERM");
  }

  /** Takes all images back. Throws the first `QmpError` or `BlockError`, when all that can be are active. */
  async activateAll(): Promise<void> {
    const errors: unknown[] = [];
    for (const { node } of [...this.nodes].filter((entry) => !entry.node.active))
      await activateNode(this.#opener, node).catch((error: unknown) => errors.push(error));
    if (errors.length > 0) throw errors[0];
  }

  /** blockdev-reopen: all of them or none. */
  reopen(options: readonly BlockdevOptions[]): Promise<void> {
    const opener = this.#opener;
    const services = {
      graph: this,
      opener: opener.opener.bind(opener),
      context: opener.context.bind(opener),
    };
    return reopenNodes(services, options);
  }

  /** blockdev-create's work, once its job runs. */
  async create(options: BlockdevCreateOptions): Promise<void> {
    this.checkCreate(options.driver);
    await this.#opener.opener(options.driver)!.create!(options, this);
  }

  /** What blockdev-create refuses before it makes a job. */
  checkCreate(driver: string): void {
    const opener = this.#opener.opener(driver);
    if (opener === undefined) throw new QmpError(`Unknown driver '${driver}'`);
    if (opener.create === undefined) throw new QmpError("Driver does not support blockdev-create");
  }

  /** block_resize: `device` means drives alone, `nodeName` nodes alone. */
  async resize(device: string | undefined, nodeName: string | undefined, lengthBytes: number): Promise<void> {
    const found = this.find(device, nodeName);
    if (lengthBytes < 0) throw new QmpError("Parameter 'size' expects a >0 size");
    this.checkOperation(found, "resize");
    const permissions = { needs: PERM_RESIZE, shares: PERM_ALL };
    const backend = new BlockBackend({ name: "", node: found.node, permissions });
    try {
      await found.node.resize(lengthBytes);
    } finally {
      backend.close();
      const closing = this.release(found.node);
      if (closing !== undefined) await closing;
    }
  }

  /** block-set-write-threshold; 0 takes it back. */
  setWriteThreshold(nodeName: string, bytes: number): void {
    const node = this.node(nodeName);
    if (node === undefined) throw new QmpError(`Device '${nodeName}' not found`);
    node.writeThreshold.set(bytes, (threshold, exceeded) => {
      for (const listener of this.#thresholdListeners) listener(node, threshold, exceeded);
    });
  }

  /** Calls `listener` whenever a threshold is exceeded. The function returned ends it. */
  onWriteThreshold(listener: WriteThresholdListener): () => void {
    this.#thresholdListeners.add(listener);
    return () => this.#thresholdListeners.delete(listener);
  }

  /** A driver tells that its image contradicts itself. */
  tellImageDamage(driver: BlockDriver, damage: ImageDamage): void {
    for (const { node } of this.nodes)
      if (node.driver === driver) for (const listener of this.#damageListeners) listener(node, damage);
  }

  /** Calls `listener` whenever an image is found damaged. The function returned ends it. */
  onImageDamage(listener: ImageDamageListener): () => void {
    this.#damageListeners.add(listener);
    return () => this.#damageListeners.delete(listener);
  }

  /** Makes a backend: of a drive where it has a name, else of a device or a command. */
  addBackend(options: BlockBackendOptions): BlockBackend {
    const { name } = options;
    if (name !== "") {
      if (this.drive(name) !== undefined) throw new QmpError(`Device with id '${name}' already exists`);
      if (this.names.has(name)) throw new QmpError(`Device name '${name}' conflicts with an existing node name`);
    }
    const backend = new BlockBackend(options);
    this.#backends.push(backend);
    return backend;
  }

  /** Closes a backend, with nothing in flight, and its node if that was there for its sake alone. */
  async removeBackend(backend: BlockBackend): Promise<void> {
    const index = this.#backends.indexOf(backend);
    assert(index >= 0, `backend '${backend.name}': not of this graph`);
    this.#backends.splice(index, 1);
    const node = backend.root;
    backend.close();
    if (node !== undefined) await this.release(node);
  }

  /** Resolves when nobody sends any node requests and none is in flight, until the section is disposed of. */
  async drainAll(): Promise<DrainedSection> {
    const nodes = [...this.nodes].map(({ node }) => node);
    for (const node of nodes) node.beginDrain();
    const busyOne = (): Promise<void> | undefined => {
      for (const node of nodes) {
        const busy = node.untilQuiet();
        if (busy !== undefined) return busy;
      }
      return undefined;
    };
    for (let busy = busyOne(); busy !== undefined; busy = busyOne()) await busy;
    let open = true;
    return {
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        for (const node of nodes) node.endDrain();
      },
    };
  }

  /** Closes every node, from the top down. Backends, jobs and exports are gone by then. Rejects with the first error. */
  async close(): Promise<void> {
    assert(this.#backends.length === 0, "block graph: closed with backends");
    const errors: unknown[] = [];
    for (;;) {
      const next = [...this.nodes].find(({ node }) => node.parentCount === 0);
      if (next === undefined) break;
      await this.#opener.close(next.node).catch((error: unknown) => errors.push(error));
    }
    const left = [...this.nodes].map(({ node }) => node.name);
    assert(left.length === 0, `block graph: closed while ${left.join(", ")} are in use`);
    if (errors.length > 0) throw errors[0];
  }

  #entryOf(nodeName: string): NodeEntry {
    const entry = this.nodes.get(nodeName);
    if (entry === undefined) throw new QmpError(`Failed to find node with node-name='${nodeName}'`);
    return entry;
  }
}

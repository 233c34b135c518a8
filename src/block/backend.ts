// A block backend: what a device, or any other user of a disk, holds of the block layer.

import { assert } from "../base/assert.ts";
import { BlockError } from "../base/errors.ts";
import type { IoVector } from "../base/io-vector.ts";
import { IoAccounting } from "./accounting.ts";
import { BackendThrottle } from "./backend-throttle.ts";
import type { NodeParent } from "./drain.ts";
import type { DiskLifetime } from "./driver.ts";
import type { Direction, ThrottleGroup } from "./filters/throttle-group.ts";
import { IoErrors } from "./io-errors.ts";
import type { BlockNode } from "./node.ts";
import { devicePermissions, PERM_ALL, type Permissions } from "./permissions.ts";
import type { WriteZeroesRequestOptions } from "./request-options.ts";
import { appendToZone, commandZone, resetAllZones } from "./zone-admission.ts";
import type { BlockZones, ZoneCommand } from "./zones.ts";

const ERASE: WriteZeroesRequestOptions = { erase: true };

/** A device on a backend, as far as the block layer names it and lets others in beside it. */
export interface BackendDevice {
  /** As users gave it (`-device id=`). */
  readonly id: string | undefined;
  /** Where it stands among the machine's devices, `/machine/peripheral-anon/device[0]`; its name where it has no id. */
  readonly path: string;
  /** Others may write to the node while the device does. */
  readonly shareRw: boolean;
}

export interface BlockBackendOptions {
  /** The drive's id; "" for the backend of a device on a node, or of one command. */
  readonly name: string;
  /** Undefined for a drive without a medium. */
  readonly node?: BlockNode | undefined;
  readonly readOnly?: boolean;
  readonly writeCache?: boolean;
  /** Of its user while there is no device; by default reading, writing unless read-only, and minding nobody. */
  readonly permissions?: Permissions;
}

/**
 * A user's end of a node. Requests pass to the node at once, except in a drained section, where they are held, in order,
 * until it ends. With the write cache off every change is on stable storage before it is acknowledged. Without a node every
 * request fails with ENOMEDIUM.
 *
 * As with the node, what is done when the call returns gives `undefined`, and errors are `BlockError`s, thrown or rejected.
 */
export class BlockBackend {
  readonly name: string;
  readonly readOnly: boolean;
  /** Writes may be acknowledged before they are on stable storage; the guest may switch it. */
  writeCache: boolean;
  /** Kept by the device: requests of others, such as a monitor's, do not count. */
  readonly accounting: IoAccounting = new IoAccounting();
  /** What the device does when a request fails. */
  readonly errors: IoErrors = new IoErrors();
  #node: BlockNode | undefined;
  #permissions: Permissions;
  #device: BackendDevice | undefined;
  readonly #asParent: NodeParent;
  readonly #resizeListeners: ((lengthBytes: number) => void)[] = [];
  #drains = 0;
  #throttle: BackendThrottle | undefined;
  /** Requests must not simply go on: it is drained, or throttled. */
  #gated = false;
  #inFlight = 0;
  /** Requests that wait for a drained section to end. */
  #held = 0;
  #release: (() => void)[] = [];
  #idleWaiters: (() => void)[] = [];
  #closed = false;

  /** Throws a `QmpError` where other users of the node stand against it. */
  constructor(options: BlockBackendOptions) {
    const { name, node, readOnly = false, writeCache = true } = options;
    this.name = name;
    this.#node = node;
    this.readOnly = readOnly || node?.readOnly === true;
    this.writeCache = writeCache;
    this.#permissions = options.permissions ?? { ...devicePermissions(this.readOnly, true), shares: PERM_ALL };
    this.#asParent = this.#makeParent();
    node?.attachParent(this.#asParent, this.#permissions);
  }

  /** The node that it stands on. Not to be asked for without a medium. */
  get node(): BlockNode {
    assert(this.#node !== undefined, `backend '${this.name}': has no medium`);
    return this.#node;
  }

  /** The node that it stands on, if there is one. */
  get root(): BlockNode | undefined {
    return this.#node;
  }

  get device(): BackendDevice | undefined {
    return this.#device;
  }

  /** This backend as the node knows it. */
  get asParent(): NodeParent {
    return this.#asParent;
  }

  /** Throws a `QmpError` where other users of the node stand against it; the old permissions then hold. */
  setPermissions(permissions: Permissions): void {
    this.#node?.setParentPermissions(this.#asParent, permissions);
    this.#permissions = permissions;
  }

  /**
   * Gives the backend to a device. Others may then read the node and change its length; writing is shared if the device
   * shares it. Throws a `QmpError` where other users of the node stand against it; there is no device then.
   */
  attachDevice(device: BackendDevice): void {
    assert(this.#device === undefined, `backend '${this.name}': has a device`);
    this.#device = device;
    try {
      this.setPermissions(devicePermissions(this.readOnly, device.shareRw));
    } catch (error) {
      this.#device = undefined;
      throw error;
    }
  }

  detachDevice(): void {
    assert(this.#device !== undefined, `backend '${this.name}': has no device`);
    this.#device = undefined;
    this.setPermissions({ needs: 0, shares: PERM_ALL });
  }

  /**
   * Moves to another node, with nothing in flight. Throws a `QmpError` where users of the new node stand against it; it then
   * stays where it is.
   */
  setNode(node: BlockNode): void {
    assert(this.#inFlight === 0, `backend '${this.name}': moved with requests in flight`);
    const old = this.#node;
    this.#beginDrain();
    try {
      old?.detachParent(this.#asParent);
      this.#node = undefined;
      node.attachParent(this.#asParent, this.#permissions);
      this.#node = node;
    } finally {
      if (this.#node === undefined && old !== undefined) {
        old.attachParent(this.#asParent, this.#permissions);
        this.#node = old;
      }
      this.#endDrain();
    }
    if (old?.lengthBytes !== node.lengthBytes) this.#resized(node.lengthBytes);
  }

  get lengthBytes(): number {
    return this.#node === undefined ? 0 : this.#node.lengthBytes;
  }

  /** Zones of the disk, if it has any. */
  get zones(): BlockZones | undefined {
    return this.#node?.driver.zones;
  }

  /** How worn the disk is, if it knows. */
  get lifetime(): DiskLifetime | undefined {
    return this.#node?.driver.lifetime;
  }

  /** Write-zeroes can deallocate. */
  get canUnmap(): boolean {
    return this.#node?.canUnmap === true;
  }

  /** There is a `secureErase`. */
  get canErase(): boolean {
    return this.#node?.driver.secureErase !== undefined;
  }

  /** Requests handed to the node and not yet ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Calls `listener` with each new length. */
  onResize(listener: (lengthBytes: number) => void): void {
    this.#resizeListeners.push(listener);
  }

  /** The throttle group that it belongs to. */
  get throttleGroup(): ThrottleGroup | undefined {
    return this.#throttle?.group;
  }

  /** Makes reads and writes go by the limits of a group, or of none. What waits for those of another group goes on at once. */
  setThrottleGroup(group: ThrottleGroup | undefined): void {
    if (group === this.throttleGroup) return;
    this.#throttle?.end();
    this.#throttle = group && new BackendThrottle(group, this.#drains);
    this.#updateGate();
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (!this.#gated) return this.#read(offsetBytes, vector);
    if (this.#drains > 0) return this.#afterDrain(() => this.read(offsetBytes, vector));
    return this.#throttled("read", vector.byteLength, () => this.#read(offsetBytes, vector));
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (!this.#gated) return this.#committed(this.#writable().write(offsetBytes, vector));
    if (this.#drains > 0) return this.#afterDrain(() => this.write(offsetBytes, vector));
    return this.#throttled("write", vector.byteLength, () => {
      if (vector.abandoned) throw new BlockError("ECANCELED");
      return this.#committed(this.#writable().write(offsetBytes, vector));
    });
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options?: WriteZeroesRequestOptions): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.writeZeroes(offsetBytes, lengthBytes, options));
    const request = (): void | Promise<void> =>
      this.#committed(this.#writable().writeZeroes(offsetBytes, lengthBytes, options));
    return this.#gated ? this.#throttled("write", lengthBytes, request) : request();
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.discard(offsetBytes, lengthBytes));
    return this.#committed(this.#writable().discard(offsetBytes, lengthBytes));
  }

  /** Makes a range's data irretrievable: only where `canErase`. */
  secureErase(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    return this.writeZeroes(offsetBytes, lengthBytes, ERASE);
  }

  /** Writes to the zone that begins at `zoneOffsetBytes`, behind what was written before; returns where that is. */
  zoneAppend(zoneOffsetBytes: number, vector: IoVector): number | Promise<number> {
    if (this.#drains > 0) return this.#afterDrain(() => this.zoneAppend(zoneOffsetBytes, vector));
    let at = 0;
    const request = (): void | Promise<void> => {
      const appended = appendToZone(this.#writable(), zoneOffsetBytes, vector);
      if (typeof appended === "number") {
        at = appended;
        return this.#committed(undefined);
      }
      return this.#committed(
        appended.then((offsetBytes) => {
          at = offsetBytes;
        }),
      );
    };
    const pending = this.#gated ? this.#throttled("write", vector.byteLength, request) : request();
    return pending === undefined ? at : pending.then(() => at);
  }

  zoneCommand(command: ZoneCommand, zoneOffsetBytes: number): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.zoneCommand(command, zoneOffsetBytes));
    return this.#committed(commandZone(this.#writable(), command, zoneOffsetBytes));
  }

  /** Resets every zone that can be; some may be reset when another has failed. */
  zoneResetAll(): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.zoneResetAll());
    return this.#committed(resetAllZones(this.#writable()));
  }

  flush(): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.flush());
    const pending = this.#open().flush();
    if (pending !== undefined) return this.#count(pending);
  }

  /** Undefined when nothing is in flight; else resolves once nothing was, though new requests may have begun by then. */
  untilIdle(): Promise<void> | undefined {
    if (this.#inFlight === 0) return undefined;
    // Somebody waits for it now: as in a drained section, it waits for no limits any more.
    this.#throttle?.release();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Lets the node go. The caller has made sure that nothing is in flight. */
  close(): void {
    assert(this.#inFlight === 0 && this.#held === 0, "backend: closed with requests in flight");
    assert(!this.#closed, "backend: closed twice");
    this.#closed = true;
    this.setThrottleGroup(undefined);
    this.#node?.detachParent(this.#asParent);
  }

  #read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const pending = this.#open().read(offsetBytes, vector);
    if (pending !== undefined) return this.#count(pending);
  }

  #throttled(direction: Direction, bytes: number, request: () => void | Promise<void>): void | Promise<void> {
    const waiting = this.#throttle!.pass(direction, bytes);
    return waiting === undefined ? request() : this.#count(waiting.then(request));
  }

  #updateGate(): void {
    this.#gated = this.#drains > 0 || this.#throttle !== undefined;
  }

  #open(): BlockNode {
    assert(!this.#closed, "backend: request after close");
    if (this.#node === undefined) throw new BlockError("ENOMEDIUM");
    return this.#node;
  }

  #writable(): BlockNode {
    const node = this.#open();
    if (this.readOnly) throw new BlockError("EPERM");
    return node;
  }

  #makeParent(): NodeParent {
    const parentName = (): string => this.#userName();
    return {
      get parentName() {
        return parentName();
      },
      isBackend: true,
      driveId: this.name === "" ? undefined : this.name,
      beginDrain: () => this.#beginDrain(),
      untilQuiet: () => this.untilIdle(),
      endDrain: () => this.#endDrain(),
      resized: (lengthBytes) => this.#resized(lengthBytes),
    };
  }

  #userName(): string {
    const name = this.name !== "" ? this.name : (this.#device?.id ?? this.#device?.path);
    return name === undefined ? "an unnamed block device" : `block device '${name}'`;
  }

  #resized(lengthBytes: number): void {
    for (const listener of this.#resizeListeners) listener(lengthBytes);
  }

  /** A change: with the write cache off, done when it is on stable storage. */
  #committed(pending: void | Promise<void>): void | Promise<void> {
    if (this.writeCache) return pending === undefined ? undefined : this.#count(pending);
    if (pending !== undefined) return this.#count(pending.then(() => this.#open().flush()));
    const flush = this.#open().flush();
    if (flush !== undefined) return this.#count(flush);
  }

  async #count(pending: Promise<void>): Promise<void> {
    this.#inFlight++;
    try {
      await pending;
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#wakeIdle();
    }
  }

  async #afterDrain<T>(request: () => T | Promise<T>): Promise<T> {
    this.#held++;
    await new Promise<void>((resolve) => this.#release.push(resolve));
    this.#held--;
    return request();
  }

  /** What waits for limits goes on, for somebody waits for it now. */
  #beginDrain(): void {
    this.#drains++;
    this.#gated = true;
    this.#throttle?.beginDrain();
  }

  #endDrain(): void {
    this.#drains--;
    this.#throttle?.endDrain();
    if (this.#drains > 0) return;
    this.#updateGate();
    const released = this.#release;
    this.#release = [];
    for (const release of released) release();
  }

  #wakeIdle(): void {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }
}

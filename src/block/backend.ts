// A block backend: what a device, or any other user of a disk, holds of the block layer.

import { assert } from "../base/assert.ts";
import { BlockError } from "../base/errors.ts";
import type { IoVector } from "../base/io-vector.ts";
import { IoAccounting } from "./accounting.ts";
import { BackendGate } from "./backend-gate.ts";
import type { BackendDevice, BlockBackendOptions } from "./backend-options.ts";
import type { NodeParent } from "./drain.ts";
import type { DiskLifetime } from "./driver.ts";
import type { ThrottleGroup } from "./filters/throttle-group.ts";
import { IoErrors } from "./io-errors.ts";
import type { BlockNode } from "./node.ts";
import { devicePermissions, PERM_ALL, type Permissions } from "./permissions.ts";
import type { WriteZeroesRequestOptions } from "./request-options.ts";
import { appendToZone, commandZone, resetAllZones } from "./zone-admission.ts";
import type { BlockZones, ZoneCommand } from "./zones.ts";

const ERASE: WriteZeroesRequestOptions = { erase: true };

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
  readonly #gate = new BackendGate();
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
    assert(this.inFlight === 0, `backend '${this.name}': moved with requests in flight`);
    const old = this.#node;
    this.#gate.beginDrain();
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
      this.#gate.endDrain();
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
    return this.#gate.inFlight;
  }

  /** Calls `listener` with each new length. */
  onResize(listener: (lengthBytes: number) => void): void {
    this.#resizeListeners.push(listener);
  }

  /** The throttle group that it belongs to. */
  get throttleGroup(): ThrottleGroup | undefined {
    return this.#gate.throttleGroup;
  }

  /** Makes reads and writes go by the limits of a group, or of none. What waits for those of another group goes on at once. */
  setThrottleGroup(group: ThrottleGroup | undefined): void {
    this.#gate.setThrottleGroup(group);
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (this.#gate.open) return this.#read(offsetBytes, vector);
    if (this.#gate.drained) return this.#gate.afterDrain(() => this.read(offsetBytes, vector));
    return this.#gate.throttled("read", vector.byteLength, () => this.#read(offsetBytes, vector));
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (this.#gate.open) return this.#committed(this.#writable().write(offsetBytes, vector));
    if (this.#gate.drained) return this.#gate.afterDrain(() => this.write(offsetBytes, vector));
    return this.#gate.throttled("write", vector.byteLength, () => {
      if (vector.abandoned) throw new BlockError("ECANCELED");
      return this.#committed(this.#writable().write(offsetBytes, vector));
    });
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options?: WriteZeroesRequestOptions): void | Promise<void> {
    if (this.#gate.drained) return this.#gate.afterDrain(() => this.writeZeroes(offsetBytes, lengthBytes, options));
    const request = (): void | Promise<void> =>
      this.#committed(this.#writable().writeZeroes(offsetBytes, lengthBytes, options));
    return this.#gate.open ? request() : this.#gate.throttled("write", lengthBytes, request);
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    if (this.#gate.drained) return this.#gate.afterDrain(() => this.discard(offsetBytes, lengthBytes));
    return this.#committed(this.#writable().discard(offsetBytes, lengthBytes));
  }

  /** Makes a range's data irretrievable: only where `canErase`. */
  secureErase(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    return this.writeZeroes(offsetBytes, lengthBytes, ERASE);
  }

  /** Writes to the zone that begins at `zoneOffsetBytes`, behind what was written before; returns where that is. */
  zoneAppend(zoneOffsetBytes: number, vector: IoVector): number | Promise<number> {
    if (this.#gate.drained) return this.#gate.afterDrain(() => this.zoneAppend(zoneOffsetBytes, vector));
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
    const pending = this.#gate.open ? request() : this.#gate.throttled("write", vector.byteLength, request);
    return pending === undefined ? at : pending.then(() => at);
  }

  zoneCommand(command: ZoneCommand, zoneOffsetBytes: number): void | Promise<void> {
    if (this.#gate.drained) return this.#gate.afterDrain(() => this.zoneCommand(command, zoneOffsetBytes));
    return this.#committed(commandZone(this.#writable(), command, zoneOffsetBytes));
  }

  /** Resets every zone that can be; some may be reset when another has failed. */
  zoneResetAll(): void | Promise<void> {
    if (this.#gate.drained) return this.#gate.afterDrain(() => this.zoneResetAll());
    return this.#committed(resetAllZones(this.#writable()));
  }

  flush(): void | Promise<void> {
    if (this.#gate.drained) return this.#gate.afterDrain(() => this.flush());
    const pending = this.#open().flush();
    if (pending !== undefined) return this.#gate.count(pending);
  }

  /** Undefined when nothing is in flight; else resolves once nothing was, though new requests may have begun by then. */
  untilIdle(): Promise<void> | undefined {
    return this.#gate.untilIdle();
  }

  /** Lets the node go. The caller has made sure that nothing is in flight. */
  close(): void {
    assert(this.#gate.empty, "backend: closed with requests in flight");
    assert(!this.#closed, "backend: closed twice");
    this.#closed = true;
    this.setThrottleGroup(undefined);
    this.#node?.detachParent(this.#asParent);
  }

  #read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const pending = this.#open().read(offsetBytes, vector);
    if (pending !== undefined) return this.#gate.count(pending);
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
      beginDrain: () => this.#gate.beginDrain(),
      untilQuiet: () => this.#gate.untilIdle(),
      endDrain: () => this.#gate.endDrain(),
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
    if (this.writeCache) return pending === undefined ? undefined : this.#gate.count(pending);
    if (pending !== undefined) return this.#gate.count(pending.then(() => this.#open().flush()));
    const flush = this.#open().flush();
    if (flush !== undefined) return this.#gate.count(flush);
  }
}

// A node of the block graph: one driver, and the pipeline that every request to it goes through.

import { AssertionError, assert } from "../base/assert.ts";
import { BlockError } from "../base/errors.ts";
import type { IoVector } from "../base/io-vector.ts";
import { tracePoint } from "../base/trace.ts";
import { isZero } from "../base/zero.ts";
import { DirtyBitmapList } from "../bitmap/dirty-bitmap-list.ts";
import {
  type BeforeWriteNotifier,
  BeforeWriteNotifiers,
  DROP_REQUEST,
  type NotifierVerdict,
} from "./before-write-notifier.ts";
import { type BlockDriver, type BlockStatus, MAX_NODE_BYTES, SECTOR_SIZE_BYTES } from "./driver.ts";
import { GraphNode } from "./graph-node.ts";
import { DEFAULT_NODE_SETTINGS, type NodeSettings } from "./node-settings.ts";
import type { DiscardOptions, ReadOptions, WriteOptions, WriteZeroesRequestOptions } from "./request-options.ts";
import { type TrackedRequest, TrackedRequests } from "./tracked-request.ts";
import { WriteThreshold } from "./write-threshold.ts";
import { wipeZones, writeToZones } from "./zone-admission.ts";

const tracePread = tracePoint("bdrv_co_preadv_part");
const tracePwrite = tracePoint("bdrv_co_pwritev_part");
const tracePwriteZeroes = tracePoint("bdrv_co_pwrite_zeroes");

const NO_OPTIONS = {} as const;

/**
 * One image in the graph.
 *
 * The way of a request: range check; tracked; waits for the requests that it conflicts with; before-write notifiers (write,
 * write-zeroes, discard), which may delay, fail or drop it; the driver; the enabled bitmaps get the range, whether the
 * driver succeeded or not, for then nobody knows what is there; the request ends and wakes its waiters.
 *
 * Where none of that has to wait, all of it happens within the call, which then returns `undefined`. Errors are `BlockError`s,
 * thrown by the call or rejected by its promise.
 */
export class BlockNode extends GraphNode {
  readonly bitmaps: DirtyBitmapList;
  readonly beforeWrite: BeforeWriteNotifiers = new BeforeWriteNotifiers();
  readonly writeThreshold: WriteThreshold = new WriteThreshold(this.beforeWrite);
  readonly #requests = new TrackedRequests();
  #settings: NodeSettings;
  /** Of the settings, what requests look at. */
  #readOnly: boolean;
  #discardEnabled: boolean;
  #detectsZeroes: boolean;
  #flushes: boolean;
  #highestWrite = 0;
  #knownLengthBytes: number;

  /** Throws a `QmpError` where the driver may not use the nodes that it stands on: see `GraphNode`. */
  constructor(options: { name: string; driver: BlockDriver; active?: boolean } & Partial<NodeSettings>) {
    const { name, driver, active = true, ...settings } = options;
    super(name, driver, active);
    this.#settings = { readOnly: driver.readOnly, ...DEFAULT_NODE_SETTINGS, ...settings };
    this.#readOnly = this.#settings.readOnly;
    this.#discardEnabled = this.#settings.discard === "unmap";
    this.#detectsZeroes = this.#settings.detectZeroes !== "off";
    this.#flushes = this.#mustFlush();
    this.bitmaps = new DirtyBitmapList(driver.lengthBytes);
    this.#knownLengthBytes = driver.lengthBytes;
    this.attachChildren();
  }

  get lengthBytes(): number {
    return this.driver.lengthBytes;
  }

  get readOnly(): boolean {
    return this.#readOnly;
  }

  get settings(): NodeSettings {
    return this.#settings;
  }

  /** In a drained section. That permissions and driver go with it the caller has seen to. */
  applySettings(settings: NodeSettings): void {
    this.#settings = settings;
    this.#readOnly = settings.readOnly;
    this.#discardEnabled = settings.discard === "unmap";
    this.#detectsZeroes = settings.detectZeroes !== "off";
    this.#flushes = this.#mustFlush();
  }

  /** Ranges can be deallocated: discards are enabled, and the driver knows them. */
  get canUnmap(): boolean {
    return this.#discardEnabled && this.driver.discard !== undefined;
  }

  /** Where the write ends that went furthest, whether it succeeded or not. */
  get highestWriteBytes(): number {
    return this.#highestWrite;
  }

  /** Requests in flight, oldest first. */
  get requests(): Iterable<TrackedRequest> {
    return this.#requests;
  }

  get inFlight(): number {
    return this.#requests.count;
  }

  read(offsetBytes: number, vector: IoVector, options: ReadOptions = NO_OPTIONS): void | Promise<void> {
    const length = vector.byteLength;
    this.#checkRange(offsetBytes, length);
    if (length === 0) return;
    if (tracePread.enabled) tracePread.emit({ bs: this.name, offset: offsetBytes, bytes: length });
    const request = this.#requests.begin("read", offsetBytes, length, false);
    if (options.fromNotifier !== true && this.#requests.mustWait(request)) return this.#readLater(request, vector);
    let pending: void | Promise<void>;
    try {
      pending = this.driver.read(offsetBytes, vector);
    } catch (error) {
      this.#requests.end(request);
      throw error;
    }
    if (pending !== undefined) return this.#endLater(request, pending);
    this.#requests.end(request);
  }

  write(offsetBytes: number, vector: IoVector, options: WriteOptions = NO_OPTIONS): void | Promise<void> {
    const length = vector.byteLength;
    this.#checkChange(offsetBytes, length);
    if (length === 0) return;
    const { zones } = this.driver;
    if (zones !== undefined && options.admitted !== true) return writeToZones(this, offsetBytes, vector, options);
    if (tracePwrite.enabled) tracePwrite.emit({ bs: this.name, offset: offsetBytes, bytes: length });
    const request = this.#requests.begin("write", offsetBytes, length, options.serialising === true);
    request.vector = vector;
    request.compressed = options.compressed === true && this.driver.writeCompressed !== undefined;
    return this.#change(request);
  }

  /** Makes a range read as zeroes. */
  writeZeroes(
    offsetBytes: number,
    lengthBytes: number,
    options: WriteZeroesRequestOptions = NO_OPTIONS,
  ): void | Promise<void> {
    this.#checkChange(offsetBytes, lengthBytes);
    if (lengthBytes === 0) return;
    const { zones } = this.driver;
    if (zones !== undefined && options.admitted !== true) return wipeZones(this, offsetBytes, lengthBytes, options);
    if (tracePwriteZeroes.enabled) tracePwriteZeroes.emit({ bs: this.name, offset: offsetBytes, bytes: lengthBytes });
    const request = this.#requests.begin("write-zeroes", offsetBytes, lengthBytes, options.serialising === true);
    request.mayUnmap = options.mayUnmap === true;
    request.noFallback = options.noFallback === true;
    request.erase = options.erase === true;
    return this.#change(request);
  }

  /** Says that a range is no longer needed. Success promises nothing: where discards are not enabled nothing happens. */
  discard(offsetBytes: number, lengthBytes: number, options: DiscardOptions = NO_OPTIONS): void | Promise<void> {
    this.#checkChange(offsetBytes, lengthBytes);
    if (lengthBytes === 0 || !this.canUnmap) return;
    this.driver.zones?.checkDiscard(offsetBytes, lengthBytes);
    const request = this.#requests.begin("discard", offsetBytes, lengthBytes, false);
    return options.maker === undefined ? this.#change(request) : this.#passNotifiers(request, options.maker);
  }

  /** When it is done, everything that was acknowledged before the call is on stable storage. */
  flush(): void | Promise<void> {
    this.#checkOpen();
    if (!this.#flushes) return;
    const request = this.#requests.begin("flush", 0, 0, false);
    let pending: void | Promise<void>;
    try {
      pending = this.driver.flush();
    } catch (error) {
      this.#requests.end(request);
      throw error;
    }
    if (pending !== undefined) return this.#endLater(request, pending);
    this.#requests.end(request);
  }

  /** What stands at `offsetBytes`; the answer covers at most `lengthBytes`, and at least one byte. */
  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    this.#checkRange(offsetBytes, lengthBytes);
    assert(lengthBytes > 0, "block status: of an empty range");
    return this.driver.blockStatus(offsetBytes, lengthBytes);
  }

  /**
   * Changes the length, in a drained section, rounded up to 512. What is added reads as zeroes and is clean in the bitmaps.
   * Fails with EACCES where the image is read-only, ENOTSUP where its length is fixed, a `QmpError` where a bitmap would be
   * too large, and as the driver fails.
   */
  async resize(lengthBytes: number): Promise<void> {
    using _drained = await this.drain();
    this.#checkOpen();
    if (this.readOnly || !this.active) throw new BlockError("EACCES", "Image is read-only");
    if (this.driver.resize === undefined)
      throw new BlockError("ENOTSUP", "Image format driver does not support resize");
    if (lengthBytes > MAX_NODE_BYTES) throw new BlockError("EFBIG");
    this.bitmaps.checkTruncate(Math.ceil(lengthBytes / SECTOR_SIZE_BYTES) * SECTOR_SIZE_BYTES);
    await this.driver.bitmapStore?.checkResize(this.bitmaps);
    await this.driver.resize(lengthBytes);
    this.childResized();
  }

  /** Makes it longer while requests are in flight, for a format above. What is added reads as zeroes. ENOTSUP where the length is fixed. */
  extend(lengthBytes: number): void | Promise<void> {
    this.#checkOpen();
    if (this.#readOnly || !this.active) throw new BlockError("EPERM", "Block node is read-only");
    const { driver } = this;
    if (driver.extend === undefined && driver.resize === undefined)
      throw new BlockError("ENOTSUP", "Image format driver does not support resize");
    if (lengthBytes > MAX_NODE_BYTES) throw new BlockError("EFBIG");
    this.bitmaps.checkTruncate(lengthBytes);
    const pending = driver.extend === undefined ? driver.resize!(lengthBytes) : driver.extend(lengthBytes);
    if (pending !== undefined) return pending.then(() => this.childResized());
    this.childResized();
  }

  /** The length of the driver may have changed: bitmaps and parents follow. */
  childResized(): void {
    if (this.#knownLengthBytes === this.lengthBytes) return;
    this.#knownLengthBytes = this.lengthBytes;
    this.bitmaps.truncate(this.lengthBytes);
    for (const parent of this.parents) parent.resized?.(this.lengthBytes);
  }

  protected untilIdle(): Promise<void> | undefined {
    return this.#requests.untilIdle();
  }

  /** The way of everything that changes data, from `begin` to `end`. */
  #change(request: TrackedRequest): void | Promise<void> {
    if (this.#requests.mustWait(request)) return this.#changeAfterConflicts(request);
    if (this.beforeWrite.count === 0) return this.#carryOut(request);
    return this.#passNotifiers(request, undefined);
  }

  #passNotifiers(request: TrackedRequest, maker: BeforeWriteNotifier | undefined): void | Promise<void> {
    let verdict: NotifierVerdict | Promise<NotifierVerdict>;
    try {
      verdict = this.beforeWrite.run(request, maker);
    } catch (error) {
      this.#requests.end(request);
      throw error;
    }
    if (verdict === undefined) return this.#carryOut(request);
    if (verdict === DROP_REQUEST) return this.#requests.end(request);
    return this.#changeAfterNotifiers(request, verdict);
  }

  async #changeAfterConflicts(request: TrackedRequest): Promise<void> {
    await this.#requests.wait(request);
    return this.#change(request);
  }

  async #changeAfterNotifiers(request: TrackedRequest, notifiers: Promise<NotifierVerdict>): Promise<void> {
    let verdict: NotifierVerdict;
    try {
      verdict = await notifiers;
    } catch (error) {
      this.#requests.end(request);
      throw error;
    }
    if (verdict === DROP_REQUEST) return this.#requests.end(request);
    return this.#carryOut(request);
  }

  #carryOut(request: TrackedRequest): void | Promise<void> {
    let pending: void | Promise<void>;
    if (request.vector?.abandoned === true) {
      this.#requests.end(request);
      throw new BlockError("ECANCELED");
    }
    try {
      pending = this.#callDriver(request);
    } catch (error) {
      this.#endChange(request);
      throw error;
    }
    if (pending !== undefined) return this.#endChangeLater(request, pending);
    this.#endChange(request);
  }

  #callDriver(request: TrackedRequest): void | Promise<void> {
    switch (request.kind) {
      case "write":
        if (this.#detectsZeroes && isAllZero(request.vector!)) return this.#writeZeroesInstead(request);
        if (request.compressed) return this.driver.writeCompressed!(request.offsetBytes, request.vector!);
        return this.driver.write(request.offsetBytes, request.vector!);
      case "write-zeroes":
        if (request.erase) return this.driver.secureErase!(request.offsetBytes, request.lengthBytes);
        return this.driver.writeZeroes(request.offsetBytes, request.lengthBytes, request);
      case "discard":
        return this.#discard(request);
      case "read":
      case "flush":
        throw new AssertionError(`a ${request.kind} changes nothing`);
    }
  }

  /** A discard promises nothing: one that the driver cannot do has succeeded. */
  #discard(request: TrackedRequest): void | Promise<void> {
    let pending: void | Promise<void>;
    try {
      pending = this.driver.discard!(request.offsetBytes, request.lengthBytes);
    } catch (error) {
      return passUnsupported(error);
    }
    return pending?.catch(passUnsupported);
  }

  #writeZeroesInstead(request: TrackedRequest): void | Promise<void> {
    const mayUnmap = this.#settings.detectZeroes === "unmap";
    return this.driver.writeZeroes(request.offsetBytes, request.lengthBytes, { mayUnmap, noFallback: false });
  }

  async #readLater(request: TrackedRequest, vector: IoVector): Promise<void> {
    try {
      await this.#requests.wait(request);
      await this.driver.read(request.offsetBytes, vector);
    } finally {
      this.#requests.end(request);
    }
  }

  async #endLater(request: TrackedRequest, pending: Promise<void>): Promise<void> {
    try {
      await pending;
    } finally {
      this.#requests.end(request);
    }
  }

  async #endChangeLater(request: TrackedRequest, pending: Promise<void>): Promise<void> {
    try {
      await pending;
    } finally {
      this.#endChange(request);
    }
  }

  /** The driver was called, so the range counts as changed even if it failed. */
  #endChange(request: TrackedRequest): void {
    if (this.bitmaps.count > 0) this.bitmaps.setDirty(request.offsetBytes, request.lengthBytes);
    if (request.kind !== "discard" && request.endBytes > this.#highestWrite) this.#highestWrite = request.endBytes;
    this.#requests.end(request);
  }

  #checkOpen(): void {
    if (this.closed) throw new AssertionError(`node '${this.name}': request after close`);
  }

  #checkRange(offset: number, length: number): void {
    this.#checkOpen();
    assert(Number.isSafeInteger(offset) && offset >= 0 && length >= 0, "request range: not a range");
    if (length > this.driver.lengthBytes - offset) throw new BlockError("EIO");
  }

  #checkChange(offset: number, length: number): void {
    this.#checkRange(offset, length);
    if (this.#readOnly || !this.active) throw new BlockError("EPERM", "Block node is read-only");
    if (this.bitmaps.count > 0 && this.bitmaps.anyReadonly) throw new BlockError("EPERM");
  }

  /** Formats and filters pass flushes on, for what is below may have been told otherwise. */
  #mustFlush(): boolean {
    return !this.#settings.cacheNoFlush || this.driver.children.length > 0;
  }
}

function isAllZero(vector: IoVector): boolean {
  for (let i = vector.first; i < vector.end; i++)
    if (!isZero(vector.bytes, vector.offsets[i]!, vector.lengths[i]!)) return false;
  return true;
}

function passUnsupported(error: unknown): void {
  if (!(error instanceof BlockError && error.errno === "ENOTSUP")) throw error;
}

// A disk as a script sees it: bytes in and out, promises, many requests at once.

import { BlockRequest, type RequestOwner } from "./block-request.ts";
import { sendChecked } from "./checked-request.ts";
import {
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_LIFETIME_BYTES,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_GET_LIFETIME,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_SECURE_ERASE,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
} from "./constants/blk.ts";
import {
  type FeatureSet,
  hasFeature,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_RO,
} from "./constants/features.ts";
import { DiskZones } from "./disk-zones.ts";
import { GuestDriverError } from "./errors.ts";
import { rangeRequests } from "./range-requests.ts";
import { type RequestResult, SingleRequest, Transfer } from "./transfer.ts";
import type { RangeLimits, VirtioBlkConfig } from "./virtio-blk-config.ts";
import type { VirtioBlkDriver } from "./virtio-blk-driver.ts";

/** A request of the caller's own making: any type, any sector, any lengths that fit one request. */
export interface RawRequest {
  /** The type field of the header, VIRTIO_BLK_T_… or anything else of 32 bits. */
  readonly type: number;
  /** The sector field of the header, in units of 512 bytes; 0 by default. */
  readonly sector?: number | bigint;
  /** Bytes for the device to read, behind the header. */
  readonly out?: Uint8Array;
  /** Filled with what the device writes before the status byte. */
  readonly into?: Uint8Array;
}

/** How worn a device is, as its flash knows it: §5.2.6. */
export interface DiskLifetime {
  /** Reserve of spare blocks: 0 not told, 1 normal, 2 more than 80 % used, 3 more than 90 %. */
  readonly preEolInfo: number;
  /** Used life of the memory of type A, in tenths: 0 not told, 1 up to 10 %, …, 10 up to 100 %, 11 more. */
  readonly estimateA: number;
  readonly estimateB: number;
}

/** Requests of one discard, write zeroes or secure erase under way at a time. */
const RANGE_REQUESTS_AT_ONCE = 16;

/**
 * A block device that was probed (`Guest.probe`). Every call may be made while others are under way; they reach the device in
 * the order of the calls, which does not promise that it carries them out in that order. A call that finds no room in the ring
 * or in guest RAM waits for its turn.
 *
 * Promises reject with a `GuestIoError` when the device answers with another status than OK, a `RangeError` for what cannot be
 * asked of a disk (nothing is sent then), a `GuestDriverError` when the device breaks the protocol, needs a reset or does not
 * answer, and with the reason of the guest's end when that comes first. None stays pending for ever, unless the device is
 * given for ever (`timeoutMs`).
 */
export class Disk {
  readonly #driver: VirtioBlkDriver;

  /** The zones of a zoned device; undefined where there are none. */
  readonly zones: DiskZones | undefined;

  constructor(driver: VirtioBlkDriver) {
    this.#driver = driver;
    const { zoned } = driver.config;
    this.zones = zoned === undefined ? undefined : new DiskZones(driver, zoned);
  }

  get capacityBytes(): number {
    return this.config.capacitySectors * VIRTIO_BLK_SECTOR_BYTES;
  }

  /** The device says that it takes no writes. */
  get readOnly(): boolean {
    return hasFeature(this.features, VIRTIO_BLK_F_RO);
  }

  /** Bytes of a logical block; 512 where the device does not say. Requests are in units of 512 all the same. */
  get blockSizeBytes(): number {
    return this.config.blkSize ?? VIRTIO_BLK_SECTOR_BYTES;
  }

  /** The configuration as the device announced it last. */
  get config(): VirtioBlkConfig {
    return this.#driver.config;
  }

  /** Features that were negotiated. */
  get features(): FeatureSet {
    return this.#driver.features;
  }

  /** Descriptors of a request queue. */
  get queueSize(): number {
    return this.#driver.queueSize;
  }

  /** Request queues in use. */
  get queueCount(): number {
    return this.#driver.queueCount;
  }

  /**
   * Resets one request queue alone and starts it anew (§2.6.1). Requests that the device has in it reject with a
   * `GuestClosedError`, whether carried out or not. Needs VIRTIO_F_RING_RESET.
   */
  resetQueue(index = 0): Promise<void> {
    return this.#driver.resetQueue(index);
  }

  /** Bytes of data of the largest request; reads and writes of more are cut. */
  get maxTransferBytes(): number {
    return this.#driver.maxTransferBytes;
  }

  /** Reads `lengthBytes` from `offsetBytes` on, both multiples of 512. */
  read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const error = this.#rangeError("read", offsetBytes, lengthBytes);
    if (error !== undefined) return this.#refuse(error);
    const bytes = new Uint8Array(lengthBytes);
    return this.#transfer(VIRTIO_BLK_T_IN, offsetBytes, bytes, bytes);
  }

  /** Fills `into`, whose length is a multiple of 512, from `offsetBytes` on. Its contents are undefined until the promise settles. */
  readInto(offsetBytes: number, into: Uint8Array): Promise<void> {
    const error = this.#rangeError("read", offsetBytes, into.length);
    if (error !== undefined) return this.#refuse(error);
    return this.#transfer<void>(VIRTIO_BLK_T_IN, offsetBytes, into, undefined);
  }

  /** Writes `bytes`, whose length is a multiple of 512, at `offsetBytes`. They are not to change until the promise settles. */
  write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const error = this.#rangeError("write", offsetBytes, bytes.length);
    if (error !== undefined) return this.#refuse(error);
    return this.#transfer<void>(VIRTIO_BLK_T_OUT, offsetBytes, bytes, undefined);
  }

  /**
   * Resolves when all writes whose promises had resolved before the call are on stable storage. Without VIRTIO_BLK_F_FLUSH a
   * write is there when it resolves (§5.2.5.1), and nothing is sent.
   */
  // @virtio BLK-DRV-003 BLK-DRV-017 BLK-DRV-018
  flush(): Promise<void> {
    if (this.#driver.ended !== undefined) return this.#refuse(this.#driver.ended.reason);
    if (!hasFeature(this.features, VIRTIO_BLK_F_FLUSH)) return this.#settle(undefined);
    const transfer = new Transfer<void>(1, undefined, "flush");
    this.#driver.submit(new BlockRequest(VIRTIO_BLK_T_FLUSH, 0, undefined, undefined, transfer));
    return transfer.promise;
  }

  /** Tells the device that the bytes are of no use any more: what they read as from then on is undefined. */
  discard(offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.#ranges(VIRTIO_BLK_T_DISCARD, "discard", this.config.discard, offsetBytes, lengthBytes, 0);
  }

  /** Makes the bytes zero; with `unmap` the device may deallocate them, and still they read as zeroes. */
  writeZeroes(offsetBytes: number, lengthBytes: number, options: { readonly unmap?: boolean } = {}): Promise<void> {
    const flags = options.unmap === true ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    const { writeZeroes } = this.config;
    return this.#ranges(VIRTIO_BLK_T_WRITE_ZEROES, "write zeroes", writeZeroes, offsetBytes, lengthBytes, flags);
  }

  /** Erases the bytes and all copies of them. */
  secureErase(offsetBytes: number, lengthBytes: number): Promise<void> {
    const { secureErase } = this.config;
    return this.#ranges(VIRTIO_BLK_T_SECURE_ERASE, "secure erase", secureErase, offsetBytes, lengthBytes, 0);
  }

  /** How worn the device is. Rejects with a `GuestDriverError` when VIRTIO_BLK_F_LIFETIME was not negotiated. */
  async lifetime(): Promise<DiskLifetime> {
    if (!hasFeature(this.features, VIRTIO_BLK_F_LIFETIME)) return this.#refuse(notNegotiated("lifetime"));
    const into = new Uint8Array(VIRTIO_BLK_LIFETIME_BYTES);
    const request = { type: VIRTIO_BLK_T_GET_LIFETIME, into, what: "lifetime" };
    const { usedLength } = await sendChecked(this.#driver, request);
    if (usedLength < into.length) {
      throw new GuestDriverError("used-length", `lifetime: status 0, but used length ${usedLength}`);
    }
    const view = new DataView(into.buffer);
    return {
      preEolInfo: view.getUint16(0, true),
      estimateA: view.getUint16(2, true),
      estimateB: view.getUint16(4, true),
    };
  }

  /** The device's identity string: up to 20 characters, without the NULs that pad it. */
  // @virtio BLK-DRV-021
  async id(): Promise<string> {
    if (this.#driver.ended !== undefined) return this.#refuse(this.#driver.ended.reason);
    const bytes = new Uint8Array(VIRTIO_BLK_ID_BYTES);
    const transfer = new Transfer<void>(1, undefined, "identify");
    this.#driver.submit(new BlockRequest(VIRTIO_BLK_T_GET_ID, 0, undefined, bytes, transfer));
    await transfer.promise;
    const end = bytes.indexOf(0);
    return String.fromCharCode(...bytes.subarray(0, end < 0 ? bytes.length : end));
  }

  /**
   * Sends a request as it is and resolves with what came back, whatever the status. Nothing is checked but that its data fits one
   * request (`maxTransferBytes`).
   */
  request(request: RawRequest): Promise<RequestResult> {
    const { type, sector = 0, out, into } = request;
    if (this.#driver.ended !== undefined) return this.#refuse(this.#driver.ended.reason);
    const lengthBytes = (out?.length ?? 0) + (into?.length ?? 0);
    if (lengthBytes > this.maxTransferBytes) {
      return this.#refuse(new RangeError(`request of ${lengthBytes} bytes: at most ${this.maxTransferBytes} fit`));
    }
    const owner = new SingleRequest();
    this.#driver.submit(new BlockRequest(type, sector, out, into, owner));
    return owner.promise;
  }

  /**
   * Calls `submit` and sends the requests that it makes together, with one notification for as many as fit. `submit` returns
   * their promises and does not wait for them: what it does after its first `await` is no longer part of the batch.
   *
   *     await Promise.all(disk.batch(() => offsets.map((offset) => disk.read(offset, 4096))));
   */
  batch<Result>(submit: () => Result): Result {
    this.#driver.plug();
    try {
      return submit();
    } finally {
      this.#driver.unplug();
    }
  }

  /**
   * Whether writes may lie in a cache until a flush. Read from the device each time where it can be changed; throws the reason
   * when the disk has ended.
   */
  get writeback(): boolean {
    return this.#driver.writeback;
  }

  /**
   * Changes the cache mode. Throws a `GuestDriverError` when VIRTIO_BLK_F_CONFIG_WCE was not negotiated. Writes made before a
   * change to write-through are on stable storage only after a `flush` (§5.2.6.1).
   */
  set writeback(on: boolean) {
    this.#driver.writeback = on;
  }

  /** Calls `listener` after each change of the device's configuration, such as a resize; the function returned ends that. */
  onConfigChange(listener: () => void): () => void {
    return this.#driver.onConfigChange(listener);
  }

  // @virtio BLK-DRV-015 BLK-DRV-019
  #rangeError(what: string, offsetBytes: number, lengthBytes: number): unknown {
    if (this.#driver.ended !== undefined) return this.#driver.ended.reason;
    if (!isSectors(offsetBytes) || !isSectors(lengthBytes)) {
      return new RangeError(`${what} of ${lengthBytes} bytes at ${offsetBytes}: not in units of 512 bytes`);
    }
    const { capacityBytes } = this;
    if (lengthBytes > capacityBytes - offsetBytes) {
      return new RangeError(`${what} of ${lengthBytes} bytes at ${offsetBytes}: the disk has ${capacityBytes} bytes`);
    }
    return undefined;
  }

  /** A few requests at a time: a device may want each sector on its own. */
  async #ranges(
    type: number,
    what: string,
    limits: RangeLimits | undefined,
    offsetBytes: number,
    lengthBytes: number,
    flags: number,
  ): Promise<void> {
    const error = this.#rangeError(what, offsetBytes, lengthBytes);
    if (error !== undefined) return this.#refuse(error);
    if (limits === undefined) return this.#refuse(notNegotiated(what));
    const requests = rangeRequests(offsetBytes, lengthBytes, limits, this.maxTransferBytes, flags);
    for (let some = take(requests); some.length > 0; some = take(requests)) {
      const transfer = new Transfer<void>(some.length, undefined, what);
      this.batch(() => {
        for (const out of some) this.#driver.submit(new BlockRequest(type, 0, out, undefined, transfer));
      });
      await transfer.promise;
    }
  }

  #transfer<Result>(type: number, offsetBytes: number, bytes: Uint8Array, result: Result): Promise<Result> {
    const driver = this.#driver;
    const max = driver.maxTransferBytes;
    const count = Math.ceil(bytes.length / max);
    if (count === 0) return this.#settle(result);
    const transfer = new Transfer(count, result, type === VIRTIO_BLK_T_IN ? "read" : "write");
    if (count === 1) this.#submit(type, offsetBytes, bytes, transfer);
    else this.#submitPieces(type, offsetBytes, bytes, max, transfer);
    return transfer.promise;
  }

  #submitPieces(type: number, offsetBytes: number, bytes: Uint8Array, max: number, owner: RequestOwner): void {
    this.batch(() => {
      for (let from = 0; from < bytes.length; from += max) {
        this.#submit(type, offsetBytes + from, bytes.subarray(from, from + max), owner);
      }
    });
  }

  #submit(type: number, offsetBytes: number, bytes: Uint8Array, owner: RequestOwner): void {
    const sector = offsetBytes / VIRTIO_BLK_SECTOR_BYTES;
    const reads = type === VIRTIO_BLK_T_IN;
    this.#driver.submit(new BlockRequest(type, sector, reads ? undefined : bytes, reads ? bytes : undefined, owner));
  }

  /** Resolves without a request, but takes a turn as one would: no loop of awaits may shut others out. */
  async #settle<Result>(result: Result): Promise<Result> {
    await this.#driver.turn.next();
    return result;
  }

  async #refuse(error: unknown): Promise<never> {
    await this.#driver.turn.next();
    throw error;
  }
}

function isSectors(bytes: number): boolean {
  return Number.isSafeInteger(bytes) && bytes >= 0 && bytes % VIRTIO_BLK_SECTOR_BYTES === 0;
}

function notNegotiated(what: string): GuestDriverError {
  return new GuestDriverError("feature-missing", `${what}: its feature was not negotiated`);
}

function take(requests: Generator<Uint8Array>): Uint8Array[] {
  const taken: Uint8Array[] = [];
  while (taken.length < RANGE_REQUESTS_AT_ONCE) {
    const next = requests.next();
    if (next.done === true) break;
    taken.push(next.value);
  }
  return taken;
}

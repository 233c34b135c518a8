// Requests of a block device on one virtqueue: those that wait for room, in order, and those that the device has.

import type { GuestAllocator } from "./allocator.ts";
import { type BlockRequest, STATUS_NOT_WRITTEN } from "./block-request.ts";
import { BufferChain } from "./buffer-chain.ts";
import { VIRTIO_BLK_HEADER_BYTES } from "./constants/blk.ts";
import { GuestOutOfMemoryError } from "./errors.ts";
import type { GuestTarget } from "./target.ts";
import type { Virtqueue } from "./virtqueue.ts";

/** What a `RequestQueue` stands on. */
export interface RequestQueueOptions {
  readonly target: GuestTarget;
  readonly allocator: GuestAllocator;
  readonly queue: Virtqueue;
  /** Data is cut into buffers of at most this many bytes. */
  readonly segmentBytes: number;
}

/**
 *   push ──▶ waiting ──submitFirst──▶ in the ring ──drain──▶ owner.requestDone
 *               └───────────────┴────────failAll───────────▶ owner.requestFailed
 *
 * First come, first served: a request that finds no descriptors or no RAM waits, and all behind it, until requests in the ring
 * have ended. Data goes through RAM taken for the request: copied in when it enters the ring, out when it has ended.
 */
export class RequestQueue {
  /** What requests are stamped with when they enter the ring, for `hasSubmittedBefore`. */
  tick = 0;
  readonly #target: GuestTarget;
  readonly #allocator: GuestAllocator;
  readonly #queue: Virtqueue;
  readonly #segmentBytes: number;
  readonly #chain = new BufferChain();
  /** By token. */
  readonly #inRing: (BlockRequest | undefined)[];
  #firstWaiting: BlockRequest | undefined;
  #lastWaiting: BlockRequest | undefined;
  /** RAM of requests that failed while the device had them. */
  readonly #abandoned: number[] = [];

  constructor(options: RequestQueueOptions) {
    this.#target = options.target;
    this.#allocator = options.allocator;
    this.#queue = options.queue;
    this.#segmentBytes = options.segmentBytes;
    this.#inRing = new Array(options.queue.size).fill(undefined);
  }

  /** Requests wait for `submitFirst`. */
  get hasWaiting(): boolean {
    return this.#firstWaiting !== undefined;
  }

  /** Requests in the ring. */
  get inFlight(): number {
    return this.#queue.inFlight;
  }

  push(request: BlockRequest): void {
    if (this.#lastWaiting === undefined) this.#firstWaiting = request;
    else this.#lastWaiting.nextWaiting = request;
    this.#lastWaiting = request;
  }

  /**
   * Puts the first waiting request into the ring, for the next kick. Returns the bytes of its data, or -1 when it has to wait
   * for those in the ring. One that nothing in the ring could make room for fails with a `GuestOutOfMemoryError`.
   */
  submitFirst(): number {
    const request = this.#firstWaiting!;
    const address = this.#allocator.tryAllocate(request.ramBytes);
    if (address < 0) {
      if (this.#queue.inFlight > 0) return -1;
      this.#shift();
      request.owner.requestFailed(new GuestOutOfMemoryError(request.ramBytes, 16, this.#allocator.freeBytes));
      return 0;
    }
    request.address = address;
    this.#layChain(request);
    const token = this.#queue.add(this.#chain);
    if (token < 0) {
      this.#allocator.free(address);
      return -1;
    }
    // The chain is the device's only after the kick: what it points to can still be written.
    this.#writeRequest(request);
    request.submittedTick = this.tick;
    this.#inRing[token] = request;
    this.#shift();
    return request.outBytes + request.intoBytes;
  }

  kick(): void {
    this.#queue.kick();
  }

  /** Ends every request that the device has used, and has the next one interrupt. Returns how many ended. */
  drain(): number {
    let ended = 0;
    this.#queue.disableInterrupts();
    do {
      for (let token = this.#queue.takeUsed(); token >= 0; token = this.#queue.takeUsed()) {
        this.#complete(token);
        ended++;
      }
    } while (!this.#queue.enableInterrupts());
    return ended;
  }

  /** True when the device has used a request that no `drain` has ended. */
  get hasUsed(): boolean {
    return !this.#queue.enableInterrupts();
  }

  /** True when a request in the ring was submitted before `tick`. */
  hasSubmittedBefore(tick: number): boolean {
    return this.#inRing.some((request) => request !== undefined && request.submittedTick < tick);
  }

  /** Fails every request, in the ring or waiting. RAM stays taken until `release`: the device may still write to it. */
  failAll(error: unknown): void {
    const failed: BlockRequest[] = [];
    for (const request of this.#inRing) {
      if (request === undefined) continue;
      failed.push(request);
      this.#abandoned.push(request.address);
    }
    for (let request = this.#firstWaiting; request !== undefined; request = request.nextWaiting) failed.push(request);
    this.#inRing.fill(undefined);
    this.#firstWaiting = undefined;
    this.#lastWaiting = undefined;
    for (const request of failed) request.owner.requestFailed(error);
  }

  /** After `failAll` and a reset of the device: gives all RAM back. */
  release(): void {
    for (const address of this.#abandoned.splice(0)) this.#allocator.free(address);
    this.#queue.release();
  }

  #shift(): void {
    const request = this.#firstWaiting!;
    this.#firstWaiting = request.nextWaiting;
    if (this.#firstWaiting === undefined) this.#lastWaiting = undefined;
    request.nextWaiting = undefined;
  }

  /** Header, data and status byte as buffers of their own, as legacy devices and the simpler modern ones expect them. */
  #layChain(request: BlockRequest): void {
    const chain = this.#chain;
    chain.clear();
    chain.readable(request.address, VIRTIO_BLK_HEADER_BYTES);
    let at = request.address + VIRTIO_BLK_HEADER_BYTES;
    for (let left = request.outBytes; left > 0; ) {
      const size = Math.min(left, this.#segmentBytes);
      chain.readable(at, size);
      at += size;
      left -= size;
    }
    for (let left = request.intoBytes; left > 0; ) {
      const size = Math.min(left, this.#segmentBytes);
      chain.writable(at, size);
      at += size;
      left -= size;
    }
    chain.writable(at, 1);
  }

  #writeRequest(request: BlockRequest): void {
    const target = this.#target;
    const address = request.address;
    target.writeRam32(address, request.type);
    target.writeRam32(address + 4, 0); // reserved
    target.writeRam32(address + 8, request.sectorLow);
    target.writeRam32(address + 12, request.sectorHigh);
    if (request.out !== undefined) target.writeRam(address + VIRTIO_BLK_HEADER_BYTES, request.out);
    target.writeRam8(address + request.ramBytes - 1, STATUS_NOT_WRITTEN);
  }

  // @virtio SPLIT-DRV-024
  #complete(token: number): void {
    const request = this.#inRing[token];
    if (request === undefined) return; // failed meanwhile: an abort may come from within a register access
    this.#inRing[token] = undefined;
    request.status = this.#target.readRam8(request.address + request.ramBytes - 1);
    request.usedLength = this.#queue.usedLength;
    const { into } = request;
    if (into !== undefined) {
      // Bytes past the used length are whatever was there before: they are not handed out (§2.7.8.3).
      const filled = request.usedLength >= into.length ? into : into.subarray(0, request.usedLength);
      this.#target.readRam(request.address + VIRTIO_BLK_HEADER_BYTES + request.outBytes, filled);
    }
    this.#allocator.free(request.address);
    request.owner.requestDone(request);
  }
}

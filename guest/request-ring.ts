// Requests of a block device in one virtqueue: VIRTIO 1.4 §5.2.6 over §2.6.

import type { GuestAllocator } from "./allocator.ts";
import { type BlockRequest, STATUS_NOT_WRITTEN } from "./block-request.ts";
import { BufferChain } from "./buffer-chain.ts";
import { VIRTIO_BLK_HEADER_BYTES } from "./constants/blk.ts";
import type { GuestTarget } from "./target.ts";
import type { Virtqueue } from "./virtqueue.ts";

/** What a `RequestRing` stands on. */
export interface RequestRingOptions {
  readonly target: GuestTarget;
  readonly allocator: GuestAllocator;
  readonly queue: Virtqueue;
  /** Data is cut into buffers of at most this many bytes. */
  readonly segmentBytes: number;
}

/** Lays requests out in RAM that was taken for them, and takes them back. Data is copied in on the way there, out on the way back. */
export class RequestRing {
  readonly queue: Virtqueue;
  readonly #target: GuestTarget;
  readonly #allocator: GuestAllocator;
  readonly #segmentBytes: number;
  readonly #chain = new BufferChain();
  /** By token. */
  readonly #inRing: (BlockRequest | undefined)[];
  /** RAM of requests that failed while the device had them. */
  readonly #abandoned: number[] = [];

  constructor(options: RequestRingOptions) {
    this.queue = options.queue;
    this.#target = options.target;
    this.#allocator = options.allocator;
    this.#segmentBytes = options.segmentBytes;
    this.#inRing = new Array(options.queue.size).fill(undefined);
  }

  /** Puts a request, whose RAM is taken, into the ring for the next kick; false when there is no room for it. */
  submit(request: BlockRequest): boolean {
    this.#layChain(request);
    const token = this.queue.add(this.#chain);
    if (token < 0) return false;
    // The chain is the device's only after the kick: what it points to can still be written.
    this.#writeRequest(request);
    this.#inRing[token] = request;
    return true;
  }

  /** Ends every request that the device has used, and has the next one interrupt. Returns how many ended. */
  drain(): number {
    let ended = 0;
    this.queue.disableInterrupts();
    do {
      for (let token = this.queue.takeUsed(); token >= 0; token = this.queue.takeUsed()) {
        this.#complete(token);
        ended++;
      }
    } while (!this.queue.enableInterrupts());
    return ended;
  }

  /** True when a request in the ring was submitted before `tick`. */
  hasSubmittedBefore(tick: number): boolean {
    return this.#inRing.some((request) => request !== undefined && request.submittedTick < tick);
  }

  /** Forgets every request and returns them. Their RAM stays taken until `release`: the device may still write to it. */
  abandon(): BlockRequest[] {
    const requests = this.#inRing.filter((request) => request !== undefined);
    for (const { address } of requests) this.#abandoned.push(address);
    this.#inRing.fill(undefined);
    return requests;
  }

  /** After `abandon`, once the device cannot touch the ring any more: gives all RAM back. */
  release(): void {
    for (const address of this.#abandoned.splice(0)) this.#allocator.free(address);
    this.queue.release();
  }

  /** Header, data and status byte as buffers of their own, as legacy devices and the simpler modern ones expect them. */
  // @virtio SPLIT-DRV-007 SPLIT-DRV-008 BLK-DRV-045
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
    request.usedLength = this.queue.usedLength;
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

// Requests of a block device on all its virtqueues: those that wait for room, in order, and those that the device has.

import type { GuestAllocator } from "./allocator.ts";
import type { BlockRequest } from "./block-request.ts";
import { GuestOutOfMemoryError } from "./errors.ts";
import type { RequestRing } from "./request-ring.ts";

/**
 *   push ──▶ waiting ──submitFirst──▶ in a ring ──drain──▶ owner.requestDone
 *               └───────────────┴───────failAll──────────▶ owner.requestFailed
 *
 * First come, first served: a request that finds no descriptors or no RAM waits, and all behind it, until requests in the rings
 * have ended. Rings take turns.
 */
export class RequestQueue {
  /** What requests are stamped with when they enter a ring, for `hasSubmittedBefore`. */
  tick = 0;
  readonly #allocator: GuestAllocator;
  /** Those that take requests, and those whose queue is being reset. */
  readonly #rings: RequestRing[];
  readonly #detached: RequestRing[] = [];
  /** Whose turn it is. */
  #turn = 0;
  #firstWaiting: BlockRequest | undefined;
  #lastWaiting: BlockRequest | undefined;

  constructor(allocator: GuestAllocator, rings: readonly RequestRing[]) {
    this.#allocator = allocator;
    this.#rings = [...rings];
  }

  /** Requests wait for `submitFirst`. */
  get hasWaiting(): boolean {
    return this.#firstWaiting !== undefined;
  }

  /** Requests in the rings. */
  get inFlight(): number {
    let count = 0;
    for (let i = 0; i < this.#rings.length; i++) count += this.#rings[i]!.queue.inFlight;
    return count;
  }

  push(request: BlockRequest): void {
    if (this.#lastWaiting === undefined) this.#firstWaiting = request;
    else this.#lastWaiting.nextWaiting = request;
    this.#lastWaiting = request;
  }

  /**
   * Puts the first waiting request into a ring, for the next kick. Returns the bytes of its data, or -1 when it has to wait
   * for those in the rings. One that nothing in the rings could make room for fails with a `GuestOutOfMemoryError`.
   */
  submitFirst(): number {
    const request = this.#firstWaiting!;
    const address = this.#allocator.tryAllocate(request.ramBytes);
    if (address < 0) {
      if (this.inFlight > 0 || this.#detached.length > 0) return -1;
      this.#shift();
      request.owner.requestFailed(new GuestOutOfMemoryError(request.ramBytes, 16, this.#allocator.freeBytes));
      return 0;
    }
    request.address = address;
    request.submittedTick = this.tick;
    for (let tried = 0; tried < this.#rings.length; tried++) {
      if (this.#turn >= this.#rings.length) this.#turn = 0;
      if (this.#rings[this.#turn++]!.submit(request)) {
        this.#shift();
        return request.outBytes + request.intoBytes;
      }
    }
    this.#allocator.free(address);
    return -1;
  }

  kick(): void {
    for (let i = 0; i < this.#rings.length; i++) this.#rings[i]!.queue.kick();
  }

  /**
   * Ends every request that the device has used, and has the next one of each ring interrupt: the interrupt does not say whose it
   * is. Returns how many ended.
   */
  // @virtio MMIO-DRV-032
  drain(): number {
    let ended = 0;
    for (let i = 0; i < this.#rings.length; i++) ended += this.#rings[i]!.drain();
    return ended;
  }

  /** True when the device has used a request that no `drain` has ended. */
  get hasUsed(): boolean {
    return this.#rings.some(({ queue }) => !queue.enableInterrupts());
  }

  /** True when a request in a ring was submitted before `tick`. */
  hasSubmittedBefore(tick: number): boolean {
    return this.#rings.some((ring) => ring.hasSubmittedBefore(tick));
  }

  /** Takes the ring of queue `index` out of use and fails what is in it. False when there is none. */
  detach(index: number, error: unknown): boolean {
    const at = this.#rings.findIndex(({ queue }) => queue.index === index);
    const [ring] = at < 0 ? [] : this.#rings.splice(at, 1);
    if (ring === undefined) return false;
    this.#detached.push(ring);
    for (const request of ring.abandon()) request.owner.requestFailed(error);
    return true;
  }

  /** After a `detach` and a reset of its queue: gives the ring's RAM back. */
  releaseDetached(index: number): void {
    const at = this.#detached.findIndex(({ queue }) => queue.index === index);
    for (const ring of at < 0 ? [] : this.#detached.splice(at, 1)) ring.release();
  }

  attach(ring: RequestRing): void {
    this.#rings.push(ring);
  }

  /** Fails every request, in a ring or waiting. RAM stays taken until `release`: the device may still write to it. */
  failAll(error: unknown): void {
    const failed = this.#rings.flatMap((ring) => ring.abandon());
    for (let request = this.#firstWaiting; request !== undefined; request = request.nextWaiting) failed.push(request);
    this.#firstWaiting = undefined;
    this.#lastWaiting = undefined;
    for (const request of failed) request.owner.requestFailed(error);
  }

  /** After `failAll` and a reset of the device: gives all RAM back. */
  release(): void {
    for (const ring of [...this.#rings.splice(0), ...this.#detached.splice(0)]) ring.release();
  }

  #shift(): void {
    const request = this.#firstWaiting!;
    this.#firstWaiting = request.nextWaiting;
    if (this.#firstWaiting === undefined) this.#lastWaiting = undefined;
    request.nextWaiting = undefined;
  }
}

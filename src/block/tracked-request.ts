// The requests that a node has in flight, and who waits for whom among them.

import { assert } from "../base/assert.ts";
import type { IoVector } from "../base/io-vector.ts";

export type RequestKind = "read" | "write" | "write-zeroes" | "discard" | "flush";

/** One request in flight on one node. Reused when it has ended: hold none beyond that. */
export class TrackedRequest {
  kind: RequestKind = "read";
  offsetBytes = 0;
  lengthBytes = 0;
  /** Nothing that overlaps this request runs beside it. */
  serialising = false;
  /** Of a write-zeroes: the range may be deallocated. A notifier may take that back. */
  mayUnmap = false;
  /** Of a write-zeroes: fail rather than write zeroes the slow way. */
  noFallback = false;
  /** Of a write-zeroes: the data must be irretrievable. */
  erase = false;
  /** Of a write: whole clusters may be stored compressed. */
  compressed = false;
  /** Of a write: the new data, which the request's owner keeps as it is until the request has ended. */
  vector: IoVector | undefined = undefined;

  /** Begun and not ended. */
  inFlight = false;
  /** Begun later than `previous`, earlier than `next`. */
  previous: TrackedRequest | undefined = undefined;
  next: TrackedRequest | undefined = undefined;
  waiters: (() => void)[] | undefined = undefined;

  get endBytes(): number {
    return this.offsetBytes + this.lengthBytes;
  }
}

/**
 * A node's list of requests in flight, oldest first.
 *
 * Two requests conflict when their ranges overlap and one of them is serialising. A request waits for every conflicting one
 * that began before it, never for a later one: waiting has an order and cannot be circular. A request made from within
 * another one (a notifier that reads the old data) does not wait at all: it would wait for its own cause.
 *
 * `begin` and `end` allocate nothing once as many requests have been made as are ever in flight.
 */
export class TrackedRequests {
  /** Requests in flight. */
  count = 0;
  #serialising = 0;
  #oldest: TrackedRequest | undefined;
  #newest: TrackedRequest | undefined;
  #free: TrackedRequest | undefined;
  #idleWaiters: (() => void)[] = [];

  begin(kind: RequestKind, offsetBytes: number, lengthBytes: number, serialising: boolean): TrackedRequest {
    let request = this.#free;
    if (request === undefined) request = new TrackedRequest();
    else this.#free = request.next;
    request.inFlight = true;
    request.kind = kind;
    request.offsetBytes = offsetBytes;
    request.lengthBytes = lengthBytes;
    request.serialising = serialising;
    request.mayUnmap = false;
    request.noFallback = false;
    request.erase = false;
    request.compressed = false;
    request.previous = this.#newest;
    request.next = undefined;
    if (this.#newest === undefined) this.#oldest = request;
    else this.#newest.next = request;
    this.#newest = request;
    this.count++;
    if (serialising) this.#serialising++;
    return request;
  }

  /** True when `request` has to `wait` before it may go on. */
  mustWait(request: TrackedRequest): boolean {
    return this.#serialising > 0 && this.#conflict(request) !== undefined;
  }

  /** Resolves when nothing that began before `request` conflicts with it any more. */
  async wait(request: TrackedRequest): Promise<void> {
    for (let other = this.#conflict(request); other !== undefined; other = this.#conflict(request)) {
      const blocker = other;
      await new Promise<void>((resolve) => {
        blocker.waiters ??= [];
        blocker.waiters.push(resolve);
      });
    }
  }

  end(request: TrackedRequest): void {
    assert(request.inFlight, "tracked request: ended twice");
    request.inFlight = false;
    this.count--;
    if (request.serialising) this.#serialising--;
    if (request.previous === undefined) this.#oldest = request.next;
    else request.previous.next = request.next;
    if (request.next === undefined) this.#newest = request.previous;
    else request.next.previous = request.previous;
    const { waiters } = request;
    request.waiters = undefined;
    request.vector = undefined;
    request.previous = undefined;
    request.next = this.#free;
    this.#free = request;
    if (waiters !== undefined) for (const wake of waiters) wake();
    if (this.count === 0 && this.#idleWaiters.length > 0) this.#wakeIdle();
  }

  /** Undefined when nothing is in flight; else resolves once nothing was, though new requests may have begun by then. */
  untilIdle(): Promise<void> | undefined {
    if (this.count === 0) return undefined;
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Oldest first. For queries and tests. */
  *[Symbol.iterator](): Iterator<TrackedRequest> {
    for (let request = this.#oldest; request !== undefined; request = request.next) yield request;
  }

  #conflict(request: TrackedRequest): TrackedRequest | undefined {
    for (let other = request.previous; other !== undefined; other = other.previous) {
      const overlaps = other.offsetBytes < request.endBytes && request.offsetBytes < other.endBytes;
      if (overlaps && (other.serialising || request.serialising)) return other;
    }
    return undefined;
  }

  #wakeIdle(): void {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }
}

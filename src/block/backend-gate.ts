// When a backend's requests may go on, and how many have: drained sections hold them, a throttle group delays them.

import { WaitList } from "../base/wait-list.ts";
import { BackendThrottle } from "./backend-throttle.ts";
import type { Direction, ThrottleGroup } from "./filters/throttle-group.ts";

/** Requests that a drained section holds go on in order when it ends. In one, what waits for limits waits no longer. */
export class BackendGate {
  /** Requests simply go on: it is neither drained nor throttled. A field for every request to look at. */
  open = true;
  #drains = 0;
  #throttle: BackendThrottle | undefined;
  #inFlight = 0;
  /** Requests that wait for a drained section to end. */
  #held = 0;
  readonly #undrained = new WaitList();
  readonly #idle = new WaitList();

  get drained(): boolean {
    return this.#drains > 0;
  }

  /** Requests that have gone on and have not yet ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Nothing is in flight, nor waits to be. */
  get empty(): boolean {
    return this.#inFlight === 0 && this.#held === 0;
  }

  get throttleGroup(): ThrottleGroup | undefined {
    return this.#throttle?.group;
  }

  /** What waits for the limits of another group goes on at once. */
  setThrottleGroup(group: ThrottleGroup | undefined): void {
    if (group === this.throttleGroup) return;
    this.#throttle?.end();
    this.#throttle = group && new BackendThrottle(group, this.#drains);
    this.#update();
  }

  /** Undefined when nothing is in flight; else resolves once nothing was, though new requests may have begun by then. */
  untilIdle(): Promise<void> | undefined {
    if (this.#inFlight === 0) return undefined;
    // Somebody waits for it now: as in a drained section, it waits for no limits any more.
    this.#throttle?.release();
    return this.#idle.wait();
  }

  beginDrain(): void {
    this.#drains++;
    this.open = false;
    this.#throttle?.beginDrain();
  }

  endDrain(): void {
    this.#drains--;
    this.#throttle?.endDrain();
    if (this.#drains > 0) return;
    this.#update();
    this.#undrained.wake();
  }

  /** Makes a request when the drained section has ended. There may be another one by then. */
  async afterDrain<T>(request: () => T | Promise<T>): Promise<T> {
    this.#held++;
    await this.#undrained.wait();
    this.#held--;
    return request();
  }

  /** Makes a request when the limits let `bytes` pass. It is throttled. */
  throttled(direction: Direction, bytes: number, request: () => void | Promise<void>): void | Promise<void> {
    const waiting = this.#throttle!.pass(direction, bytes);
    return waiting === undefined ? request() : this.count(waiting.then(request));
  }

  /** A request that has gone on is in flight until `pending` has ended. */
  async count(pending: Promise<void>): Promise<void> {
    this.#inFlight++;
    try {
      await pending;
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#idle.wake();
    }
  }

  #update(): void {
    this.open = this.#drains === 0 && this.#throttle === undefined;
  }
}

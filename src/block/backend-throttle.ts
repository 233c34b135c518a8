// A backend as a member of a throttle group: QEMU's docs/throttle.txt.

import { type Direction, type ThrottleGroup, ThrottleMember } from "./filters/throttle-group.ts";

/** From its making to `end` the backend's reads and writes ask it. Discards and flushes do not. */
export class BackendThrottle {
  readonly group: ThrottleGroup;
  readonly #member = new ThrottleMember();

  /** `drains` is how many drained sections the backend is in. */
  constructor(group: ThrottleGroup, drains: number) {
    this.group = group;
    this.#member.drains = drains;
    group.members.add(this.#member);
  }

  /** A request of `bytes` wants to pass; a promise makes it wait. */
  pass(direction: Direction, bytes: number): void | Promise<void> {
    return this.group.pass(this.#member, direction, bytes);
  }

  beginDrain(): void {
    this.#member.drains++;
    this.release();
  }

  endDrain(): void {
    this.#member.drains--;
  }

  /** Lets go on what waits. */
  release(): void {
    this.group.release(this.#member);
  }

  /** Lets go on what waits, and leaves the group. */
  end(): void {
    this.release();
    this.group.leave(this.#member);
  }
}

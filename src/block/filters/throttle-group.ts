// Throttle groups: limits that several throttle filters share. QEMU's docs/throttle.txt.

import type { Clock } from "../../base/clock.ts";
import { QmpError } from "../../base/errors.ts";
import { LeakyBucket } from "./leaky-bucket.ts";
import {
  checkBurstLengths,
  checkThrottleLimits,
  THROTTLED,
  type ThrottledQuantity,
  type ThrottleLimits,
  type WholeThrottleLimits,
} from "./throttle-limits.ts";

export type Direction = "read" | "write";

/** Requests that are let go in one turn before others of the program have theirs. */
const MAX_RELEASES_PER_TURN = 64;

/** One filter that belongs to a group, and its requests that wait, oldest first. A group is told of it by `members.add`. */
export class ThrottleMember {
  readonly waiting: Readonly<Record<Direction, WaitingRequest[]>> = { read: [], write: [] };
  /** Drained sections: the filter's requests wait for nothing. */
  drains = 0;
}

interface WaitingRequest {
  readonly bytes: number;
  readonly go: () => void;
}

/**
 * One group. A request passes at once when nothing of its direction waits and no bucket is full; otherwise it waits in the line of
 * its filter. The lines are served by turns, each direction for itself. What has been let pass counts, also what passed because
 * its filter was drained.
 */
export class ThrottleGroup {
  readonly name: string;
  readonly members: Set<ThrottleMember> = new Set<ThrottleMember>();
  readonly #clock: Clock;
  readonly #onEmpty: (() => void) | undefined;
  #limits: WholeThrottleLimits;
  #buckets: ReadonlyMap<ThrottledQuantity, LeakyBucket>;
  #leakedAtMs: number;
  readonly #turn: Record<Direction, ThrottleMember | undefined> = { read: undefined, write: undefined };
  readonly #cancelTimer: Record<Direction, (() => void) | undefined> = { read: undefined, write: undefined };

  /** `onEmpty` is called when the last member has left. */
  constructor(name: string, limits: ThrottleLimits, clock: Clock, onEmpty?: () => void) {
    this.name = name;
    this.#clock = clock;
    this.#onEmpty = onEmpty;
    this.#limits = checkThrottleLimits(limits);
    this.#buckets = bucketsOf(this.#limits);
    this.#leakedAtMs = clock.nowMs();
  }

  get limits(): WholeThrottleLimits {
    return this.#limits;
  }

  /** Other limits, for what waits as well; what has passed is forgotten. Throws a `QmpError`, and has changed nothing. */
  setLimits(limits: ThrottleLimits): void {
    this.#limits = checkThrottleLimits(limits);
    this.#buckets = bucketsOf(this.#limits);
    for (const direction of ["read", "write"] as const) this.#serve(direction);
  }

  /** A request of `bytes` wants to pass; a promise makes it wait. */
  pass(member: ThrottleMember, direction: Direction, bytes: number): void | Promise<void> {
    if (this.#buckets.size === 0) return;
    if (member.drains === 0 && (this.#someWait(direction) || this.#wait(direction) > 0))
      return this.#waitInLine(member, direction, bytes);
    this.#count(direction, bytes);
  }

  /** Lets all requests of a filter pass. */
  release(member: ThrottleMember): void {
    for (const direction of ["read", "write"] as const) {
      for (const request of member.waiting[direction].splice(0)) {
        this.#count(direction, request.bytes);
        request.go();
      }
      if (!this.#someWait(direction)) this.#clearTimer(direction);
    }
  }

  /** The filter has nothing waiting any more. */
  leave(member: ThrottleMember): void {
    this.members.delete(member);
    for (const direction of ["read", "write"] as const)
      if (this.#turn[direction] === member) this.#turn[direction] = undefined;
    if (this.members.size === 0) this.#onEmpty?.();
  }

  #waitInLine(member: ThrottleMember, direction: Direction, bytes: number): Promise<void> {
    return new Promise((go) => {
      member.waiting[direction].push({ bytes, go });
      if (this.#cancelTimer[direction] === undefined) this.#setTimer(direction);
    });
  }

  /** Lets pass what may, and comes again for the rest. */
  #serve(direction: Direction): void {
    this.#clearTimer(direction);
    for (let released = 0; released < MAX_RELEASES_PER_TURN && this.#wait(direction) === 0; released++) {
      const request = this.#nextInLine(direction);
      if (request === undefined) return;
      this.#count(direction, request.bytes);
      request.go();
    }
    if (this.#someWait(direction)) this.#setTimer(direction);
  }

  #someWait(direction: Direction): boolean {
    for (const member of this.members) if (member.waiting[direction].length > 0) return true;
    return false;
  }

  #clearTimer(direction: Direction): void {
    this.#cancelTimer[direction]?.();
    this.#cancelTimer[direction] = undefined;
  }

  #setTimer(direction: Direction): void {
    const delayMs = Math.ceil(this.#wait(direction) * 1000);
    this.#cancelTimer[direction] = this.#clock.setTimer(delayMs, () => this.#serve(direction));
  }

  /** Takes a request out of the line whose turn it is. */
  #nextInLine(direction: Direction): WaitingRequest | undefined {
    const members = [...this.members];
    const last = this.#turn[direction];
    const from = last === undefined ? 0 : members.indexOf(last) + 1;
    for (let i = 0; i < members.length; i++) {
      const member = members[(from + i) % members.length]!;
      const request = member.waiting[direction].shift();
      if (request === undefined) continue;
      this.#turn[direction] = member;
      return request;
    }
    return undefined;
  }

  /** Seconds until a request of this direction may pass. */
  #wait(direction: Direction): number {
    const nowMs = this.#clock.nowMs();
    const seconds = (nowMs - this.#leakedAtMs) / 1000;
    this.#leakedAtMs = nowMs;
    let wait = 0;
    for (const [quantity, bucket] of this.#buckets) {
      bucket.leak(seconds);
      if (concerns(quantity, direction)) wait = Math.max(wait, bucket.wait);
    }
    return wait;
  }

  #count(direction: Direction, bytes: number): void {
    const size = this.#limits["iops-size"];
    const operations = size > 0 && bytes > size ? bytes / size : 1;
    for (const [quantity, bucket] of this.#buckets)
      if (concerns(quantity, direction)) bucket.add(quantity.startsWith("bps") ? bytes : operations);
  }
}

function concerns(quantity: ThrottledQuantity, direction: Direction): boolean {
  return quantity.endsWith("total") || quantity.endsWith(direction);
}

/** Those that limit something. */
function bucketsOf(limits: WholeThrottleLimits): ReadonlyMap<ThrottledQuantity, LeakyBucket> {
  const buckets = new Map<ThrottledQuantity, LeakyBucket>();
  for (const quantity of THROTTLED) {
    const bucket = new LeakyBucket(limits[quantity], limits[`${quantity}-max`], limits[`${quantity}-max-length`]);
    if (bucket.limits) buckets.set(quantity, bucket);
  }
  return buckets;
}

/**
 * All groups of a machine: those that QMP makes as objects (object-add, object-del), by their ids, and those that exist because a
 * drive belongs to them, until the last member has left.
 */
export class ThrottleGroups {
  readonly #groups = new Map<string, ThrottleGroup>();
  readonly #ofDrives = new Map<string, ThrottleGroup>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Throws a `QmpError` if there is such a group, or limits do not go together. */
  add(name: string, limits: ThrottleLimits): ThrottleGroup {
    if (this.#groups.has(name))
      throw new QmpError(`attempt to add duplicate property '${name}' to object (type 'container')`);
    if (this.#ofDrives.has(name)) throw new QmpError("A group with this name already exists");
    checkBurstLengths(limits);
    const group = new ThrottleGroup(name, limits, this.#clock);
    this.#groups.set(name, group);
    return group;
  }

  /** In the order in which they were added. */
  get names(): readonly string[] {
    return [...this.#groups.keys()];
  }

  get(name: string): ThrottleGroup | undefined {
    return this.#groups.get(name) ?? this.#ofDrives.get(name);
  }

  /** The group of that name for who is about to be its member; without limits if there was none. */
  obtain(name: string): ThrottleGroup {
    const known = this.get(name);
    if (known !== undefined) return known;
    const group = new ThrottleGroup(name, {}, this.#clock, () => this.#ofDrives.delete(name));
    this.#ofDrives.set(name, group);
    return group;
  }

  /** Throws a `QmpError` if there is no such group, or a filter belongs to it. */
  delete(name: string): void {
    const group = this.#groups.get(name);
    if (group === undefined) throw new QmpError(`object '${name}' not found`);
    if (group.members.size > 0) throw new QmpError(`object '${name}' is in use, can not be deleted`);
    this.#groups.delete(name);
  }
}

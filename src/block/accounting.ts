// How many requests of each kind a device has made: docs/reference/monitor.md §2 (query-blockstats).

import type { Clock } from "../base/clock.ts";

/** The kinds that are told apart. A write of zeroes counts as a write. */
export type AccountedKind = "read" | "write" | "unmap" | "flush";

/** What has become of the requests of one kind. Plain numbers: counting costs an addition or two. */
export interface AccountedRequests {
  /** Well ended. */
  operations: number;
  bytes: number;
  /** Ended by an error of the disk. */
  failed: number;
  /** Refused before they reached the disk: out of range, say. */
  invalid: number;
  /** The time that all took that were measured, in nanoseconds. */
  totalTimeNs: number;
}

/**
 * One backend's requests. Its device counts each when it has ended. What a request took that ended within its call counts as no
 * time: reading the clock twice costs as much as the rest of a request on a cached disk.
 */
export class IoAccounting {
  readonly read: AccountedRequests = none();
  readonly write: AccountedRequests = none();
  readonly unmap: AccountedRequests = none();
  readonly flush: AccountedRequests = none();
  /** Requests have been counted since the last `stamp`. A field for the device to look at. */
  unstamped = false;
  #clock: Clock | undefined;
  #lastMs = 0;

  /** Notes that what has been counted was now: once for all that a device has ended together. */
  stamp(clock: Clock): void {
    this.unstamped = false;
    this.#clock = clock;
    this.#lastMs = clock.nowMs();
  }

  /** How long there has been no request, in nanoseconds; undefined where there has been none at all. */
  get idleTimeNs(): number | undefined {
    return this.#clock && Math.round((this.#clock.nowMs() - this.#lastMs) * 1e6);
  }

  done(kind: AccountedKind, bytes: number, timeNs = 0): void {
    this.unstamped = true;
    const requests = this[kind];
    requests.operations++;
    requests.bytes += bytes;
    requests.totalTimeNs += timeNs;
  }

  failed(kind: AccountedKind, timeNs = 0): void {
    this.unstamped = true;
    this[kind].failed++;
    this[kind].totalTimeNs += timeNs;
  }

  invalid(kind: AccountedKind): void {
    this.unstamped = true;
    this[kind].invalid++;
  }
}

function none(): AccountedRequests {
  return { operations: 0, bytes: 0, failed: 0, invalid: 0, totalTimeNs: 0 };
}

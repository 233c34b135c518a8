// How many requests of each kind a device has made: docs/reference/monitor.md §2 (query-blockstats).

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

  done(kind: AccountedKind, bytes: number, timeNs = 0): void {
    const requests = this[kind];
    requests.operations++;
    requests.bytes += bytes;
    requests.totalTimeNs += timeNs;
  }

  failed(kind: AccountedKind, timeNs = 0): void {
    this[kind].failed++;
    this[kind].totalTimeNs += timeNs;
  }

  invalid(kind: AccountedKind): void {
    this[kind].invalid++;
  }
}

function none(): AccountedRequests {
  return { operations: 0, bytes: 0, failed: 0, invalid: 0, totalTimeNs: 0 };
}

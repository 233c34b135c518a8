// The requests that one call of the script API takes, joined into one promise.

import type { BlockRequest, RequestOwner } from "./block-request.ts";
import { VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN } from "./constants/blk.ts";
import { GuestDriverError, GuestIoError } from "./errors.ts";

/**
 * Resolves with `result` once all of `count` requests have ended well; rejects once all have ended and one has not, with the
 * error of the first such. It waits for all, so that nothing is written into the caller's bytes after the promise has settled.
 */
export class Transfer<Result> implements RequestOwner {
  readonly promise: Promise<Result>;
  readonly #result: Result;
  readonly #what: string;
  #left: number;
  #failure: { readonly error: unknown } | undefined;
  #resolve!: (result: Result) => void;
  #reject!: (error: unknown) => void;

  /** `what` names the call, for the message of a `GuestIoError`. */
  constructor(count: number, result: Result, what: string) {
    this.#left = count;
    this.#result = result;
    this.#what = what;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  requestDone(request: BlockRequest): void {
    const error = this.#errorOf(request);
    if (error !== undefined) this.#failure ??= { error };
    this.#endOne();
  }

  requestFailed(error: unknown): void {
    this.#failure ??= { error };
    this.#endOne();
  }

  #endOne(): void {
    this.#left--;
    if (this.#left > 0) return;
    if (this.#failure === undefined) this.#resolve(this.#result);
    else this.#reject(this.#failure.error);
  }

  #errorOf(request: BlockRequest): Error | undefined {
    const { type, sector, status, usedLength } = request;
    if (status !== VIRTIO_BLK_S_OK) return new GuestIoError(status, type, sector, `${this.#what} at sector ${sector}`);
    // Only of a read is every byte wanted: what lies past the used length is not data (§2.7.8.3).
    if (type === VIRTIO_BLK_T_IN && usedLength < request.intoBytes + 1) {
      return new GuestDriverError(
        "used-length",
        `${this.#what} at sector ${sector}: status 0, but used length ${usedLength} for ${request.intoBytes} bytes of data and the status`,
      );
    }
    return undefined;
  }
}

/** How a request ended, whatever the status. */
export interface RequestResult {
  /** VIRTIO_BLK_S_…, or `STATUS_NOT_WRITTEN` (255) when the device wrote none. */
  readonly status: number;
  /** Bytes that the device says it wrote, counted from the first that it may write, the status byte included. */
  readonly usedLength: number;
}

/** The owner of a request whose status is the caller's business. */
export class SingleRequest implements RequestOwner {
  readonly promise: Promise<RequestResult>;
  #resolve!: (result: RequestResult) => void;
  #reject!: (error: unknown) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  requestDone(request: BlockRequest): void {
    this.#resolve({ status: request.status, usedLength: request.usedLength });
  }

  requestFailed(error: unknown): void {
    this.#reject(error);
  }
}

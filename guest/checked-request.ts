// One request whose status must be OK, for callers that want the used length too.

import { BlockRequest } from "./block-request.ts";
import { VIRTIO_BLK_S_OK } from "./constants/blk.ts";
import { GuestIoError } from "./errors.ts";
import { type RequestResult, SingleRequest } from "./transfer.ts";
import type { VirtioBlkDriver } from "./virtio-blk-driver.ts";

/** What to ask of the device; `what` names it, for the message of a `GuestIoError`. */
export interface CheckedRequest {
  readonly type: number;
  /** 0 by default. */
  readonly sector?: number;
  readonly out?: Uint8Array;
  readonly into?: Uint8Array;
  readonly what: string;
}

/** Rejects with a `GuestIoError` when the device answers with another status than OK. */
export async function sendChecked(driver: VirtioBlkDriver, request: CheckedRequest): Promise<RequestResult> {
  if (driver.ended !== undefined) {
    await driver.turn.next();
    throw driver.ended.reason;
  }
  const { type, sector = 0, out, into, what } = request;
  const single = new SingleRequest();
  driver.submit(new BlockRequest(type, sector, out, into, single));
  const result = await single.promise;
  if (result.status !== VIRTIO_BLK_S_OK) {
    throw new GuestIoError(result.status, type, sector, `${what} at sector ${sector}`);
  }
  return result;
}

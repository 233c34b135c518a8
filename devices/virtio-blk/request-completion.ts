// How a request ends: its status byte, and how much of the chain was written. VIRTIO 1.4 §5.2.6, §2.7.8.2.

import { BlockError } from "../../src/base/errors.ts";
import { ZoneError, type ZoneMistake } from "../../src/block/zones.ts";
import { traceGuestError } from "../guest-mistake.ts";
import type { BlockRequest } from "./block-request.ts";
import type { RequestContext } from "./request-execution.ts";
import * as blk from "./virtio-blk-constants.ts";

const ZONE_STATUS: Readonly<Record<ZoneMistake, number>> = {
  "invalid-command": blk.VIRTIO_BLK_S_ZONE_INVALID_CMD,
  "unaligned-write-pointer": blk.VIRTIO_BLK_S_ZONE_UNALIGNED_WP,
  "open-resource": blk.VIRTIO_BLK_S_ZONE_OPEN_RESOURCE,
  "active-resource": blk.VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE,
};

/** The status byte of a request that ended well or with `error`; "held-back" when the machine is to stop for it instead. */
export function completionStatus(request: BlockRequest, error: unknown, context: RequestContext): number | "held-back" {
  if (error === undefined) return request.kind === "rejected" ? request.status : blk.VIRTIO_BLK_S_OK;
  if (!(error instanceof BlockError)) throw error; // a mistake of ours
  if (error instanceof ZoneError) return zoneStatus(request, error, context);
  const direction = request.kind === "read" ? "read" : "write";
  switch (context.backend.errors.decide(direction, error)) {
    case "stop":
      return "held-back";
    case "report":
      return blk.VIRTIO_BLK_S_IOERR;
    case "ignore":
      return blk.VIRTIO_BLK_S_OK;
  }
}

/** Codes of zones mean something to a driver that accepted ZONED. */
function zoneStatus(request: BlockRequest, { mistake }: ZoneError, context: RequestContext): number {
  traceGuestError("ZoneRequest", request.type);
  const zoned = (context.limits.accepted & (1 << blk.VIRTIO_BLK_F_ZONED)) !== 0;
  return zoned ? ZONE_STATUS[mistake] : blk.VIRTIO_BLK_S_IOERR;
}

/**
 * How many writable bytes were written, from the first one on: §2.7.8.2. After an error the data was not, and the status byte
 * that follows it does not count.
 */
// @virtio SPLIT-DEV-023 VQ-DEV-001
export function writtenBytes(request: BlockRequest, status: number): number {
  if (request.chain.mistake !== undefined) return 0; // not all of its buffers are known
  const { byteLength } = request.dataIn;
  if (byteLength === 0) return 1;
  if (status !== blk.VIRTIO_BLK_S_OK || !request.fillsDataIn) return 0;
  return request.statusFollowsData ? byteLength + 1 : byteLength;
}

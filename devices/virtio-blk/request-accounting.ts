// What the monitor is told of a device's requests: docs/reference/monitor.md §2 (query-blockstats).

import type { AccountedKind, IoAccounting } from "../../src/block/accounting.ts";
import type { BlockRequest } from "./block-request.ts";
import * as blk from "./virtio-blk-constants.ts";

/**
 * Counts a request that has ended with `status`, which took `timeNs`. What tells the driver something of the device, and moves
 * no data, is not counted; a write of zeroes and an append are writes.
 */
export function accountRequest(accounting: IoAccounting, request: BlockRequest, status: number, timeNs: number): void {
  if (request.kind === "rejected") {
    const kind = kindOfType(request.type);
    if (kind !== undefined) accounting.invalid(kind);
    return;
  }
  const kind = kindOf(request);
  if (kind === undefined) return;
  if (status === blk.VIRTIO_BLK_S_OK) accounting.done(kind, bytesOf(request), timeNs);
  else accounting.failed(kind, timeNs);
}

function kindOf(request: BlockRequest): AccountedKind | undefined {
  switch (request.kind) {
    case "read":
      return "read";
    case "write":
    case "write-zeroes":
    case "zone-append":
      return "write";
    case "discard":
    case "secure-erase":
      return "unmap";
    case "flush":
      return "flush";
    default:
      return undefined;
  }
}

/** What a request would have been that was refused before it reached the disk. */
function kindOfType(type: number): AccountedKind | undefined {
  switch (type) {
    case blk.VIRTIO_BLK_T_IN:
      return "read";
    case blk.VIRTIO_BLK_T_OUT:
    case blk.VIRTIO_BLK_T_WRITE_ZEROES:
      return "write";
    case blk.VIRTIO_BLK_T_DISCARD:
      return "unmap";
    default:
      return undefined;
  }
}

function bytesOf(request: BlockRequest): number {
  switch (request.kind) {
    case "read":
      return request.dataIn.byteLength;
    case "write":
    case "zone-append":
      return request.dataOut.byteLength;
    case "discard":
    case "secure-erase":
    case "write-zeroes":
      return request.ranges.byteLength;
    default:
      return 0;
  }
}

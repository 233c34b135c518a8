// Carrying out a request that was parsed: VIRTIO 1.4 §5.2.6. Nothing here looks at a ring or a status byte.

import type { Clock } from "../../src/base/clock.ts";
import { BlockError } from "../../src/base/errors.ts";
import { type TraceFields, tracePoint } from "../../src/base/trace.ts";
import type { BlockBackend } from "../../src/block/backend.ts";
import { traceGuestError } from "../guest-mistake.ts";
import type { BlockRequest, RequestLimits } from "./block-request.ts";
import { VIRTIO_BLK_LIFETIME_BYTES, VIRTIO_BLK_SECTOR_BYTES } from "./virtio-blk-constants.ts";
import { zoneReport } from "./zone-report.ts";

/** Of a range, what is carried out before others have their turn: it may be gigabytes, and a disk in memory fills them. */
const RANGE_PIECE_BYTES = 16 << 20;

const traceRead = tracePoint("virtio_blk_handle_read");
const traceWrite = tracePoint("virtio_blk_handle_write");
// Not QEMU's: it has no points for these.
const traceFlush = tracePoint("virtio_blk_handle_flush");
const traceGetId = tracePoint("virtio_blk_handle_get_id");
const traceRanges = tracePoint("virtio_blk_handle_ranges");
const traceZone = tracePoint("virtio_blk_handle_zone");

/** What requests are carried out with. */
export interface RequestContext {
  readonly backend: BlockBackend;
  readonly limits: RequestLimits;
  readonly clock: Clock;
  /** The answer to GET_ID, 20 bytes. */
  readonly id: Uint8Array;
}

// @virtio BLK-DEV-080 BLK-DEV-083 BLK-DEV-087
/** `undefined` when it is done. Fails with a `BlockError`, thrown or rejected; a `ZoneError` is the guest's mistake. */
export function carryOutRequest(request: BlockRequest, context: RequestContext): void | Promise<void> {
  const { backend } = context;
  const offset = request.sector * VIRTIO_BLK_SECTOR_BYTES;
  switch (request.kind) {
    case "read":
      if (traceRead.enabled) traceRead.emit(traceFields(request, request.dataIn.byteLength));
      context.limits.zones?.checkRead(offset, request.dataIn.byteLength);
      return backend.read(offset, request.dataIn);
    case "write":
      if (traceWrite.enabled) traceWrite.emit(traceFields(request, request.dataOut.byteLength));
      return backend.write(offset, request.dataOut);
    case "flush":
      if (traceFlush.enabled) traceFlush.emit(traceFields(request, 0));
      return backend.flush();
    case "get-id":
      if (traceGetId.enabled) traceGetId.emit(traceFields(request, request.dataIn.byteLength));
      return request.dataIn.copyFrom(context.id, 0);
    case "rejected":
      traceGuestError(request.mistake!, request.type);
      return;
    default:
      return carryOutOptional(request, context, offset);
  }
}

function carryOutOptional(request: BlockRequest, context: RequestContext, offset: number): void | Promise<void> {
  const { backend } = context;
  switch (request.kind) {
    case "discard":
    case "write-zeroes":
    case "secure-erase":
      if (traceRanges.enabled) traceRanges.emit(traceFields(request, request.ranges.byteLength));
      return carryOutRanges(request, context, 0, 0);
    case "get-lifetime":
      return request.dataIn.copyFrom(lifetimeBytes(backend, context.limits.bigEndian), 0);
    default:
      if (traceZone.enabled) traceZone.emit(traceFields(request, request.dataOut.byteLength));
      return carryOutZoned(request, context, offset);
  }
}

function carryOutZoned(request: BlockRequest, context: RequestContext, offset: number): void | Promise<void> {
  const { backend } = context;
  switch (request.kind) {
    case "zone-append": {
      const at = backend.zoneAppend(offset, request.dataOut);
      if (typeof at === "number") return storeAppendSector(request, at);
      return at.then((offsetBytes) => storeAppendSector(request, offsetBytes));
    }
    case "zone-report":
      return request.dataIn.copyFrom(zoneReport(context.limits.zones!, offset, request.dataIn.byteLength), 0);
    case "zone-open":
      return backend.zoneCommand("open", offset);
    case "zone-close":
      return backend.zoneCommand("close", offset);
    case "zone-finish":
      return backend.zoneCommand("finish", offset);
    case "zone-reset":
      return backend.zoneCommand("reset", offset);
    case "zone-reset-all":
      return backend.zoneResetAll();
  }
}

// @virtio BLK-DEV-041 BLK-DEV-043 BLK-DEV-077 BLK-DEV-089
/** The segments one after the other, from byte `done` of segment `index` on, large ones in pieces. */
function carryOutRanges(
  request: BlockRequest,
  context: RequestContext,
  index: number,
  done: number,
): void | Promise<void> {
  const { ranges } = request;
  let segment = index;
  let from = done;
  for (let budget = RANGE_PIECE_BYTES; segment < ranges.count; ) {
    const left = ranges.lengthsSectors[segment]! * VIRTIO_BLK_SECTOR_BYTES - from;
    const piece = Math.min(left, RANGE_PIECE_BYTES);
    const pending = carryOutPiece(request, context, segment, from, piece);
    budget -= piece;
    from += piece;
    if (piece === left) {
      segment++;
      from = 0;
    }
    if (pending === undefined && budget > 0) continue;
    if (segment === ranges.count) return pending;
    return (pending ?? context.clock.yield()).then(() => {
      // The guest has reset its device meanwhile: what is left it no longer wants.
      if (request.dataOut.abandoned) throw new BlockError("ECANCELED");
      return carryOutRanges(request, context, segment, from);
    });
  }
}

const UNMAP = { mayUnmap: true } as const;

function carryOutPiece(
  request: BlockRequest,
  context: RequestContext,
  segment: number,
  from: number,
  lengthBytes: number,
): void | Promise<void> {
  const { backend } = context;
  const offset = request.ranges.sectors[segment]! * VIRTIO_BLK_SECTOR_BYTES + from;
  if (request.kind === "discard") return backend.discard(offset, lengthBytes);
  if (request.kind === "secure-erase") return backend.secureErase(offset, lengthBytes);
  const unmap = request.ranges.flags[segment] !== 0 && backend.canUnmap;
  return backend.writeZeroes(offset, lengthBytes, unmap ? UNMAP : undefined);
}

// @virtio BLK-DEV-053 BLK-DEV-084
/** Values that are reserved nobody may see: what is unknown is 0, undefined. */
function lifetimeBytes(backend: BlockBackend, bigEndian: boolean): Uint8Array {
  const { preEndOfLife, estimateA, estimateB } = backend.lifetime!;
  const view = new DataView(new ArrayBuffer(VIRTIO_BLK_LIFETIME_BYTES));
  const known = (value: number, most: number): number => (value >= 0 && value <= most ? value : 0);
  view.setUint16(0, known(preEndOfLife, 3), !bigEndian);
  view.setUint16(2, known(estimateA, 11), !bigEndian);
  view.setUint16(4, known(estimateB, 11), !bigEndian);
  return new Uint8Array(view.buffer);
}

// @virtio BLK-DEV-065
function storeAppendSector(request: BlockRequest, offsetBytes: number): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(offsetBytes / VIRTIO_BLK_SECTOR_BYTES), true);
  request.dataIn.copyFrom(bytes, 0);
}

function traceFields(request: BlockRequest, bytes: number): TraceFields {
  return { head: request.chain.head, type: request.type, sector: request.sector, bytes };
}

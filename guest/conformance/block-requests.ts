// Block requests as the suite's cases write them: VIRTIO 1.4 §5.2.6. Any type, any length, good or bad.

import { VIRTIO_BLK_HEADER_BYTES } from "../constants/blk.ts";
import type { Ring, RingBuffer } from "./ring.ts";
import type { RingServices } from "./ring-services.ts";

/** What stands where the device is to write, unless a case wants otherwise: no status of the standard has this value. */
export const POISON = 0xee;

/** A request. What is left out is 0 or absent. */
export interface RequestFields {
  /** VIRTIO_BLK_T_…, all 32 bits. */
  readonly type: number;
  readonly reserved?: number;
  readonly sector?: number | bigint;
  /** Bytes for the device to read, behind the header. */
  readonly out?: Uint8Array | undefined;
  /** Bytes of room for the device to write, before the status byte. */
  readonly inBytes?: number | undefined;
  /** What that room, and the status byte, hold before; `POISON` by default. */
  readonly fill?: number;
  /** Cuts the readable part (header and `out`) and the writable part (room and status) into buffers of these lengths. */
  readonly readablePieces?: readonly number[];
  readonly writablePieces?: readonly number[];
  /** Through an indirect table. */
  readonly indirect?: boolean;
}

/** A request in the ring. Addresses are those of RAM; the parts lie one behind another. */
export interface PlacedRequest {
  readonly id: number;
  readonly fields: RequestFields;
  readonly address: number;
  readonly readableBytes: number;
  readonly writableAddress: number;
  readonly writableBytes: number;
}

/** What came of a request. */
export interface CompletedRequest {
  readonly id: number;
  /** The last writable byte. */
  readonly status: number;
  /** Bytes that the device says it wrote; undefined where the ring does not tell. */
  readonly length: number | undefined;
  /** The writable bytes before the status. */
  readonly data: Uint8Array;
}

/** Writes the request to RAM and makes it available in `ring`, without a notification. */
export function placeRequest(services: RingServices, ring: Ring, fields: RequestFields): PlacedRequest {
  const { target, allocator } = services;
  const out = fields.out ?? new Uint8Array(0);
  const readableBytes = VIRTIO_BLK_HEADER_BYTES + out.length;
  const writableBytes = (fields.inBytes ?? 0) + 1;
  const address = allocator.allocate(readableBytes + writableBytes);
  target.writeRam32(address, fields.type >>> 0);
  target.writeRam32(address + 4, (fields.reserved ?? 0) >>> 0);
  target.writeRam64(address + 8, BigInt.asUintN(64, BigInt(fields.sector ?? 0)));
  if (out.length > 0) target.writeRam(address + VIRTIO_BLK_HEADER_BYTES, out);
  const writableAddress = address + readableBytes;
  target.fillRam(writableAddress, fields.fill ?? POISON, writableBytes);
  const buffers = [
    ...cut(address, readableBytes, fields.readablePieces ?? natural(VIRTIO_BLK_HEADER_BYTES, out.length), false),
    ...cut(writableAddress, writableBytes, fields.writablePieces ?? natural(fields.inBytes ?? 0, 1), true),
  ];
  const id = ring.expose(buffers, { indirect: fields.indirect ?? false });
  return { id, fields, address, readableBytes, writableAddress, writableBytes };
}

/** Reads what the device left of the request, and gives its memory back. */
export function takeRequest(
  services: RingServices,
  placed: PlacedRequest,
  length: number | undefined,
): CompletedRequest {
  const writable = new Uint8Array(placed.writableBytes);
  services.target.readRam(placed.writableAddress, writable);
  services.allocator.free(placed.address);
  return { id: placed.id, status: writable.at(-1)!, length, data: writable.subarray(0, -1) };
}

/** The buffers that [address, address + lengthBytes) makes when cut into `pieces`; what they leave is the last one. */
function cut(address: number, lengthBytes: number, pieces: readonly number[], writable: boolean): RingBuffer[] {
  const buffers: RingBuffer[] = [];
  let done = 0;
  for (const piece of [...pieces, lengthBytes]) {
    const bytes = Math.min(piece, lengthBytes - done);
    if (bytes <= 0) continue;
    buffers.push({ address: address + done, lengthBytes: bytes, writable });
    done += bytes;
  }
  return buffers;
}

/** The usual cut: one buffer for each part that there is. */
function natural(...parts: readonly number[]): readonly number[] {
  return parts.filter((bytes) => bytes > 0);
}

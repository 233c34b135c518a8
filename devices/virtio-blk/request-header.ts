// The header of a block request, however the driver has split it: VIRTIO 1.4 §5.2.6, §2.7.4.

import type { IoVector } from "../../src/base/io-vector.ts";
import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import { VIRTIO_BLK_HEADER_BYTES } from "./virtio-blk-constants.ts";

const TWO_TO_32 = 2 ** 32;
const scratch = new Uint8Array(VIRTIO_BLK_HEADER_BYTES);
const scratchView = new DataView(scratch.buffer);

/** Type and sector; the sector is rounded above 2^53, which no disk reaches. */
export interface RequestHeader {
  type: number;
  sector: number;
}

// @virtio BLK-DEV-078 BLK-DEV-100
/** Takes the header, 16 bytes, off the readable ones; false when some of it does not lie in RAM. */
export function takeHeader(
  header: RequestHeader,
  readable: IoVector,
  memory: GuestMemory,
  bigEndian: boolean,
): boolean {
  const offset = readable.offsets[readable.first]!;
  const whole = readable.lengths[readable.first]! >= VIRTIO_BLK_HEADER_BYTES && offset % 4 === 0;
  if (!whole || bigEndian) return gatherHeader(header, readable, memory, bigEndian);
  if (offset < 0) return false;
  const { u32 } = memory;
  const at = offset / 4;
  header.type = u32[at]!;
  header.sector = u32[at + 2]! + u32[at + 3]! * TWO_TO_32;
  readable.dropFront(VIRTIO_BLK_HEADER_BYTES);
  return true;
}

/** The header of a driver that splits or misaligns it, or is big-endian: byte by byte. */
function gatherHeader(header: RequestHeader, readable: IoVector, memory: GuestMemory, bigEndian: boolean): boolean {
  for (let i = 0; i < VIRTIO_BLK_HEADER_BYTES; i++) {
    const offset = readable.offsets[readable.first]!;
    if (offset < 0) return false;
    scratch[i] = memory.bytes[offset]!;
    readable.dropFront(1);
  }
  header.type = scratchView.getUint32(0, !bigEndian);
  const low = scratchView.getUint32(bigEndian ? 12 : 8, !bigEndian);
  const high = scratchView.getUint32(bigEndian ? 8 : 12, !bigEndian);
  header.sector = low + high * TWO_TO_32;
  return true;
}

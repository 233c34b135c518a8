// Discard, write zeroes and secure erase: ranges of any length, cut into the segments that a device takes. VIRTIO 1.4 §5.2.6.

import { VIRTIO_BLK_RANGE_BYTES, VIRTIO_BLK_SECTOR_BYTES } from "./constants/blk.ts";
import type { RangeLimits } from "./virtio-blk-config.ts";

const MAX_SECTORS = 2 ** 32 - 1; // num_sectors is a le32
/** Segments in one request, however many the device would take. */
const MAX_SEGMENTS = 256;

/**
 * The data of one request after another, each of as many segments as fit `maxDataBytes` and the device's limits. Segments that
 * are cut off end at the device's alignment where they can. `flags` stand in every segment.
 */
// @virtio BLK-DRV-020 BLK-DRV-022 BLK-DRV-023 BLK-DRV-024 BLK-DRV-027
export function* rangeRequests(
  offsetBytes: number,
  lengthBytes: number,
  limits: RangeLimits,
  maxDataBytes: number,
  flags: number,
): Generator<Uint8Array> {
  const most = Math.floor(maxDataBytes / VIRTIO_BLK_RANGE_BYTES);
  // A device that allows no segment at all means one: it has offered the request.
  const maxSegments = Math.min(Math.max(1, limits.maxSegments), MAX_SEGMENTS, most);
  const end = (offsetBytes + lengthBytes) / VIRTIO_BLK_SECTOR_BYTES;
  let sector = offsetBytes / VIRTIO_BLK_SECTOR_BYTES;
  while (sector < end) {
    const bytes = new Uint8Array(maxSegments * VIRTIO_BLK_RANGE_BYTES);
    const view = new DataView(bytes.buffer);
    let filled = 0;
    for (; filled < bytes.length && sector < end; filled += VIRTIO_BLK_RANGE_BYTES) {
      const count = cut(sector, end - sector, limits);
      view.setBigUint64(filled, BigInt(sector), true);
      view.setUint32(filled + 8, count, true);
      view.setUint32(filled + 12, flags, true);
      sector += count;
    }
    yield bytes.subarray(0, filled);
  }
}

/** Sectors of the first segment of [sector, sector + count). */
function cut(sector: number, count: number, { maxSectors, sectorAlignment }: RangeLimits): number {
  const most = maxSectors === 0 ? MAX_SECTORS : maxSectors;
  if (count <= most) return count;
  if (sectorAlignment < 2) return most;
  const aligned = Math.floor((sector + most) / sectorAlignment) * sectorAlignment - sector;
  return aligned > 0 ? aligned : most;
}

// Segments of DISCARD, WRITE_ZEROES and SECURE_ERASE requests: VIRTIO 1.4 §5.2.6.

const SEGMENT_BYTES = 16;

/** One segment: `struct virtio_blk_discard_write_zeroes`. */
export interface Segment {
  readonly sector: number | bigint;
  readonly sectors: number;
  /** Bit 0 is unmap; all others are reserved. */
  readonly flags?: number;
}

/** The data of a request of these segments. Little-endian, as the modern interface has it. */
export function segments(...list: readonly Segment[]): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_BYTES * list.length);
  const view = new DataView(bytes.buffer);
  for (const [i, { sector, sectors, flags = 0 }] of list.entries()) {
    view.setBigUint64(SEGMENT_BYTES * i, BigInt(sector), true);
    view.setUint32(SEGMENT_BYTES * i + 8, sectors, true);
    view.setUint32(SEGMENT_BYTES * i + 12, flags >>> 0, true);
  }
  return bytes;
}

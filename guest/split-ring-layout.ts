// Where the parts of a split virtqueue lie in guest RAM: VIRTIO 1.4 §2.7.

import { VIRTQ_DESC_BYTES } from "./constants/ring.ts";

/** Guest addresses of the three parts of a split virtqueue of `size` descriptors, and of what lies in them. */
export interface SplitRingLayout {
  readonly size: number;
  /** `size` descriptors of 16 bytes, aligned to 16. §2.7.5 */
  readonly descriptorTable: number;
  /** flags le16, idx le16, ring le16[size], used_event le16; aligned to 2. §2.7.6 */
  readonly availableRing: number;
  /** flags le16, idx le16, ring {id le32, len le32}[size], avail_event le16; aligned to 4. §2.7.8 */
  readonly usedRing: number;
}

/** Offset of `idx` in either ring. */
export const RING_IDX = 2;
/** Offset of `ring[0]` in either ring. */
export const RING_ENTRIES = 4;

/** Bytes that the available ring takes, with used_event. */
export function availableRingBytes(size: number): number {
  return 6 + 2 * size;
}

/** Bytes that the used ring takes, with avail_event. */
export function usedRingBytes(size: number): number {
  return 6 + 8 * size;
}

/** Bytes that a split virtqueue takes when its parts follow one another, as `splitRingLayout` places them. */
export function splitRingBytes(size: number): number {
  return usedRingOffset(size) + usedRingBytes(size);
}

/** The parts of a split virtqueue one after another from `address` on, which must be aligned to 16. */
export function splitRingLayout(address: number, size: number): SplitRingLayout {
  return {
    size,
    descriptorTable: address,
    availableRing: address + VIRTQ_DESC_BYTES * size,
    usedRing: address + usedRingOffset(size),
  };
}

function usedRingOffset(size: number): number {
  return Math.ceil((VIRTQ_DESC_BYTES * size + availableRingBytes(size)) / 4) * 4;
}

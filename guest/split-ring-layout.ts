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

const USED_RING_ALIGN_BYTES = 4;

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

/**
 * Bytes that a split virtqueue takes when its parts follow one another, as `splitRingLayout` places them. `usedAlignBytes`: what
 * the used ring is aligned to; more than 4 for a legacy device, whose virtqueue then ends at a multiple of it too. §2.7.2
 */
export function splitRingBytes(size: number, usedAlignBytes: number = USED_RING_ALIGN_BYTES): number {
  const bytes = usedRingOffset(size, usedAlignBytes) + usedRingBytes(size);
  return usedAlignBytes === USED_RING_ALIGN_BYTES ? bytes : alignUp(bytes, usedAlignBytes);
}

/** The parts of a split virtqueue one after another from `address` on, which must be aligned to 16 and to `usedAlignBytes`. */
export function splitRingLayout(
  address: number,
  size: number,
  usedAlignBytes: number = USED_RING_ALIGN_BYTES,
): SplitRingLayout {
  return {
    size,
    descriptorTable: address,
    availableRing: address + VIRTQ_DESC_BYTES * size,
    usedRing: address + usedRingOffset(size, usedAlignBytes),
  };
}

function usedRingOffset(size: number, alignBytes: number): number {
  return alignUp(VIRTQ_DESC_BYTES * size + availableRingBytes(size), alignBytes);
}

function alignUp(bytes: number, alignBytes: number): number {
  return Math.ceil(bytes / alignBytes) * alignBytes;
}

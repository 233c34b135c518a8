// What a block driver accepts of a device's features, and how large its requests may be: VIRTIO 1.4 §2.2.1, §5.2.4.

import { assert } from "../src/base/assert.ts";
import { VIRTIO_BLK_SECTOR_BYTES } from "./constants/blk.ts";
import {
  type FeatureSet,
  featureSet,
  hasFeature,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_F_ZONED,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from "./constants/features.ts";
import { VIRTQ_SIZE_MAX } from "./constants/ring.ts";
import { GuestDriverError, GuestOutOfMemoryError } from "./errors.ts";
import type { VirtioBlkConfig } from "./virtio-blk-config.ts";

/** What the driver can do with either version of the transport. */
const SUPPORTED: FeatureSet = featureSet(
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
);

/** And with version 2 alone. Guest addresses are physical ones, so that ACCESS_PLATFORM asks nothing of the driver (§6.1). */
const SUPPORTED_MODERN: FeatureSet = featureSet(
  VIRTIO_BLK_F_ZONED,
  VIRTIO_F_VERSION_1,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_RESET,
);

/** And with version 1 alone: §6.3. */
const SUPPORTED_LEGACY: FeatureSet = featureSet(VIRTIO_F_ANY_LAYOUT);

const DEFAULT_QUEUE_SIZE = 256;
/** Header, one buffer of data and status take three descriptors; sizes of split rings are powers of two. */
const MIN_QUEUE_SIZE = { packed: 3, split: 4 } as const;
/** Buffers of a request that hold no data: header and status. */
const FRAMING_BUFFERS = 2;
const DEFAULT_MAX_TRANSFER_BYTES = 1 << 20;
/** One request may take this part of the RAM that is free, so that several fit. */
const TRANSFER_SHARE_OF_RAM = 4;

/** Of whose features something is accepted, and what of them is not wanted. */
export interface FeatureWishes {
  readonly legacy: boolean;
  /** Numbers of features not to accept. */
  readonly withoutFeatures?: readonly number[] | undefined;
  readonly ringLayout?: RingLayout | undefined;
}

/** How virtqueues are laid out in RAM. */
export type RingLayout = "split" | "packed";

/** What of `offered` to accept, without what is not wanted and what depends on that. */
// @virtio FEAT-DRV-001 FEAT-DRV-002 FEAT-DRV-003 FEAT-DRV-004 FEAT-DRV-005 FEAT-DRV-007 BLK-DRV-016 RSVD-DRV-003 RSVD-DRV-006
// @virtio RSVD-DRV-007 RSVD-DRV-009 RSVD-DRV-011 RSVD-DRV-012
export function acceptableFeatures(offered: FeatureSet, wishes: FeatureWishes): FeatureSet {
  const supported = SUPPORTED | (wishes.legacy ? SUPPORTED_LEGACY : SUPPORTED_MODERN);
  let features = offered & supported & ~featureSet(...(wishes.withoutFeatures ?? []));
  if (wishes.ringLayout === "split") features &= ~featureSet(VIRTIO_F_RING_PACKED);
  // §5.2.3.1: CONFIG_WCE stands on FLUSH.
  if (!hasFeature(features, VIRTIO_BLK_F_FLUSH)) features &= ~featureSet(VIRTIO_BLK_F_CONFIG_WCE);
  return features;
}

/** What the driver cannot do without. A legacy device has nothing that it could not. */
export function requiredFeatures(wishes: FeatureWishes): FeatureSet {
  let features = wishes.legacy ? 0n : featureSet(VIRTIO_F_VERSION_1);
  if (wishes.ringLayout === "packed") features |= featureSet(VIRTIO_F_RING_PACKED);
  return features;
}

/** The size to give a queue that may have up to `sizeMax` descriptors: `wanted` at most, a power of two where it is split. */
export function queueSize(layout: RingLayout, sizeMax: number, wanted: number = DEFAULT_QUEUE_SIZE): number {
  const least = MIN_QUEUE_SIZE[layout];
  assert(Number.isInteger(wanted) && wanted >= least, `queueSize ${wanted}: not an integer from ${least} on`);
  const most = Math.min(sizeMax, wanted, VIRTQ_SIZE_MAX);
  const size = layout === "packed" ? most : 2 ** Math.floor(Math.log2(most));
  if (size >= least) return size;
  throw new GuestDriverError("queue-too-small", `QueueSizeMax is ${sizeMax}: a block request takes three descriptors`);
}

/** How many queues to use: as many as wanted, and as the device has. */
export function queueCount(config: VirtioBlkConfig, wanted = 1): number {
  assert(Number.isInteger(wanted) && wanted >= 1, `queues ${wanted}: not an integer from 1 on`);
  return Math.min(config.numQueues ?? 1, wanted);
}

/** How data is cut. */
export interface TransferLimits {
  /** Bytes of the largest buffer of a chain. */
  readonly segmentBytes: number;
  /** Bytes of data of the largest request: a multiple of 512, and of what zones are written in. */
  readonly transferBytes: number;
}

/** The limits that the device's configuration, the ring and the free RAM set, and the caller's own below them. */
export function transferLimits(
  config: VirtioBlkConfig,
  queueSize: number,
  freeRamBytes: number,
  own: { maxTransferBytes?: number | undefined; maxSegmentBytes?: number | undefined },
): TransferLimits {
  const { maxTransferBytes = DEFAULT_MAX_TRANSFER_BYTES, maxSegmentBytes = Number.POSITIVE_INFINITY } = own;
  assert(maxTransferBytes >= VIRTIO_BLK_SECTOR_BYTES, `maxTransferBytes ${maxTransferBytes}: less than a sector`);
  assert(maxSegmentBytes >= 1, `maxSegmentBytes ${maxSegmentBytes}: less than one`);
  const segmentBytes = Math.min(config.sizeMax ?? 2 ** 32 - 1, Math.floor(maxSegmentBytes));
  // A device that does not say how many segments it takes is given one. A chain never exceeds the queue (§2.7.5.3.1).
  const segments = Math.min(Math.max(config.segMax ?? 1, 1), queueSize - FRAMING_BUFFERS);
  if (segmentBytes * segments < VIRTIO_BLK_SECTOR_BYTES) {
    throw new GuestDriverError(
      "config-invalid",
      `${segments} segments of ${segmentBytes} bytes: no request can carry a sector`,
    );
  }
  const bytes = Math.min(maxTransferBytes, segmentBytes * segments, freeRamBytes / TRANSFER_SHARE_OF_RAM);
  const unit = config.zoned?.writeGranularityBytes ?? VIRTIO_BLK_SECTOR_BYTES;
  const transferBytes = Math.floor(bytes / unit) * unit;
  if (transferBytes === 0) throw new GuestOutOfMemoryError(unit, 16, freeRamBytes);
  return { segmentBytes, transferBytes };
}

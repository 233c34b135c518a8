// What a block driver accepts of a device's features, and how large its requests may be: VIRTIO 1.4 §2.2.1, §5.2.4.

import { assert } from "../src/base/assert.ts";
import { VIRTIO_BLK_SECTOR_BYTES } from "./constants/blk.ts";
import {
  type FeatureSet,
  featureSet,
  hasFeature,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_VERSION_1,
} from "./constants/features.ts";
import { GuestDriverError, GuestOutOfMemoryError } from "./errors.ts";
import type { VirtioBlkConfig } from "./virtio-blk-config.ts";

/** What the driver can do. Guest addresses are physical ones, so that ACCESS_PLATFORM asks nothing of it (§6.1). */
const SUPPORTED: FeatureSet = featureSet(
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ORDER_PLATFORM,
);

/** What the driver cannot do without. */
export const REQUIRED_FEATURES: FeatureSet = featureSet(VIRTIO_F_VERSION_1);

const DEFAULT_QUEUE_SIZE = 256;
/** Header, one buffer of data and status take three descriptors, and sizes are powers of two. */
const MIN_QUEUE_SIZE = 4;
/** Buffers of a request that hold no data: header and status. */
const FRAMING_BUFFERS = 2;
const DEFAULT_MAX_TRANSFER_BYTES = 1 << 20;
/** One request may take this part of the RAM that is free, so that several fit. */
const TRANSFER_SHARE_OF_RAM = 4;

/** What of `offered` to accept, without the feature numbers in `withoutFeatures` and those that depend on them. */
// @virtio FEAT-DRV-001 FEAT-DRV-002 FEAT-DRV-004 FEAT-DRV-007 BLK-DRV-016
export function acceptableFeatures(offered: FeatureSet, withoutFeatures: readonly number[]): FeatureSet {
  let features = offered & SUPPORTED & ~featureSet(...withoutFeatures);
  // §5.2.3.1: CONFIG_WCE stands on FLUSH.
  if (!hasFeature(features, VIRTIO_BLK_F_FLUSH)) features &= ~featureSet(VIRTIO_BLK_F_CONFIG_WCE);
  return features;
}

/** The size to give a split queue that may have up to `sizeMax` descriptors: a power of two, `wanted` at most. */
export function splitQueueSize(sizeMax: number, wanted: number = DEFAULT_QUEUE_SIZE): number {
  assert(
    Number.isInteger(wanted) && wanted >= MIN_QUEUE_SIZE,
    `queueSize ${wanted}: not an integer from ${MIN_QUEUE_SIZE} on`,
  );
  const size = 2 ** Math.floor(Math.log2(Math.min(sizeMax, wanted, 32768)));
  if (size >= MIN_QUEUE_SIZE) return size;
  throw new GuestDriverError("queue-too-small", `QueueSizeMax is ${sizeMax}: a block request takes three descriptors`);
}

/** How data is cut. */
export interface TransferLimits {
  /** Bytes of the largest buffer of a chain. */
  readonly segmentBytes: number;
  /** Bytes of data of the largest request: a multiple of 512. */
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
  const transferBytes = Math.floor(bytes / VIRTIO_BLK_SECTOR_BYTES) * VIRTIO_BLK_SECTOR_BYTES;
  if (transferBytes === 0) throw new GuestOutOfMemoryError(VIRTIO_BLK_SECTOR_BYTES, 16, freeRamBytes);
  return { segmentBytes, transferBytes };
}

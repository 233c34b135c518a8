// What whoever probes a block device may choose.

import type { RingLayout } from "./virtio-blk-limits.ts";

/** How to drive a block device. All have defaults. */
export interface VirtioBlkDriverOptions {
  /** Numbers of features not to accept though the device offers them. */
  readonly withoutFeatures?: readonly number[];
  /**
   * How the rings are laid out: `packed` by default where the device offers VIRTIO_F_RING_PACKED (§6.1), else `split`. Probing fails
   * when `packed` is asked of a device that does not offer it.
   */
  readonly ringLayout?: RingLayout;
  /** Request queues to use, one by default: no more than the device has (VIRTIO_BLK_F_MQ). Requests take turns. */
  readonly queues?: number;
  /** Descriptors of a request queue: up to this and to what the device has, of a split ring a power of two; 256 by default. */
  readonly queueSize?: number;
  /** Bytes of data in the largest request: 1 MiB by default, less when the device or the RAM sets a lower limit. */
  readonly maxTransferBytes?: number;
  /** Cuts a request's data into buffers of at most this many bytes, below what the device allows. */
  readonly maxSegmentBytes?: number;
  /**
   * The device is given up when it has a request for longer than this: 30,000 by default, Infinity for a device that may be
   * paused.
   */
  readonly timeoutMs?: number;
}

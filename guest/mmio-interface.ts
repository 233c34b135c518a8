// What the two versions of virtio-mmio do differently, as their driver sees it: VIRTIO 1.4 §4.2.2, §4.2.3 and §4.2.4.

import type { FeatureSet } from "./constants/features.ts";
import type { Virtqueue } from "./virtqueue.ts";

/** One version of the register bank, for `VirtioMmioDriver`. */
export interface MmioInterface {
  /** What Version reads as. */
  readonly version: number;
  /** Where a virtqueue of a legacy device begins and its used ring is aligned to, in bytes; undefined for version 2. */
  readonly legacyAlignBytes: number | undefined;

  readOfferedFeatures(): FeatureSet;
  /** Tells the device which features are accepted. */
  writeAcceptedFeatures(features: FeatureSet): void;
  /**
   * Sets up queue `index` with what `create` makes of its largest size, and makes it ready. Throws a `GuestDriverError` when the
   * device does not have it, or not take it.
   */
  setUpQueue<Queue extends Virtqueue>(index: number, create: (sizeMax: number) => Queue): Queue;
  /** Has the device let go of the queue. */
  stopQueue(index: number): void;
  /** What `read` returns when all that it reads of the configuration belongs together. */
  readConfigStable<Result>(read: () => Result): Result;
}

/** Readings of the configuration after which it counts as never standing still. */
export const CONFIG_READ_ATTEMPTS = 100;

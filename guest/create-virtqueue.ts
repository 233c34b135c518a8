// The virtqueue that the negotiated features ask for: VIRTIO 1.4 §2.6, §6.

import type { GuestAllocator } from "./allocator.ts";
import {
  type FeatureSet,
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
} from "./constants/features.ts";
import { PackedVirtqueue } from "./packed-virtqueue.ts";
import { SplitVirtqueue } from "./split-virtqueue.ts";
import type { GuestTarget } from "./target.ts";
import type { QueueNotifier, Virtqueue } from "./virtqueue.ts";

/** What the virtqueue is made of, whatever its layout. */
export interface VirtqueueOptions {
  readonly target: GuestTarget;
  readonly allocator: GuestAllocator;
  readonly notifier: QueueNotifier;
  readonly index: number;
  readonly size: number;
  /** Those that were negotiated. */
  readonly features: FeatureSet;
  /** For a legacy device: §2.7.2. */
  readonly legacyAlignBytes: number | undefined;
}

/** A zeroed ring in RAM, split or packed. */
export function createVirtqueue(options: VirtqueueOptions): Virtqueue {
  const { features, legacyAlignBytes, ...rest } = options;
  const ring = {
    ...rest,
    eventIndex: hasFeature(features, VIRTIO_F_EVENT_IDX),
    indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
    inOrder: hasFeature(features, VIRTIO_F_IN_ORDER),
  };
  if (hasFeature(features, VIRTIO_F_RING_PACKED)) return new PackedVirtqueue(ring);
  return new SplitVirtqueue({ ...ring, legacyAlignBytes });
}

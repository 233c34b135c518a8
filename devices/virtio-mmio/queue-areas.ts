// From where a driver says that a queue lies, and what was negotiated, to the layout of a queue: VIRTIO 1.4 §2.7 and §2.8.

import {
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_RING_PACKED,
} from "../virtio-features.ts";
import type { VirtqueueLayout } from "../virtqueue/virtqueue.ts";

/** Size and guest-physical addresses of a queue. */
export interface QueueAreas {
  readonly size: number;
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
}

// @virtio SPLIT-DEV-005
/** The queue that lies there when these features are accepted. */
export function queueLayout(areas: QueueAreas, features: bigint, bigEndian: boolean): VirtqueueLayout {
  return {
    ...areas,
    eventIndex: hasFeature(features, VIRTIO_F_EVENT_IDX),
    indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
    packed: hasFeature(features, VIRTIO_F_RING_PACKED),
    inOrder: hasFeature(features, VIRTIO_F_IN_ORDER),
    notifyOnEmpty: hasFeature(features, VIRTIO_F_NOTIFY_ON_EMPTY),
    bigEndian,
  };
}

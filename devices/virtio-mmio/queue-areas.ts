// From where a driver says that a queue lies to a queue that a device can use: VIRTIO 1.4 §2.7 and §2.8.

import { assert } from "../../src/base/assert.ts";
import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import {
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_RING_PACKED,
} from "../virtio-features.ts";
import { createVirtqueue, layoutMistake } from "../virtqueue/create-virtqueue.ts";
import type { Virtqueue, VirtqueueLayout } from "../virtqueue/virtqueue.ts";

/** Size and guest-physical addresses of a queue. */
export interface QueueAreas {
  readonly size: number;
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
}

/** Whether a queue can lie there: its areas are well aligned, and within RAM. */
export function areUsable(memory: GuestMemory, areas: QueueAreas, features: bigint): boolean {
  return layoutMistake(memory, layoutOf(areas, features)) === undefined;
}

/** The queue at areas that are usable, with its indices at 0. */
export function makeVirtqueue(memory: GuestMemory, areas: QueueAreas, features: bigint): Virtqueue {
  const queue = createVirtqueue(memory, layoutOf(areas, features));
  assert(typeof queue !== "string", "queue: its areas are not usable");
  return queue;
}

function layoutOf(areas: QueueAreas, features: bigint): VirtqueueLayout {
  return {
    ...areas,
    eventIndex: hasFeature(features, VIRTIO_F_EVENT_IDX),
    indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
    packed: hasFeature(features, VIRTIO_F_RING_PACKED),
    inOrder: hasFeature(features, VIRTIO_F_IN_ORDER),
    notifyOnEmpty: hasFeature(features, VIRTIO_F_NOTIFY_ON_EMPTY),
    bigEndian: false,
  };
}

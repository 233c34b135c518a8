// From where a driver says that a queue lies to a queue that a device can use: VIRTIO 1.4 §2.7 and §2.8.

import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import { hasFeature, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from "../virtio-features.ts";
import { SplitVirtqueue, splitLayoutMistake } from "../virtqueue/split-virtqueue.ts";
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
  return areas.size > 0 && splitLayoutMistake(memory, layoutOf(areas, features)) === undefined;
}

/** The queue at areas that are usable, with its indices at 0. */
export function makeVirtqueue(memory: GuestMemory, areas: QueueAreas, features: bigint): Virtqueue {
  return new SplitVirtqueue(memory, layoutOf(areas, features));
}

function layoutOf(areas: QueueAreas, features: bigint): VirtqueueLayout {
  return {
    ...areas,
    eventIndex: hasFeature(features, VIRTIO_F_EVENT_IDX),
    indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
  };
}

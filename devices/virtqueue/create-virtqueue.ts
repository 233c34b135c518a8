// From where a queue lies and what was negotiated to the queue itself: the one place that knows which layouts there are.

import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import { InOrderVirtqueue } from "./in-order-virtqueue.ts";
import { PackedVirtqueue } from "./packed-virtqueue.ts";
import { SplitVirtqueue } from "./split-virtqueue.ts";
import { MAX_QUEUE_SIZE, type Virtqueue, type VirtqueueLayout } from "./virtqueue.ts";

/** Why there can be no queue of a layout: a size that it cannot have, an area that is not aligned, or not all in RAM. */
export type QueueMistake = "size" | "misaligned" | "outside RAM";

/** Why no queue can lie so, or undefined when one can: sizes and alignment of §2.7 and §2.8.10.1, and all areas in RAM. */
// @virtio PACK-DEV-012 SPLIT-DEV-001
export function layoutMistake(memory: GuestMemory, layout: VirtqueueLayout): QueueMistake | undefined {
  const { size, descriptorArea, driverArea, deviceArea, packed } = layout;
  if (!Number.isInteger(size) || size < 1 || size > MAX_QUEUE_SIZE) return "size";
  if (!packed && (size & (size - 1)) !== 0) return "size";
  if (descriptorArea % 16 !== 0 || driverArea % (packed ? 4 : 2) !== 0 || deviceArea % 4 !== 0) return "misaligned";
  const eventBytes = layout.eventIndex ? 2 : 0;
  const inRam =
    memory.offsetOf(descriptorArea, 16 * size) >= 0 &&
    memory.offsetOf(driverArea, packed ? 4 : 4 + 2 * size + eventBytes) >= 0 &&
    memory.offsetOf(deviceArea, packed ? 4 : 4 + 8 * size + eventBytes) >= 0;
  return inRam ? undefined : "outside RAM";
}

/** A queue with its positions at the start, or why there can be none. Nothing of it is read or written yet. */
export function createVirtqueue(memory: GuestMemory, layout: VirtqueueLayout): Virtqueue | QueueMistake {
  const mistake = layoutMistake(memory, layout);
  if (mistake !== undefined) return mistake;
  const queue = layout.packed ? new PackedVirtqueue(memory, layout) : new SplitVirtqueue(memory, layout);
  return layout.inOrder ? new InOrderVirtqueue(queue) : queue;
}

// A virtqueue as a device sees it, whatever its layout in RAM: VIRTIO 1.4 §2.6.

import type { RingMistake } from "../guest-mistake.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";

/** Where a queue lies, and what was negotiated about it. Addresses are guest-physical. */
export interface VirtqueueLayout {
  /** Descriptors: a power of two in a split queue, any number in a packed one; 32768 at most. */
  readonly size: number;
  /** The descriptor table of a split queue, the descriptor ring of a packed one. */
  readonly descriptorArea: number;
  /** The available ring, or the driver's event suppression structure. */
  readonly driverArea: number;
  /** The used ring, or the device's event suppression structure. */
  readonly deviceArea: number;
  /** RING_PACKED: the layout is that of §2.8, not that of §2.7. */
  readonly packed: boolean;
  /** EVENT_IDX. */
  readonly eventIndex: boolean;
  /** INDIRECT_DESC. */
  readonly indirect: boolean;
  /** IN_ORDER: buffers are used in the order in which they were made available. */
  readonly inOrder: boolean;
  /** NOTIFY_ON_EMPTY, of a legacy device: running out of available buffers is always notified of. A split queue's alone. */
  readonly notifyOnEmpty: boolean;
  /** The guest of a legacy device is big-endian, and so is the ring: §2.7.3. A split queue's alone. */
  readonly bigEndian: boolean;
}

/** The greatest size that a queue can have, in either layout: §2.7 and §2.8.10.1. */
export const MAX_QUEUE_SIZE = 32768;

/**
 * Descriptors of one chain, those of an indirect table included, whatever the size of the queue: a limit on what one buffer
 * costs the device, as §2.7.4.1 allows it.
 */
export const MAX_CHAIN_DESCRIPTORS = 1024;

/** What `pop` found. */
export type PopResult = "chain" | "empty" | "broken";

/**
 * What a queue wants to know of a buffer that is used: it keeps no list of those in flight, so that nothing hangs on names that
 * the driver chose. A `DescriptorChain` as `pop` filled it is one.
 */
export interface BufferInFlight {
  /** Names the buffer to the driver, who may have given several the same name: nothing is looked up by it. */
  readonly head: number;
  /** Its place among the buffers popped, modulo the size of the queue. Only a queue with IN_ORDER counts. */
  readonly sequence: number;
  /** How many slots of the ring it takes: always 1 in a split queue. */
  readonly slots: number;
  /** Some part of it was for the device to write. */
  readonly hasWritable: boolean;
}

/**
 * The device's end of a queue. Buffers may be used in any order. `push` and `publish` are two steps so that a batch of used
 * buffers costs one index and one notification.
 */
export interface Virtqueue {
  readonly size: number;
  /** Why it is broken, once `pop` has said so; from then on no buffer is taken. */
  readonly mistake: RingMistake | undefined;
  /** Takes the next available buffer, into `chain`. */
  pop(chain: DescriptorChain): PopResult;
  /**
   * Writes that a buffer is used and that its first `writtenBytes` (below 2^32) writable bytes were written; not yet visible. Each buffer that
   * was popped is pushed at most once; what is pushed is looked at in this call alone, so that a chain may then be refilled.
   */
  push(buffer: BufferInFlight, writtenBytes: number): void;
  /** Makes what was pushed visible; true when the driver wants to be notified of it. */
  publish(): boolean;
  /** Asks the driver to notify of the next available buffer; true when one has come meanwhile. */
  rearm(): boolean;
}

/**
 * Whether a position that moved from `from` to `to` has passed what the other side waits for, `event`: §2.7.10. All three count
 * modulo 2^16, and may be given as any integer of that class.
 */
export function needEvent(event: number, to: number, from: number): boolean {
  return ((to - event - 1) & 0xffff) < ((to - from) & 0xffff);
}

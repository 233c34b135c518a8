// A virtqueue as a device sees it, whatever its layout in RAM: VIRTIO 1.4 §2.6.

import type { RingMistake } from "../guest-mistake.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";

/** Where a queue lies, and what was negotiated about it. Addresses are guest-physical. */
export interface VirtqueueLayout {
  readonly size: number;
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
  readonly eventIndex: boolean;
  readonly indirect: boolean;
}

/**
 * Descriptors of one chain, those of an indirect table included, whatever the size of the queue: a limit on what one buffer
 * costs the device, as §2.7.4.1 allows it.
 */
export const MAX_CHAIN_DESCRIPTORS = 1024;

/** What `pop` found. */
export type PopResult = "chain" | "empty" | "broken";

/**
 * The device's end of a queue. Buffers may be used in any order. `push` and `publish` are two steps so that a batch of used
 * buffers costs one index and one notification.
 */
export interface Virtqueue {
  readonly size: number;
  /** Why it is broken, once `pop` has said so; from then on nothing touches the ring. */
  readonly mistake: RingMistake | undefined;
  /** Takes the next available buffer, into `chain`. */
  pop(chain: DescriptorChain): PopResult;
  /** Writes that the buffer `head` is used and that its first `writtenBytes` writable bytes were written; not yet visible. */
  push(head: number, writtenBytes: number): void;
  /** Makes what was pushed visible; true when the driver wants to be notified of it. */
  publish(): boolean;
  /** Asks the driver to notify of the next available buffer; true when one has come meanwhile. */
  rearm(): boolean;
}

/**
 * Whether an index that moved from `oldIndex` to `newIndex` has passed what the other side waits for, `event`: §2.7.10. All
 * three are free-running 16-bit counters.
 */
export function needEvent(event: number, newIndex: number, oldIndex: number): boolean {
  return ((newIndex - event - 1) & 0xffff) < ((newIndex - oldIndex) & 0xffff);
}

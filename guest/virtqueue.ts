// What a driver sees of a virtqueue, whatever its layout in memory: VIRTIO 1.4 §2.6.

import type { BufferChain } from "./buffer-chain.ts";

/** Rings the doorbell of a queue. */
export interface QueueNotifier {
  /**
   * `nextAvailable` is what VIRTIO_F_NOTIFICATION_DATA tells the device besides (§2.9), 16 bits: of a split ring avail.idx, of a packed
   * one the next slot, with the driver's wrap counter in bit 15.
   */
  notify(queueIndex: number, nextAvailable: number): void;
}

/**
 * The driver's end of one virtqueue. A chain of buffers goes in with `add`, is made available with `kick`, and comes back from
 * `takeUsed`; between `kick` and `takeUsed` it is the device's. A chain is known by its token, a number below `size` that no
 * other chain has meanwhile: drivers keep what they know of a request in a table of that size.
 *
 * No method throws for what the guest does right. What the device does wrong throws a `GuestDriverError` out of `takeUsed` and
 * `enableInterrupts`, after which the queue is of no use until the device is reset.
 */
export interface Virtqueue {
  readonly index: number;
  /** Descriptors of the ring. */
  readonly size: number;
  /** What QueueDesc, QueueDriver and QueueDevice are to hold. */
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;

  /** Chains added and not yet taken back. */
  readonly inFlight: number;
  readonly freeDescriptors: number;

  /** Puts a chain into the ring, not yet available. Returns its token, or -1 when the ring has no room for it. */
  add(chain: BufferChain): number;
  /** Makes all that was added available, and notifies the device unless it asked not to be. True when it was notified. */
  kick(): boolean;
  /** The token of the next chain that the device has used, or -1. Its descriptors are free from then on. */
  takeUsed(): number;
  /** The bytes that the device says it wrote into the chain that `takeUsed` gave last: at most its writable ones. */
  readonly usedLength: number;

  /** Asks the device not to interrupt. It may do so all the same. */
  disableInterrupts(): void;
  /**
   * Asks the device to interrupt when it next uses a buffer. False when it has used one meanwhile, for which it may not
   * interrupt any more: take that one, then ask again.
   */
  enableInterrupts(): boolean;

  /** Gives the memory of the ring back. Only once the device cannot touch it any more. */
  release(): void;
}

// A ring as the suite's cases use it, whatever its layout: lists of buffers go in, used buffers come out, nothing is checked.

import type { FeatureSet } from "../constants/features.ts";

/** One buffer of a list, by guest-physical address. */
export interface RingBuffer {
  readonly address: number;
  readonly lengthBytes: number;
  /** The device writes it. */
  readonly writable: boolean;
}

/** What the ring says of a list of buffers that the device has used. */
export interface UsedBuffer {
  /** As `expose` returned it. */
  readonly id: number;
  /** Bytes that the device says it wrote; undefined where a packed ring reserves the field, as no WRITE flag is set. */
  readonly length: number | undefined;
}

/** A queue that the suite drives. Addresses are what its registers were given. */
export interface Ring {
  readonly index: number;
  readonly size: number;
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
  /** What was negotiated. */
  readonly features: FeatureSet;

  /**
   * Writes one list of buffers and makes it available, without a notification. With `indirect`, through a table of its own.
   * Returns the id under which it comes back. Fails the suite when the ring has no room.
   */
  expose(buffers: readonly RingBuffer[], options?: { readonly indirect?: boolean }): number;
  /** Writes QueueNotify, with the data that NOTIFICATION_DATA wants where that was negotiated. */
  notify(): void;
  /** The next used list, or undefined; its descriptors are free from then on. */
  takeUsed(): UsedBuffer | undefined;
  /** Lists exposed and not taken back. */
  readonly outstanding: number;
  /** Asks the device not to notify of used buffers, or to do so again for the next one. */
  setInterrupts(wanted: boolean): void;
}

// What a transport and the device behind it hold of each other. The transport has the registers, the device the meaning.

import type { AccessWidth } from "../src/memory/bus.ts";
import type { GuestMemory } from "../src/memory/guest-memory.ts";
import type { RingMistake } from "./guest-mistake.ts";
import type { Virtqueue } from "./virtqueue/virtqueue.ts";

/** The transport, as its device sees it. */
export interface VirtioTransport {
  readonly memory: GuestMemory;
  /** Version 1, the legacy interface: its sections of the standard count. */
  readonly legacy: boolean;
  /** The guest is big-endian, which shows in the legacy interface alone: its rings, requests and configuration are as well. */
  readonly bigEndian: boolean;
  /** A used buffer notification is due, VIRTIO 1.4 §2.3. */
  notifyUsedBuffers(): void;
  /** The configuration has changed: a new generation, and a configuration change notification once DRIVER_OK is set. */
  notifyConfigChange(): void;
  /**
   * Nothing but a reset can help: stops every queue and sets DEVICE_NEEDS_RESET, §2.1.2. A used buffer notification that is
   * due as well comes in the same interrupt: the driver's answer to one of two could be the reset.
   */
  requireReset(mistake: RingMistake, usedBuffers: boolean): void;
}

/**
 * A device type behind a transport. The transport calls these from within the guest's register accesses; none may throw, and
 * none waits.
 */
export interface VirtioDevice {
  /** The number of §5: 2 is a block device. */
  readonly deviceId: number;
  /** Every feature it offers, those of the ring included; looked at after `attach`, and the same from then on. */
  readonly offeredFeatures: bigint;
  /** The greatest size of each of its queues. */
  readonly queueSizesMax: readonly number[];

  /** Called once, before all else. */
  attach(transport: VirtioTransport): void;
  /**
   * FEATURES_OK, or the first use through the legacy interface: works by these features, a subset of those offered, until reset;
   * false when they will not do together.
   */
  negotiate(features: bigint): boolean;
  /** DRIVER_OK, or the first use through the legacy interface: from now on it uses the queues that were started, and those that will be. */
  go(): void;
  /** Queue `index` is enabled; before `go` the device leaves it alone. */
  startQueue(index: number, queue: Virtqueue): void;
  /** Queue `index` ends: from here on nothing touches its ring or its buffers. */
  stopQueue(index: number): void;
  /** An available buffer notification, only while it is live and for a queue that was started. */
  notifyQueue(index: number): void;
  /** Back to the state before the first driver: every queue has been stopped. */
  reset(): void;

  /** Reads the configuration, which is little-endian; bytes past its end are 0. */
  readConfig(offset: number, width: AccessWidth): number;
  /** Returns false when the write has no effect. */
  writeConfig(offset: number, width: AccessWidth, value: number): boolean;
}

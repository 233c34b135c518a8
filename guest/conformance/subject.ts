// What the suite runs on: a device that somebody else made, at the end of registers and RAM. The suite spawns nothing itself.

import type { GuestTarget } from "../target.ts";

/** What a case needs of the device before it starts. Whoever makes devices says where that is not to be had. */
export interface SubjectOptions {
  /** The legacy register bank, Version 1, instead of the modern one. */
  readonly legacy: boolean;
  /** The device is to offer RING_PACKED. */
  readonly packed: boolean;
  /** Size of the disk in units of 512 bytes; its content is zeroes. */
  readonly capacitySectors: number;
  /** The disk cannot be written. */
  readonly readOnly: boolean;
  /** Request queues; the device is to offer MQ when there are several. */
  readonly queues: number;
  /** The guest is big-endian: of account to a legacy device alone. */
  readonly bigEndian: boolean;
  /** A zoned disk, host-managed. */
  readonly zoned?: ZonedDisk | undefined;
}

/** A zoned disk that a case wants: conventional zones first, then sequential ones that writes are required to follow. */
export interface ZonedDisk {
  readonly model: "host-managed" | "host-aware";
  readonly zoneSectors: number;
  /** Of each zone but the conventional ones; the rest of it cannot be written. */
  readonly zoneCapacitySectors: number;
  readonly conventionalZones: number;
  readonly sequentialZones: number;
  /** 0 is no limit. */
  readonly maxOpenZones: number;
  readonly maxActiveZones: number;
  /** Zones, by number, that are read-only or offline from the start. */
  readonly readOnlyZones: readonly number[];
  readonly offlineZones: readonly number[];
}

/** What the suite asks of the host of a device. A host that cannot do a thing has no method for it, and cases that need it are skipped. */
export interface SubjectHost {
  /** Gives the disk another size, in units of 512 bytes. */
  resize?(capacitySectors: number): Promise<void>;
  /**
   * From now on requests that reach the backend stay there unfinished. The function returned lets them, and all later ones, go
   * on; it resolves once those that were held have ended.
   */
  holdRequests?(): Promise<() => Promise<void>>;
  /** The next request that reads from the backend fails. */
  failNextRead?(): Promise<void>;
  /** Runs whatever is due in the device's process and its clocks, so that what has not happened then will not happen. */
  settle?(): Promise<void>;
}

/** A device to examine, freshly made: powered on, never driven. */
export interface Subject {
  /** Accesses throw a `TargetLostError` when the device's process is gone or does not answer. */
  readonly target: GuestTarget;
  readonly host: SubjectHost;
  /** What is known of the end of the device's process, or of what it said last. */
  readonly obituary?: () => string | undefined;
  /** Ends it, whatever state it is in. Never rejects. */
  close(): Promise<void>;
}

/** Why there is no device as it was wanted. */
export interface SubjectUnavailable {
  readonly unavailable: string;
}

/** Makes devices of one kind. */
export interface SubjectFactory {
  /** Such as `virtio-blk 0.1.0 in process`. */
  readonly name: string;
  /** Rejects when there should be a device and is none. */
  open(options: SubjectOptions): Promise<Subject | SubjectUnavailable>;
}

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
  /** The size of a block that the disk says it has; 512 when left out. */
  readonly blockSizeBytes?: number | undefined;
  /** What the disk pretends to turn; the device is to offer GEOMETRY. */
  readonly geometry?: DiskGeometry | undefined;
  /** How the disk likes to be used, in blocks; the device is to offer TOPOLOGY. */
  readonly topology?: DiskTopology | undefined;
  /** Whether the storage can give room back. When left out it is as whoever makes devices likes. */
  readonly unmaps?: boolean | undefined;
  /** What the storage knows of its wear. When left out it knows nothing. */
  readonly lifetime?: DiskLifetime | undefined;
  /** The storage can erase for good, within these limits; the device is to offer SECURE_ERASE. */
  readonly secureErase?: SecureEraseLimits | undefined;
  /** The device, a legacy one, is to offer BARRIER. */
  readonly barrier?: boolean | undefined;
  /** A zoned disk; the device is to offer ZONED where it is not a legacy one. */
  readonly zoned?: ZonedDisk | undefined;
}

/** VIRTIO 1.4 §5.2.4, `geometry`. */
export interface DiskGeometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** VIRTIO 1.4 §5.2.4, `topology`; its `alignment_offset` is 0. */
export interface DiskTopology {
  /** Blocks in a physical one, as a power of two. */
  readonly physicalBlockExp: number;
  readonly minIoBlocks: number;
  readonly optIoBlocks: number;
}

/** What GET_LIFETIME is to answer, VIRTIO 1.4 §5.2.6. */
export interface DiskLifetime {
  readonly preEolInfo: number;
  readonly estimateA: number;
  readonly estimateB: number;
}

/** VIRTIO 1.4 §5.2.4, `max_secure_erase_sectors`, `max_secure_erase_seg` and `secure_erase_sector_alignment`. */
export interface SecureEraseLimits {
  readonly maxSectors: number;
  readonly maxSegments: number;
  readonly alignmentSectors: number;
}

/**
 * A zoned disk that a case wants: conventional zones first, then sequential ones, which writes are required (on a host-managed
 * disk) or preferred to follow. Zones are counted from 0. The last one ends where the disk does, wherever that is.
 */
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
  /** The greatest append; 0 is none at all. */
  readonly maxAppendSectors: number;
  /** Writes to sequential zones begin and end at multiples of it. */
  readonly writeGranularityBytes: number;
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

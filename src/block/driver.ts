// What a node asks of the driver below it: the contract that every format, protocol and test driver keeps.

import type { IoVector } from "../base/io-vector.ts";
import type { BitmapStore } from "./bitmap-store.ts";
import type { DebugPoints } from "./debug-points.ts";
import type { BlockNode } from "./node.ts";
import type { NodeSettings } from "./node-settings.ts";
import type { Permissions } from "./permissions.ts";
import type { SnapshotSource } from "./snapshot-source.ts";
import type { BlockZones } from "./zones.ts";

/** The unit of the guest's requests and of every node's length. */
export const SECTOR_SIZE_BYTES = 512;
/** The longest that a node can be: offsets are `number`s. */
export const MAX_NODE_BYTES: number = 2 ** 53 - SECTOR_SIZE_BYTES;

/** What stands in a range, as far as it is the same throughout: `lengthBytes` of it from the offset that was asked for. */
export interface BlockStatus {
  readonly lengthBytes: number;
  /** The range lies in this node's own layer, not in its backing file. */
  readonly allocated: boolean;
  /** Reading gives data that only reading can tell. */
  readonly data: boolean;
  /** Reading gives zeroes. */
  readonly zero: boolean;
}

export interface WriteZeroesOptions {
  /** The range may be deallocated, as long as it then reads as zeroes. */
  readonly mayUnmap: boolean;
  /** Fail with ENOTSUP where nothing is faster than writing zeroes. */
  readonly noFallback: boolean;
}

/** What a node is to the one above it, as messages and queries name it. */
export type ChildRole = "file" | "backing" | "target" | "image";

/** A node below this one, and what it is to it. */
export interface DriverChild {
  readonly role: ChildRole;
  readonly node: BlockNode;
}

/** How worn a disk is, as eMMC disks say it (JESD84-B50): VIRTIO 1.4 §5.2.6. */
export interface DiskLifetime {
  /** Of reserved blocks: 0 unknown, 1 normal, 2 80 % used, 3 90 % used. */
  readonly preEndOfLife: number;
  /** Of SLC and MLC cells: 0 unknown, n from 1 to 10 for up to n tenths used, 11 beyond. */
  readonly estimateA: number;
  readonly estimateB: number;
}

/** A change of a driver that cannot fail any more. Either `commit` and then `finish` are called, or `abort`. */
export interface PreparedReopen {
  /** The image will be read-only, though it was to be written to if possible. */
  readonly readOnly: boolean;
  commit(): void;
  /** Gives back what the driver had before. */
  finish(): Promise<void>;
  abort(): Promise<void>;
}

/** What a driver does when the permissions of its node's users change: of an image file, its locks. */
export interface PermissionListener {
  /** They are about to be these. Throws a `QmpError` where they cannot; what was prepared before then stands. */
  prepare(permissions: Permissions): void;
  /** They are what was prepared last. */
  commit(): void;
  /** They stay what was committed last. */
  abort(): void;
}

/**
 * One image or device as bytes 0 to `lengthBytes - 1`.
 *
 * The node has checked every range against `lengthBytes` and refused changes to read-only images before it calls. An
 * operation that is done when it returns gives `undefined`; one that goes on gives a promise. It fails with a `BlockError`,
 * thrown or rejected. A vector is not the driver's to keep beyond the operation. If it is `revocable`, its owner may take the
 * bytes back any time (`IoVector.abandon`, when a guest resets its device): then a driver touches them only within the call, or
 * on this thread when its result has come in, never from another thread meanwhile.
 *
 * Writes that were acknowledged are found by every later read, and are on stable storage once a `flush` that was asked for
 * after the acknowledgement is done. Overlapping requests in flight have no order.
 */
export interface BlockDriver {
  /** As in QMP: `raw`, `file`, `null-co`. */
  readonly driverName: string;
  /** Of a driver of files: the file's name. */
  readonly path?: string;
  /** Of an image: the name in it of the one that it stands on, empty or undefined for none. */
  readonly backingFile?: string | undefined;
  /** A multiple of 512. */
  readonly lengthBytes: number;
  readonly readOnly: boolean;
  /** The unit in which the format allocates; undefined where it has none. */
  readonly clusterSizeBytes: number | undefined;
  /** The nodes that it stands on. */
  readonly children: readonly DriverChild[];

  read(offsetBytes: number, vector: IoVector): void | Promise<void>;
  write(offsetBytes: number, vector: IoVector): void | Promise<void>;
  /** As `write`, whole clusters in compressed form. Undefined where the format has none. */
  writeCompressed?(offsetBytes: number, vector: IoVector): Promise<void>;
  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void>;
  /** Undefined where the driver cannot discard. What a discarded range reads as is the driver's choice. */
  discard?(offsetBytes: number, lengthBytes: number): void | Promise<void>;
  /**
   * Makes a range's data irretrievable, not only from reading; it then reads as zeroes. Undefined where the driver cannot
   * promise that.
   */
  secureErase?(offsetBytes: number, lengthBytes: number): void | Promise<void>;
  flush(): void | Promise<void>;
  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus>;
  /** Undefined where the length is fixed. `lengthBytes` need not be a multiple of 512; the property is then rounded up. */
  resize?(lengthBytes: number): void | Promise<void>;
  /** As `resize` to a greater length, while requests are in flight: of filters, which pass it on to `BlockNode.extend`. */
  extend?(lengthBytes: number): void | Promise<void>;
  /** Flushes nothing. Called once, with nothing in flight; no other call follows. */
  close(): Promise<void>;

  /** Undefined where permissions mean nothing beyond the graph. */
  readonly permissionListener?: PermissionListener | undefined;
  /**
   * What the driver asks of a child when its own `parents` users ask `asked` of it. Without this method a backing node is
   * asked to be read, and any other child for the same as is asked here. What is asked grows with what is `asked`.
   */
  childPermissions?(role: ChildRole, asked: Permissions, parents: number): Permissions;
  /**
   * From here to as many calls of `endDrain` somebody waits for all that is in flight: what the driver holds back of its own
   * accord it lets go, and holds back no more.
   */
  beginDrain?(): void;
  endDrain?(): void;
  /**
   * A driver above has come to the point of a request that is named `event`. Of a driver that injects faults: it may make the
   * request wait. Undefined in all others, so that nobody need tell them.
   */
  debugEvent?(event: string): void | Promise<void>;
  /** Of such a driver: where a monitor makes requests stop and go on. */
  readonly debugPoints?: DebugPoints;
  /** Undefined when the driver does nothing of its own accord, beside requests; else a promise to ask again after. */
  untilIdle?(): Promise<void> | undefined;
  /** How worn the disk is; undefined where nobody knows. */
  readonly lifetime?: DiskLifetime | undefined;
  /** Of a zoned disk. The node has asked them before it calls the driver. */
  readonly zones?: BlockZones;
  /** Of a format that keeps dirty bitmaps in its images. */
  readonly bitmapStore?: BitmapStore;
  /**
   * The image is somebody else's from now on: nothing of it is kept back, and nothing is written any more. Called in a drained section;
   * undefined where nothing is ever kept back.
   */
  inactivate?(): Promise<void>;
  /** The image is this program's again, and may have changed meanwhile. Undefined where that means nothing, or the driver is opened anew. */
  activate?(): void | Promise<void>;
  /** Of a filter that keeps a snapshot of the node below it. */
  readonly snapshot?: SnapshotSource;
  /**
   * The node is about to have other settings: makes ready what they mean for the image, such as a file that can be written to.
   * In a drained section of the node. Undefined, as a method or a result, where they mean nothing.
   */
  prepareReopen?(settings: NodeSettings): Promise<PreparedReopen | undefined>;
}

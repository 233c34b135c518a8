// Zones of a disk: the terms that a zoned driver and those who send it requests share. VIRTIO 1.4 §5.2.6, docs/reference/virtio-registers.md §5.

import { BlockError } from "../base/errors.ts";

export type ZoneModel = "host-managed" | "host-aware";

export type ZoneType = "conventional" | "sequential-required" | "sequential-preferred";

/**
 * A sequential zone:
 *
 *   empty ──write──▶ implicitly-open ──open──▶ explicitly-open ──close──▶ closed ──write, open──▶ open again
 *   empty, closed, open ──written to capacity, finish──▶ full          any of these ──reset──▶ empty
 *
 * An open zone without data closes to empty. Nothing leads out of read-only and offline, nor into them. A conventional zone is
 * `not-write-pointer` for ever. Open zones and closed ones are the active ones.
 */
export type ZoneState =
  | "not-write-pointer"
  | "empty"
  | "implicitly-open"
  | "explicitly-open"
  | "closed"
  | "full"
  | "read-only"
  | "offline";

/** What a zoned disk is like, all of it the same for ever. */
export interface ZoneLayout {
  readonly model: ZoneModel;
  /** Of each zone but the last, which may be shorter; a multiple of 512. */
  readonly zoneBytes: number;
  readonly zones: number;
  /** 0 is no limit. */
  readonly maxOpenZones: number;
  readonly maxActiveZones: number;
  /** The greatest append; 0: there are none. */
  readonly maxAppendBytes: number;
  /** What writes to zones that require sequential ones begin and end at multiples of. */
  readonly writeGranularityBytes: number;
}

export interface ZoneDescriptor {
  readonly type: ZoneType;
  readonly state: ZoneState;
  readonly startBytes: number;
  /** How much of it can be written. */
  readonly capacityBytes: number;
  /** Where the next sequential write goes; the zone's end where there is none. */
  readonly writePointerBytes: number;
}

export type ZoneCommand = "open" | "close" | "finish" | "reset";

/** How a command to a zone is wrong, which is the sender's fault and no failure of the disk. */
export type ZoneMistake = "invalid-command" | "unaligned-write-pointer" | "open-resource" | "active-resource";

/** A request that the zones of the disk do not allow. */
export class ZoneError extends BlockError {
  override readonly name: string = "ZoneError";
  readonly mistake: ZoneMistake;

  constructor(mistake: ZoneMistake) {
    super("EIO", `zone: ${mistake}`);
    this.mistake = mistake;
  }
}

/** A change of zones that was made when its request was let in, and that the request's failure takes back as far as it can. */
export interface ZoneChange {
  undo(): void;
}

/** What a reset leaves to do: to make the range read as zeroes. */
export interface ZoneReset extends ZoneChange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/**
 * The zones of a driver, as its node asks them, in the order in which requests come: states and write pointers move at once,
 * the data follow. Each throws a `ZoneError`, and has then changed nothing.
 */
export interface BlockZones {
  readonly layout: ZoneLayout;
  zone(index: number): ZoneDescriptor;
  /** A read may be made as one request. */
  checkRead(offsetBytes: number, lengthBytes: number): void;
  /** A discard may be made. */
  checkDiscard(offsetBytes: number, lengthBytes: number): void;
  admitWrite(offsetBytes: number, lengthBytes: number): ZoneChange;
  /** An erase leaves sequential zones empty, and covers all of each. */
  admitErase(offsetBytes: number, lengthBytes: number): ZoneChange;
  /** Where an append to the zone that begins at `zoneOffsetBytes` goes. */
  admitAppend(zoneOffsetBytes: number, lengthBytes: number): ZoneChange & { readonly offsetBytes: number };
  open(zoneOffsetBytes: number): void;
  close(zoneOffsetBytes: number): void;
  finish(zoneOffsetBytes: number): void;
  /** Undefined where nothing was written. */
  reset(zoneOffsetBytes: number): ZoneReset | undefined;
}

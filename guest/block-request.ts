// One request to a block device, from its making to its end: VIRTIO 1.4 §5.2.6.

import { VIRTIO_BLK_HEADER_BYTES } from "./constants/blk.ts";

/** What stands in the status byte's place before the device writes it: no status of the standard has this value. */
export const STATUS_NOT_WRITTEN = 0xff;

/** Who wants to know how a request ended. Exactly one of the two is called, once. */
export interface RequestOwner {
  /** The device has used the request: `status` and `usedLength` are set, `into` is filled. */
  requestDone(request: BlockRequest): void;
  /** The request never ended, or never began: `error` says why. */
  requestFailed(error: unknown): void;
}

/** A request and, while it is in the ring, where it lies in guest RAM: header, `out`, `into` and status byte, one behind another. */
export class BlockRequest {
  /** VIRTIO_BLK_T_… */
  readonly type: number;
  readonly sectorLow: number;
  readonly sectorHigh: number;
  /** Bytes for the device to read. */
  readonly out: Uint8Array | undefined;
  /** Where the bytes that the device wrote go, as far as it says that it wrote them. */
  readonly into: Uint8Array | undefined;
  readonly owner: RequestOwner;

  /** VIRTIO_BLK_S_…, or `STATUS_NOT_WRITTEN`. */
  status: number = STATUS_NOT_WRITTEN;
  /** Bytes that the device says it wrote, the status byte included. */
  usedLength = 0;

  // For the request queue alone.
  nextWaiting: BlockRequest | undefined = undefined;
  address = 0;
  /** The watchdog's time of submission. */
  submittedTick = 0;

  constructor(
    type: number,
    sector: number | bigint,
    out: Uint8Array | undefined,
    into: Uint8Array | undefined,
    owner: RequestOwner,
  ) {
    this.type = type;
    if (typeof sector === "number") {
      this.sectorLow = sector >>> 0;
      this.sectorHigh = Math.floor(sector / 2 ** 32) >>> 0;
    } else {
      this.sectorLow = Number(sector & 0xffff_ffffn);
      this.sectorHigh = Number((sector >> 32n) & 0xffff_ffffn);
    }
    this.out = out;
    this.into = into;
    this.owner = owner;
  }

  get sector(): number {
    return this.sectorHigh * 2 ** 32 + this.sectorLow;
  }

  get outBytes(): number {
    return this.out === undefined ? 0 : this.out.length;
  }

  get intoBytes(): number {
    return this.into === undefined ? 0 : this.into.length;
  }

  /** Bytes of guest RAM that the request takes. */
  get ramBytes(): number {
    return VIRTIO_BLK_HEADER_BYTES + this.outBytes + this.intoBytes + 1;
  }
}

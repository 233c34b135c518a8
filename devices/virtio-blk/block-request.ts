// A block request: the shape of the chain that carries it, and what the guest may ask for. VIRTIO 1.4 §5.2.6.

import type { IoVector } from "../../src/base/io-vector.ts";
import type { BlockZones } from "../../src/block/zones.ts";
import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import type { RequestMistake, RingMistake } from "../guest-mistake.ts";
import { DescriptorChain } from "../virtqueue/descriptor-chain.ts";
import type { KeptLimits, RangeLimits } from "./block-limits.ts";
import { takeHeader } from "./request-header.ts";
import { RequestRanges } from "./request-ranges.ts";
import * as blk from "./virtio-blk-constants.ts";

export type BlockRequestKind =
  | "read"
  | "write"
  | "flush"
  | "get-id"
  | "get-lifetime"
  | "discard"
  | "write-zeroes"
  | "secure-erase"
  | "zone-append"
  | "zone-report"
  | "zone-open"
  | "zone-close"
  | "zone-finish"
  | "zone-reset"
  | "zone-reset-all"
  | "rejected";

/** What requests are checked against. Replaced when any of it changes. */
export interface RequestLimits {
  readonly capacitySectors: number;
  readonly readOnly: boolean;
  readonly sizes: KeptLimits;
  /** The first 32 of the features that the driver accepted, as bits. */
  readonly accepted: number;
  /** BARRIER is offered: bit 31 of a type is not of the type. */
  readonly barrier: boolean;
  readonly legacy: boolean;
  readonly bigEndian: boolean;
  /** Of a zoned disk, whether ZONED was accepted or not. */
  readonly zones: BlockZones | undefined;
}

/**
 * One request, in a slot that is reused: refilled by `Virtqueue.pop` (its chain) and `parse` (the rest).
 *
 * The layout is free (§2.7.4): the header is the first 16 readable bytes however they are split, the status the last writable
 * byte, and the data what lies between.
 */
export class BlockRequest {
  readonly chain: DescriptorChain;
  kind: BlockRequestKind = "rejected";
  /** Type and sector as the header has them, a barrier's bit taken off. */
  type = 0;
  sector = 0;
  /** All earlier requests come before it, all later ones after it. */
  barrier = false;
  /** What to answer when the request is `rejected`. */
  status: number = blk.VIRTIO_BLK_S_OK;
  mistake: RequestMistake | undefined = undefined;
  /** Nothing lies between what the device writes of `dataIn` and the status byte. */
  statusFollowsData = true;
  /** Where the status byte lies, counted from the start of RAM. */
  statusOffset = 0;
  #ranges: RequestRanges | undefined;

  constructor(memory: GuestMemory) {
    this.chain = new DescriptorChain(memory);
  }

  /** The bytes to write to the disk. */
  get dataOut(): IoVector {
    return this.chain.readable;
  }

  /** Where the bytes from the disk go. */
  get dataIn(): IoVector {
    return this.chain.writable;
  }

  /** Of a discard, write-zeroes or secure-erase. */
  get ranges(): RequestRanges {
    this.#ranges ??= new RequestRanges();
    return this.#ranges;
  }

  /** What it does to the disk, in bytes or their worth, as far as others have to wait for it. */
  get costBytes(): number {
    switch (this.kind) {
      case "read":
      case "write":
      case "zone-append":
      case "zone-report":
        return this.dataIn.byteLength + this.dataOut.byteLength;
      case "discard":
      case "write-zeroes":
      case "secure-erase":
        return this.ranges.byteLength;
      default:
        return 0;
    }
  }

  /** Its answer is, beside the status, what the device writes to `dataIn`. */
  get fillsDataIn(): boolean {
    switch (this.kind) {
      case "read":
      case "get-id":
      case "get-lifetime":
      case "zone-append":
      case "zone-report":
        return true;
      default:
        return false;
    }
  }

  // @virtio SPLIT-DEV-006 BLK-DEV-079
  /** Makes a request of the chain. A mistake that is returned leaves no status byte to answer it with. */
  parse(memory: GuestMemory, limits: RequestLimits): RingMistake | undefined {
    const { readable, writable } = this.chain;
    this.type = 0;
    this.sector = 0;
    this.barrier = false;
    if (writable.byteLength === 0) return "NoStatusByte";
    const last = writable.end - 1;
    this.statusOffset = writable.offsets[last]! + writable.lengths[last]! - 1;
    if (this.statusOffset < 0) return "StatusOutsideRam";
    writable.dropBack(1);
    if (this.chain.mistake !== undefined) this.#reject(this.chain.mistake);
    else if (readable.byteLength < blk.VIRTIO_BLK_HEADER_BYTES) this.#reject("HeaderTooShort");
    else if (!takeHeader(this, readable, memory, limits.bigEndian)) this.#reject("HeaderOutsideRam");
    else this.#classify(limits);
    return undefined;
  }

  // @virtio BLK-DEV-037 BLK-DEV-038 BLK-DEV-081 BLK-DEV-083 BLK-DEV-101 BLK-DEV-104
  #classify(limits: RequestLimits): void {
    this.statusFollowsData = true;
    // The exact number decides: no bit of it means a direction, and bit 31 a barrier only where barriers are offered.
    if (limits.barrier && this.type >= blk.VIRTIO_BLK_T_BARRIER) {
      this.barrier = true;
      this.type -= blk.VIRTIO_BLK_T_BARRIER;
    }
    switch (this.type) {
      case blk.VIRTIO_BLK_T_IN:
        this.kind = "read";
        return this.#checkTransfer(this.dataIn, this.dataOut, limits);
      case blk.VIRTIO_BLK_T_OUT:
        this.kind = "write";
        if (limits.readOnly) return this.#reject("WriteToReadOnly"); // §5.2.6.2
        return this.#checkTransfer(this.dataOut, this.dataIn, limits);
      case blk.VIRTIO_BLK_T_FLUSH:
        this.kind = "flush"; // sector and data, if any, mean nothing
        return;
      case blk.VIRTIO_BLK_T_FLUSH_OUT:
        if (!limits.legacy) return this.#reject("UnsupportedType", blk.VIRTIO_BLK_S_UNSUPP);
        this.kind = "flush";
        return;
      case blk.VIRTIO_BLK_T_GET_ID:
        this.kind = "get-id";
        if (this.chain.outsideRam) return this.#reject("DataOutsideRam");
        return this.#limitDataIn(blk.VIRTIO_BLK_ID_BYTES);
      default:
        return this.#classifyOptional(limits);
    }
  }

  // @virtio BLK-DEV-054 BLK-DEV-088
  /** Types that come with a feature, and are unsupported without it. */
  #classifyOptional(limits: RequestLimits): void {
    const feature = featureOf(this.type);
    if (feature === undefined || (limits.accepted & (1 << feature)) === 0) {
      return this.#reject("UnsupportedType", blk.VIRTIO_BLK_S_UNSUPP);
    }
    switch (this.type) {
      case blk.VIRTIO_BLK_T_GET_LIFETIME:
        this.kind = "get-lifetime";
        if (this.chain.outsideRam) return this.#reject("DataOutsideRam");
        if (this.dataIn.byteLength < blk.VIRTIO_BLK_LIFETIME_BYTES) return this.#reject("BufferTooShort");
        return this.#limitDataIn(blk.VIRTIO_BLK_LIFETIME_BYTES);
      case blk.VIRTIO_BLK_T_DISCARD:
        this.kind = "discard";
        return this.#checkRanges(limits, limits.sizes.discard, false, 1);
      case blk.VIRTIO_BLK_T_WRITE_ZEROES:
        this.kind = "write-zeroes";
        return this.#checkRanges(limits, limits.sizes.writeZeroes, true, 1);
      case blk.VIRTIO_BLK_T_SECURE_ERASE:
        this.kind = "secure-erase";
        return this.#checkRanges(limits, limits.sizes.secureErase, false, zoneSectors(limits) ?? 1);
      default:
        return this.#classifyZoned(limits, limits.zones!);
    }
  }

  // @virtio BLK-DEV-063 BLK-DEV-066 BLK-DEV-067 BLK-DEV-091 BLK-DEV-092 BLK-DEV-096 BLK-DEV-099
  #classifyZoned(limits: RequestLimits, zones: BlockZones): void {
    const zone = zoneSectors(limits)!;
    if (this.type === blk.VIRTIO_BLK_T_ZONE_REPORT) {
      this.kind = "zone-report";
      return this.#checkReport(limits, zones, zone);
    }
    this.kind = ZONE_COMMANDS.get(this.type)!;
    const append = this.kind === "zone-append";
    if (append && zones.layout.maxAppendBytes === 0) {
      return this.#reject("UnsupportedType", blk.VIRTIO_BLK_S_UNSUPP);
    }
    if (limits.readOnly) return this.#reject("WriteToReadOnly");
    if (this.kind === "zone-reset-all") return;
    if (append) {
      if (this.chain.outsideRam) return this.#reject("DataOutsideRam");
      const length = this.dataOut.byteLength;
      const most = Math.min(zones.layout.maxAppendBytes, limits.sizes.maxDataBytes);
      if (length === 0 || length > most || this.dataIn.byteLength !== blk.VIRTIO_BLK_APPEND_SECTOR_BYTES) {
        return this.#rejectZoned();
      }
      if (length % blk.VIRTIO_BLK_SECTOR_BYTES !== 0) return this.#reject("DataNotWholeSectors");
    }
    if (this.sector >= limits.capacitySectors || this.sector % zone !== 0) this.#rejectZoned();
  }

  /** A report has as many descriptors as its buffer holds and zones follow. */
  #checkReport(limits: RequestLimits, zones: BlockZones, zoneSectors: number): void {
    const room = this.dataIn.byteLength - blk.VIRTIO_BLK_ZONE_REPORT_BYTES;
    if (room < 0 || this.sector >= limits.capacitySectors) return this.#rejectZoned();
    if (this.chain.outsideRam) return this.#reject("DataOutsideRam");
    const follow = zones.layout.zones - Math.floor(this.sector / zoneSectors);
    const descriptors = Math.min(Math.floor(room / blk.VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES), follow);
    this.#limitDataIn(blk.VIRTIO_BLK_ZONE_REPORT_BYTES + descriptors * blk.VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES);
  }

  // @virtio BLK-DEV-019 BLK-DEV-023 BLK-DEV-082
  #checkTransfer(data: IoVector, other: IoVector, limits: RequestLimits): void {
    const length = data.byteLength;
    if (this.chain.outsideRam) this.#reject("DataOutsideRam");
    else if (other.byteLength > 0) this.#reject("DataInWrongDirection");
    else if (length % blk.VIRTIO_BLK_SECTOR_BYTES !== 0) this.#reject("DataNotWholeSectors");
    else if (length > limits.sizes.maxDataBytes) this.#reject("DataTooLong");
    // In sectors: a sector times 512 may pass 2^64.
    else if (length / blk.VIRTIO_BLK_SECTOR_BYTES > limits.capacitySectors - this.sector) {
      this.#reject("BeyondCapacity");
    }
  }

  #checkRanges(limits: RequestLimits, ranges: Required<RangeLimits>, mayUnmap: boolean, unitSectors: number): void {
    if (limits.readOnly) return this.#reject("WriteToReadOnly");
    if (this.chain.outsideRam) return this.#reject("DataOutsideRam");
    if (this.dataIn.byteLength > 0) return this.#reject("DataInWrongDirection");
    const { capacitySectors, bigEndian } = limits;
    const rules = { limits: ranges, capacitySectors, mayUnmap, unitSectors };
    const mistake = this.ranges.parse(this.dataOut, rules, bigEndian);
    if (mistake === undefined) return;
    this.#reject(mistake, mistake === "SegmentFlags" ? blk.VIRTIO_BLK_S_UNSUPP : blk.VIRTIO_BLK_S_IOERR);
  }

  /** The buffer may be longer, by terabytes when its segments lie on each other: the rest stays as it is. */
  #limitDataIn(lengthBytes: number): void {
    const excess = this.dataIn.byteLength - lengthBytes;
    if (excess <= 0) return;
    this.dataIn.dropBack(excess);
    this.statusFollowsData = false;
  }

  #rejectZoned(): void {
    this.#reject("ZoneRequest", blk.VIRTIO_BLK_S_ZONE_INVALID_CMD);
  }

  #reject(mistake: RequestMistake, status: number = blk.VIRTIO_BLK_S_IOERR): void {
    this.kind = "rejected";
    this.mistake = mistake;
    this.status = status;
  }
}

const ZONE_COMMANDS: ReadonlyMap<number, BlockRequestKind> = new Map<number, BlockRequestKind>([
  [blk.VIRTIO_BLK_T_ZONE_APPEND, "zone-append"],
  [blk.VIRTIO_BLK_T_ZONE_OPEN, "zone-open"],
  [blk.VIRTIO_BLK_T_ZONE_CLOSE, "zone-close"],
  [blk.VIRTIO_BLK_T_ZONE_FINISH, "zone-finish"],
  [blk.VIRTIO_BLK_T_ZONE_RESET, "zone-reset"],
  [blk.VIRTIO_BLK_T_ZONE_RESET_ALL, "zone-reset-all"],
]);

/** The feature that a request type comes with. */
function featureOf(type: number): number | undefined {
  switch (type) {
    case blk.VIRTIO_BLK_T_GET_LIFETIME:
      return blk.VIRTIO_BLK_F_LIFETIME;
    case blk.VIRTIO_BLK_T_DISCARD:
      return blk.VIRTIO_BLK_F_DISCARD;
    case blk.VIRTIO_BLK_T_WRITE_ZEROES:
      return blk.VIRTIO_BLK_F_WRITE_ZEROES;
    case blk.VIRTIO_BLK_T_SECURE_ERASE:
      return blk.VIRTIO_BLK_F_SECURE_ERASE;
    case blk.VIRTIO_BLK_T_ZONE_REPORT:
      return blk.VIRTIO_BLK_F_ZONED;
    default:
      return ZONE_COMMANDS.has(type) ? blk.VIRTIO_BLK_F_ZONED : undefined;
  }
}

function zoneSectors(limits: RequestLimits): number | undefined {
  return limits.zones && limits.zones.layout.zoneBytes / blk.VIRTIO_BLK_SECTOR_BYTES;
}

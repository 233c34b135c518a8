// How large requests may be, and how the disk likes them: the numbers behind the configuration fields of VIRTIO 1.4 §5.2.4.

import { assert } from "../../src/base/assert.ts";
import type { BlockZones } from "../../src/block/zones.ts";
import { VIRTIO_BLK_SECTOR_BYTES } from "./virtio-blk-constants.ts";

/** The greatest data segment that `size_max` allows by default. */
const DEFAULT_SEGMENT_BYTES = 1 << 20;
/** `seg_max` segments of `size_max` bytes are at most this by default: what a turn of the event loop can bear. */
const DEFAULT_REQUEST_BYTES = 256 << 20;
/** 1 GiB: a segment of DISCARD and the like. Of such a request pieces are carried out, others have their turn in between. */
const DEFAULT_RANGE_SECTORS = 1 << 21;
const DEFAULT_RANGES = 16;
/** Room for segments is made for each request in flight. */
const MAX_RANGES = 256;

/** Limits of DISCARD, WRITE_ZEROES or SECURE_ERASE. */
export interface RangeLimits {
  /** The greatest segment: 1 GiB by default. */
  readonly maxSectors?: number;
  /** Segments of one request, at most 256: 16 by default. */
  readonly maxSegments?: number;
  /** What segments had best be multiples of; 1 by default. WRITE_ZEROES has no such field. */
  readonly alignmentSectors?: number;
}

/** What whoever makes the device says of its limits. */
export interface BlockLimits {
  /** SIZE_MAX: bytes of one data segment; 1 MiB by default, or less where chains are long. */
  readonly sizeMaxBytes?: number;
  /** SEG_MAX: data segments of one request; by default what the ring has room for beside header and status. */
  readonly segMax?: number;
  readonly discard?: RangeLimits;
  readonly writeZeroes?: RangeLimits;
  readonly secureErase?: RangeLimits;
}

/** The limits that a device keeps. */
export interface KeptLimits {
  readonly sizeMaxBytes: number;
  readonly segMax: number;
  /** No request may carry more data. */
  readonly maxDataBytes: number;
  readonly discard: Required<RangeLimits>;
  readonly writeZeroes: Required<RangeLimits>;
  readonly secureErase: Required<RangeLimits>;
}

/** Fills in what is left open. `descriptors` is the longest chain; a zoned disk's zones bind secure erases. */
export function keptLimits(wish: BlockLimits, descriptors: number, zones: BlockZones | undefined): KeptLimits {
  const { segMax = Math.max(1, descriptors - 2) } = wish;
  const { sizeMaxBytes = Math.min(DEFAULT_SEGMENT_BYTES, DEFAULT_REQUEST_BYTES / descriptors) } = wish;
  assert(isField(segMax) && isField(sizeMaxBytes), "virtio-blk: size_max or seg_max");
  const zoneSectors = zones === undefined ? 1 : zones.layout.zoneBytes / VIRTIO_BLK_SECTOR_BYTES;
  return {
    sizeMaxBytes,
    segMax,
    maxDataBytes: segMax * sizeMaxBytes,
    discard: ranges(wish.discard, 1),
    writeZeroes: ranges(wish.writeZeroes, 1),
    secureErase: ranges(wish.secureErase, zoneSectors),
  };
}

function ranges(wish: RangeLimits = {}, unitSectors: number): Required<RangeLimits> {
  const { maxSectors = DEFAULT_RANGE_SECTORS, maxSegments = DEFAULT_RANGES, alignmentSectors = unitSectors } = wish;
  assert(isField(maxSectors) && isField(alignmentSectors), "virtio-blk: limit of segments");
  assert(isField(maxSegments) && maxSegments <= MAX_RANGES, "virtio-blk: more than 256 segments");
  assert(alignmentSectors % unitSectors === 0, "virtio-blk: secure erase alignment is no multiple of the zone size");
  return { maxSectors, maxSegments, alignmentSectors };
}

/** A number that a 32-bit field holds and a driver can work with. */
function isField(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 0xffff_ffff;
}

// The segments of DISCARD, WRITE_ZEROES and SECURE_ERASE: VIRTIO 1.4 §5.2.6 and §5.2.6.2.

import type { IoVector } from "../../src/base/io-vector.ts";
import type { RequestMistake } from "../guest-mistake.ts";
import type { RangeLimits } from "./block-limits.ts";
import { VIRTIO_BLK_RANGE_BYTES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP } from "./virtio-blk-constants.ts";

const TWO_TO_32 = 2 ** 32;
const INITIAL_RANGES = 16;

/** What the segments of a request are checked against. */
export interface RangeRules {
  readonly limits: Required<RangeLimits>;
  readonly capacitySectors: number;
  /** The flag `unmap` means something. */
  readonly mayUnmap: boolean;
  /** What the length of every segment must be a multiple of. */
  readonly unitSectors: number;
}

let scratch = new Uint8Array(INITIAL_RANGES * VIRTIO_BLK_RANGE_BYTES);

/** The segments of one request, copied out of RAM before they are looked at. */
export class RequestRanges {
  count = 0;
  /** Sum of their lengths. */
  byteLength = 0;
  sectors: Float64Array = new Float64Array(INITIAL_RANGES);
  lengthsSectors: Float64Array = new Float64Array(INITIAL_RANGES);
  flags: Uint32Array = new Uint32Array(INITIAL_RANGES);

  // @virtio BLK-DEV-039 BLK-DEV-040 BLK-DEV-076 BLK-DEV-089
  /** Reads all of them and looks at each before any is carried out: flags first, of all, then ranges. */
  parse(data: IoVector, rules: RangeRules, bigEndian: boolean): RequestMistake | undefined {
    const length = data.byteLength;
    this.count = 0;
    this.byteLength = 0;
    if (length === 0 || length % VIRTIO_BLK_RANGE_BYTES !== 0) return "SegmentsMalformed";
    const count = length / VIRTIO_BLK_RANGE_BYTES;
    if (count > rules.limits.maxSegments) return "TooManySegments";
    this.#read(data, count, bigEndian);
    const known = rules.mayUnmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    for (let i = 0; i < count; i++) if ((this.flags[i]! & ~known) !== 0) return "SegmentFlags";
    for (let i = 0; i < count; i++) {
      const sectors = this.lengthsSectors[i]!;
      if (sectors > rules.limits.maxSectors) return "SegmentTooLong";
      if (sectors > rules.capacitySectors - this.sectors[i]!) return "BeyondCapacity";
      if (sectors % rules.unitSectors !== 0 || this.sectors[i]! % rules.unitSectors !== 0) return "SegmentUnaligned";
    }
    return undefined;
  }

  #read(data: IoVector, count: number, bigEndian: boolean): void {
    if (count > this.sectors.length) this.#grow(count);
    if (data.byteLength > scratch.length) scratch = new Uint8Array(data.byteLength);
    data.copyTo(scratch, 0);
    const view = new DataView(scratch.buffer);
    for (let i = 0; i < count; i++) {
      const at = i * VIRTIO_BLK_RANGE_BYTES;
      const low = view.getUint32(bigEndian ? at + 4 : at, !bigEndian);
      const high = view.getUint32(bigEndian ? at : at + 4, !bigEndian);
      this.sectors[i] = low + high * TWO_TO_32;
      this.lengthsSectors[i] = view.getUint32(at + 8, !bigEndian);
      this.flags[i] = view.getUint32(at + 12, !bigEndian);
      this.byteLength += this.lengthsSectors[i]! * 512;
    }
    this.count = count;
  }

  /** `count` is within the limit of the device. */
  #grow(count: number): void {
    this.sectors = new Float64Array(count);
    this.lengthsSectors = new Float64Array(count);
    this.flags = new Uint32Array(count);
  }
}

// A dirty bitmap as the host's side of a machine shows it.

import type { DirtyBitmap } from "../src/bitmap/dirty-bitmap.ts";
import { DirtyArea } from "../src/bitmap/hierarchical-bitmap.ts";

/** A bitmap at one moment. */
export interface BitmapInfo {
  /** The id of the drive that it belongs to. */
  readonly drive: string;
  readonly name: string;
  readonly granularityBytes: number;
  /** Dirty granules times granularity: the last one of a disk counts in full. */
  readonly dirtyBytes: number;
  /** It records what the guest writes. */
  readonly recording: boolean;
}

export interface ByteRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export function bitmapInfo(drive: string, bitmap: DirtyBitmap): BitmapInfo {
  return {
    drive,
    name: bitmap.name ?? "",
    granularityBytes: bitmap.granularityBytes,
    dirtyBytes: bitmap.countBytes,
    recording: bitmap.enabled,
  };
}

/** The dirty areas in order, looked for as they are asked for. */
export function* dirtyAreas({ bits }: DirtyBitmap): Generator<ByteRange, void, undefined> {
  const area = new DirtyArea();
  for (let at = 0; bits.nextDirtyArea(at, bits.sizeBytes, bits.sizeBytes, area); at = area.offset + area.length) {
    yield { offsetBytes: area.offset, lengthBytes: area.length };
  }
}

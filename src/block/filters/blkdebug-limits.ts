// What blkdebug pretends that its image can take at once: QMP's BlockdevOptionsBlkdebug, as QEMU 7.2 was seen to act on it.

import { QmpError } from "../../base/errors.ts";

/** Bytes; where nothing is given, anything goes. */
export interface BlkdebugLimitOptions {
  /** Requests begin and end at multiples of it; a power of two. */
  readonly align?: number;
  readonly "max-transfer"?: number;
  readonly "opt-write-zero"?: number;
  readonly "max-write-zero"?: number;
  readonly "opt-discard"?: number;
  readonly "max-discard"?: number;
}

/** Units and upper limits of the requests that reach an image. */
export interface BlkdebugLimits {
  readonly alignBytes: number;
  readonly maxTransferBytes: number;
  readonly zeroUnitBytes: number;
  readonly maxZeroBytes: number;
  readonly discardUnitBytes: number;
  readonly maxDiscardBytes: number;
}

const NAMES = ["align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard", "max-discard"] as const;
const MAX_ALIGN_BYTES = 2 ** 31 - 1;

/** Undefined where no limit is given. Throws a `QmpError` with QEMU's text where they do not fit one another. */
export function limitsOf(options: BlkdebugLimitOptions): BlkdebugLimits | undefined {
  for (const name of NAMES) {
    if ((options[name] ?? 0) < 0) throw new QmpError(`Parameter '${name}' expects a non-negative number below 2^64`);
  }
  const value = (name: (typeof NAMES)[number], unit: number): number => {
    const bytes = options[name] ?? 0;
    if (bytes % unit !== 0) throw new QmpError(`Cannot meet constraints with ${name} ${bytes}`);
    return bytes;
  };
  const align = options.align ?? 0;
  if (align > MAX_ALIGN_BYTES || (align > 0 && !Number.isInteger(Math.log2(align)))) {
    throw new QmpError(`Cannot meet constraints with align ${align}`);
  }
  const unit = Math.max(align, 1);
  const maxTransfer = value("max-transfer", unit);
  const zeroUnit = Math.max(value("opt-write-zero", unit), unit);
  const maxZero = value("max-write-zero", zeroUnit);
  const discardUnit = Math.max(value("opt-discard", unit), unit);
  const maxDiscard = value("max-discard", discardUnit);
  if (NAMES.every((name) => (options[name] ?? 0) === 0)) return undefined;
  const orAny = (bytes: number): number => (bytes === 0 ? Number.POSITIVE_INFINITY : bytes);
  return {
    alignBytes: unit,
    maxTransferBytes: orAny(maxTransfer),
    zeroUnitBytes: zeroUnit,
    maxZeroBytes: orAny(maxZero),
    discardUnitBytes: discardUnit,
    maxDiscardBytes: orAny(maxDiscard),
  };
}

/** A part of a request; not `whole` at its ends, where it fills no unit. */
export interface Piece {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly whole: boolean;
}

/** What a request is cut into: up to the first multiple of `unit`, then whole units, at most `max` bytes at a time, then the rest. */
export function* pieces(offsetBytes: number, lengthBytes: number, unit: number, max: number): Generator<Piece> {
  const end = offsetBytes + lengthBytes;
  for (let at = offsetBytes; at < end; ) {
    const inUnit = at % unit;
    const left = end - at;
    const whole = inUnit === 0 && left >= unit;
    const length = whole ? Math.min(left - (left % unit), max) : Math.min(left, unit - inUnit, max);
    yield { offsetBytes: at, lengthBytes: length, whole };
    at += length;
  }
}

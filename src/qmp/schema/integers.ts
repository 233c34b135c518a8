// The integer types: their ranges, and the two ways in which a value that is none of them is refused.

import { QmpError } from "../../base/errors.ts";
import { leafName, type Path } from "./path.ts";
import type { Int64, IntegerName } from "./types.ts";

interface IntegerLimits {
  readonly bits: number;
  readonly signed: boolean;
}

const LIMITS: Readonly<Record<IntegerName, IntegerLimits>> = {
  int: { bits: 64, signed: true },
  int32: { bits: 32, signed: true },
  uint8: { bits: 8, signed: false },
  uint16: { bits: 16, signed: false },
  uint32: { bits: 32, signed: false },
  uint64: { bits: 64, signed: false },
  size: { bits: 64, signed: false },
};

export function isSigned(name: IntegerName): boolean {
  return LIMITS[name].signed;
}

/** A `number` where that is exact. */
export function toInt64(value: bigint): Int64 {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

/**
 * An integer of 64 bits, the sign as the type has it, in the range of a smaller type; `undefined` if it does not fit into 64 bits. An
 * unsigned type takes a negative number for the one with the same bits. A `QmpError` with the path-less text if the type is too small.
 */
export function fitInteger(name: IntegerName, value: bigint, path: Path | undefined): Int64 | undefined {
  const { bits, signed } = LIMITS[name];
  const fits = signed
    ? value === BigInt.asIntN(64, value)
    : value === BigInt.asUintN(64, value) || value === BigInt.asIntN(64, value);
  if (!fits) return undefined;
  const wide = signed ? value : BigInt.asUintN(64, value);
  const narrow = signed ? BigInt.asIntN(bits, wide) : BigInt.asUintN(bits, wide);
  if (narrow !== wide) throw new QmpError(`Parameter '${leafName(path)}' expects ${name}_t`);
  return toInt64(wide);
}

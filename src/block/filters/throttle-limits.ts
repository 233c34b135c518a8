// Limits of a throttle group, as QMP's ThrottleLimits has them, and the checks of them in QEMU's order.

import { QmpError } from "../../base/errors.ts";

const MAX_VALUE = 1e15;
const MAX_LENGTH_SECONDS = 2 ** 32 - 1;

/** What is limited, in the order of the checks: bytes and operations a second, in all or in one direction. */
export const THROTTLED: readonly ThrottledQuantity[] = [
  "bps-total",
  "bps-read",
  "bps-write",
  "iops-total",
  "iops-read",
  "iops-write",
];

export type ThrottledQuantity = "bps-total" | "bps-read" | "bps-write" | "iops-total" | "iops-read" | "iops-write";

type Limit = ThrottledQuantity | `${ThrottledQuantity}-max` | `${ThrottledQuantity}-max-length` | "iops-size";

/**
 * Per second; 0 is no limit. `-max` is what a burst may have a second, for `-max-length` seconds, 1 by default. An operation of more
 * than `iops-size` bytes counts as several.
 */
export type ThrottleLimits = Readonly<Partial<Record<Limit, number>>>;

/** All of them given. */
export type WholeThrottleLimits = Readonly<Record<Limit, number>>;

/** Throws a `QmpError` with QEMU's text unless every burst of an object's limits has a length that fits into 32 bits. */
export function checkBurstLengths(limits: ThrottleLimits): void {
  const whole = withDefaults(limits);
  for (const quantity of THROTTLED) checkLength(quantity, whole);
}

/** Something is limited. */
export function limitsAnything(limits: ThrottleLimits): boolean {
  return THROTTLED.some((quantity) => (limits[quantity] ?? 0) > 0);
}

/** Fills in the defaults. Throws a `QmpError` with QEMU's text where limits do not go together. */
export function checkThrottleLimits(limits: ThrottleLimits): WholeThrottleLimits {
  const whole = withDefaults(limits);
  if (mixesTotals(whole, "bps") || mixesTotals(whole, "iops"))
    throw new QmpError("bps/iops/max total values and read/write values cannot be used at the same time");
  const limitsOperations = whole["iops-total"] !== 0 || whole["iops-read"] !== 0 || whole["iops-write"] !== 0;
  if (whole["iops-size"] !== 0 && !limitsOperations) throw new QmpError("iops size requires an iops value to be set");
  for (const quantity of THROTTLED) checkQuantity(quantity, whole);
  return whole;
}

function withDefaults(limits: ThrottleLimits): WholeThrottleLimits {
  const whole: Partial<Record<Limit, number>> = { "iops-size": limits["iops-size"] ?? 0 };
  for (const quantity of THROTTLED) {
    whole[quantity] = limits[quantity] ?? 0;
    whole[`${quantity}-max`] = limits[`${quantity}-max`] ?? 0;
    whole[`${quantity}-max-length`] = limits[`${quantity}-max-length`] ?? 1;
  }
  return whole as WholeThrottleLimits;
}

function checkLength(quantity: ThrottledQuantity, limits: WholeThrottleLimits): void {
  const length = limits[`${quantity}-max-length`];
  if (length >= 0 && length <= MAX_LENGTH_SECONDS) return;
  throw new QmpError(`${quantity}-max-length value must be in the range [0, ${MAX_LENGTH_SECONDS}]`);
}

function mixesTotals(limits: WholeThrottleLimits, unit: "bps" | "iops"): boolean {
  const total = limits[`${unit}-total`] !== 0;
  const parts = limits[`${unit}-read`] !== 0 || limits[`${unit}-write`] !== 0;
  const totalMax = limits[`${unit}-total-max`] !== 0;
  const partMaxes = limits[`${unit}-read-max`] !== 0 || limits[`${unit}-write-max`] !== 0;
  return (total && parts) || (totalMax && partMaxes);
}

function checkQuantity(quantity: ThrottledQuantity, limits: WholeThrottleLimits): void {
  const average = limits[quantity];
  const max = limits[`${quantity}-max`];
  const length = limits[`${quantity}-max-length`];
  if (average < 0 || average > MAX_VALUE || max < 0 || max > MAX_VALUE)
    throw new QmpError(`bps/iops/max values must be within [0, ${MAX_VALUE}]`);
  if (length === 0) throw new QmpError("the burst length cannot be 0");
  if (length > 1 && max === 0) throw new QmpError("burst length set without burst rate");
  if (max > 0 && length > MAX_VALUE / max) throw new QmpError("burst length too high for this burst rate");
  if (max > 0 && average === 0) throw new QmpError("bps_max/iops_max require corresponding bps/iops values");
  if (max > 0 && max < average) throw new QmpError("bps_max/iops_max cannot be lower than bps/iops");
}

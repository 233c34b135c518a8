// The limits that `-drive` gives: docs/reference/monitor.md §6, QEMU's docs/throttle.txt.

import { QmpError } from "../src/base/errors.ts";
import {
  checkThrottleLimits,
  THROTTLED,
  type ThrottledQuantity,
  type ThrottleLimits,
} from "../src/block/filters/throttle-limits.ts";
import type { Options } from "./option-string.ts";

/** QEMU's older names of the same. Lengths of bursts have none. */
const SHORT: Readonly<Record<ThrottledQuantity, string>> = {
  "bps-total": "bps",
  "bps-read": "bps_rd",
  "bps-write": "bps_wr",
  "iops-total": "iops",
  "iops-read": "iops_rd",
  "iops-write": "iops_wr",
};

const ALIASES: ReadonlyMap<string, string> = new Map([
  ...THROTTLED.map((quantity): [string, string] => [`throttling.${quantity}`, SHORT[quantity]]),
  ...THROTTLED.map((quantity): [string, string] => [`throttling.${quantity}-max`, `${SHORT[quantity]}_max`]),
  ["throttling.iops-size", "iops_size"],
  ["throttling.group", "group"],
]);

const LENGTHS: readonly string[] = THROTTLED.map((quantity) => `throttling.${quantity}-max-length`);
const GROUP = "throttling.group";
const MAX_UINT64 = 2n ** 64n - 1n;
const NUMBER = /^[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)$/;

export const THROTTLING_KEYS: readonly string[] = [...ALIASES.keys(), ...ALIASES.values(), ...LENGTHS];

/** What a drive is to be limited to, and with whom together. */
export interface DriveThrottling {
  readonly limits: ThrottleLimits;
  readonly group: string | undefined;
}

/** Throws a `QmpError` with QEMU's text where a limit is no number or limits do not go together. */
export function parseDriveThrottling(options: Options): DriveThrottling {
  for (const [key, alias] of ALIASES) {
    if (options.has(key) && options.has(alias))
      throw new QmpError(`'${key}' and its alias '${alias}' can't be used at the same time`);
  }
  const limits: Record<string, number> = {};
  for (const key of [...ALIASES.keys(), ...LENGTHS]) {
    const value = options.get(key) ?? options.get(ALIASES.get(key) ?? key);
    if (value !== undefined && key !== GROUP) limits[key.slice("throttling.".length)] = parseUint64(key, value);
  }
  checkThrottleLimits(limits);
  return { limits, group: options.get(GROUP) ?? options.get("group") };
}

/** A negative one is counted down from 2^64, as C does it. */
function parseUint64(key: string, text: string): number {
  if (!NUMBER.test(text)) throw new QmpError(`Parameter '${key}' expects a number`);
  const magnitude = BigInt(text.replace(/^[+-]/, ""));
  if (magnitude > MAX_UINT64) throw new QmpError(`Value '${text}' is too large for parameter '${key}'`);
  return Number(BigInt.asUintN(64, text.startsWith("-") ? -magnitude : magnitude));
}

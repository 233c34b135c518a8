// Limits of backends as queries tell and commands take them: docs/reference/monitor.md §2, corrections.md D.

import type { ThrottleGroup } from "../../block/filters/throttle-group.ts";
import type { ThrottledQuantity, ThrottleLimits } from "../../block/filters/throttle-limits.ts";
import { type Int64, int, type Members, optional, str } from "../schema/types.ts";

/** How QMP's block commands name what is limited, in their order. */
const QUANTITIES: Readonly<Record<Quantity, ThrottledQuantity>> = {
  bps: "bps-total",
  bps_rd: "bps-read",
  bps_wr: "bps-write",
  iops: "iops-total",
  iops_rd: "iops-read",
  iops_wr: "iops-write",
};

type Quantity = "bps" | "bps_rd" | "bps_wr" | "iops" | "iops_rd" | "iops_wr";
const NAMES = Object.keys(QUANTITIES) as Quantity[];

/** Every second, and in bursts: members that BlockDeviceInfo and BlockIOThrottle have in common. */
export type IoLimits = Readonly<Record<Quantity, Int64>> &
  Readonly<Partial<Record<`${Quantity}_max` | `${Quantity}_max_length` | "iops_size", Int64>>> & {
    readonly group?: string;
  };

function each<Name extends string, Value>(name: (quantity: Quantity) => Name, value: Value): Record<Name, Value> {
  return Object.fromEntries(NAMES.map((quantity) => [name(quantity), value])) as Record<Name, Value>;
}

/** Their types, in the order in which they are looked at. */
export const ioLimits: Members = {
  ...each((quantity) => quantity, int),
  ...each((quantity) => `${quantity}_max`, optional(int)),
  ...each((quantity) => `${quantity}_max_length`, optional(int)),
  iops_size: optional(int),
  group: optional(str),
};

/** What a query tells of a backend's group, or of a backend that has none. */
export function describeLimits(group: ThrottleGroup | undefined): IoLimits {
  if (group === undefined) return each((quantity) => quantity, 0);
  const { limits } = group;
  const told: Record<string, Int64> = {};
  for (const name of NAMES) {
    const quantity = QUANTITIES[name];
    told[name] = limits[quantity];
    if (limits[`${quantity}-max`] === 0) continue;
    told[`${name}_max`] = limits[`${quantity}-max`];
    told[`${name}_max_length`] = signed(limits[`${quantity}-max-length`]);
  }
  if (limits["iops-size"] !== 0) told["iops_size"] = signed(limits["iops-size"]);
  return { ...(told as Readonly<Record<string, unknown>> as IoLimits), group: group.name };
}

/** What a command's arguments say. A negative length or size is a very large one, as it is for QEMU. */
export function throttleLimitsOf(args: IoLimits): ThrottleLimits {
  const limits: Record<string, number> = {};
  for (const name of NAMES) {
    const quantity = QUANTITIES[name];
    limits[quantity] = Number(args[name]);
    const { [`${name}_max` as const]: max, [`${name}_max_length` as const]: length } = args;
    if (max !== undefined) limits[`${quantity}-max`] = Number(max);
    if (length !== undefined) limits[`${quantity}-max-length`] = unsigned(length);
  }
  if (args.iops_size !== undefined) limits["iops-size"] = unsigned(args.iops_size);
  return limits;
}

function unsigned(value: Int64): number {
  return Number(BigInt.asUintN(64, BigInt(value)));
}

/** As 64 bits are printed, of which a number may have lost the last. */
function signed(value: number): Int64 {
  if (value <= Number.MAX_SAFE_INTEGER) return value;
  const exact = BigInt(value);
  return exact >= 2n ** 64n ? -1 : BigInt.asIntN(64, exact);
}

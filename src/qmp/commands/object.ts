// object-add and object-del, of the objects that the block layer has: throttle groups. docs/reference/monitor.md §1.3.

import { QmpError } from "../../base/errors.ts";
import type { ThrottleGroups } from "../../block/filters/throttle-group.ts";
import type { ThrottleLimits } from "../../block/filters/throttle-limits.ts";
import { type Command, defineCommand } from "../command.ts";
import { type Int64, int, object, optional, str, type Type, type UnionType, union } from "../schema/types.ts";

const ID = /^[A-Za-z][A-Za-z0-9\-._]*$/;

/** Members of QMP's ThrottleLimits, in their order. */
const LIMITS: readonly string[] = [
  ...["iops-total", "iops-read", "iops-write", "bps-total", "bps-read", "bps-write"].flatMap((quantity) => [
    quantity,
    `${quantity}-max`,
    `${quantity}-max-length`,
  ]),
  "iops-size",
];

type CheckedLimits = Readonly<Record<string, Int64 | undefined>>;

function limitMembers(prefix: string): Record<string, { readonly optional: Type<Int64> }> {
  return Object.fromEntries(LIMITS.map((name) => [prefix + name, optional(int)]));
}

/** QMP's ObjectOptions. The members with `x-` are of the time before `limits`. */
export interface ObjectOptions {
  readonly "qom-type": string;
  readonly id: string;
  readonly limits?: CheckedLimits;
  readonly [member: `x-${string}`]: Int64 | undefined;
}

/** Also what the command line's `-object` takes. */
export const objectOptions: UnionType<ObjectOptions> = union(
  "qom-type",
  { id: str },
  { "throttle-group": object({ limits: optional(object(limitMembers(""))), ...limitMembers("x-") }) },
) as UnionType<unknown> as UnionType<ObjectOptions>;

/** Makes an object. Throws a `QmpError`, and there is none then. */
export function addObject(groups: ThrottleGroups, options: ObjectOptions): void {
  const { id, limits = {} } = options;
  if (!ID.test(id)) throw new QmpError("Parameter 'id' expects an identifier");
  const given: Record<string, number> = {};
  for (const name of LIMITS) {
    const value = options[`x-${name}`] ?? limits[name];
    if (value !== undefined) given[name] = Number(value);
  }
  groups.add(id, given as ThrottleLimits);
}

export function objectCommands(groups: ThrottleGroups): Command[] {
  return [
    defineCommand({
      name: "object-add",
      arguments: objectOptions,
      run: (options) => addObject(groups, options),
    }),
    defineCommand({
      name: "object-del",
      arguments: object({ id: str }),
      run: ({ id }) => groups.delete(id),
    }),
  ];
}

// object-add and object-del, of the objects that disks have to do with: throttle groups and iothreads. docs/reference/monitor.md §1.3.

import { QmpError } from "../../base/errors.ts";
import type { ThrottleGroups } from "../../block/filters/throttle-group.ts";
import type { ThrottleLimits } from "../../block/filters/throttle-limits.ts";
import { type Command, defineCommand } from "../command.ts";
import { type Int64, int, object, optional, str, type Type, type UnionType, union } from "../schema/types.ts";
import { type IoThreadOptions, type IoThreads, ioThreadProperties } from "./io-threads.ts";

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
export interface ObjectOptions extends IoThreadOptions {
  readonly "qom-type": string;
  readonly id: string;
  readonly limits?: CheckedLimits;
  readonly [member: `x-${string}`]: Int64 | undefined;
}

/** Also what the command line's `-object` takes. */
export const objectOptions: UnionType<ObjectOptions> = union(
  "qom-type",
  { id: str },
  {
    "throttle-group": object({ limits: optional(object(limitMembers(""))), ...limitMembers("x-") }),
    iothread: ioThreadProperties,
  },
) as UnionType<unknown> as UnionType<ObjectOptions>;

/** Where objects are, by their types. No two have the same name. */
export interface Objects {
  readonly groups: ThrottleGroups;
  readonly ioThreads: IoThreads;
}

/** Makes an object. Throws a `QmpError`, and there is none then. */
export function addObject({ groups, ioThreads }: Objects, options: ObjectOptions): void {
  const { id, limits = {} } = options;
  if (!ID.test(id)) throw new QmpError("Parameter 'id' expects an identifier");
  const taken = ioThreads.has(id) || (options["qom-type"] === "iothread" && groups.names.includes(id));
  if (taken) throw new QmpError(`attempt to add duplicate property '${id}' to object (type 'container')`);
  if (options["qom-type"] === "iothread") return ioThreads.add(id, options);
  const given: Record<string, number> = {};
  for (const name of LIMITS) {
    const value = options[`x-${name}`] ?? limits[name];
    if (value !== undefined) given[name] = Number(value);
  }
  groups.add(id, given as ThrottleLimits);
}

export function objectCommands(objects: Objects): Command[] {
  return [
    defineCommand({
      name: "object-add",
      arguments: objectOptions,
      run: (options) => addObject(objects, options),
    }),
    defineCommand({
      name: "object-del",
      arguments: object({ id: str }),
      run({ id }) {
        if (!objects.ioThreads.delete(id)) objects.groups.delete(id);
      },
    }),
    objects.ioThreads.query(),
  ];
}

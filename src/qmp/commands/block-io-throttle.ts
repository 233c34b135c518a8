// block_set_io_throttle: limits of what a drive or device may read and write. QEMU's docs/throttle.txt.

import { QmpError } from "../../base/errors.ts";
import type { BlockBackend } from "../../block/backend.ts";
import type { ThrottleGroups } from "../../block/filters/throttle-group.ts";
import { checkThrottleLimits, limitsAnything, type ThrottleLimits } from "../../block/filters/throttle-limits.ts";
import type { BlockGraph } from "../../block/graph.ts";
import { type Command, defineCommand } from "../command.ts";
import { type ObjectType, object, optional, str } from "../schema/types.ts";
import { type IoLimits, ioLimits, throttleLimitsOf } from "./query-block-limits.ts";

/** What the command needs of the machine. */
export interface ThrottleServices {
  readonly graph: BlockGraph;
  readonly throttleGroups: ThrottleGroups;
  /** That of the device with this id or QOM path. */
  readonly deviceBackend: (idOrPath: string) => BlockBackend | undefined;
}

/** QMP's BlockIOThrottle: a drive by its id as `device`, or a device by its own as `id`. */
export interface BlockIoThrottle extends IoLimits {
  readonly device?: string;
  readonly id?: string;
}

const blockIoThrottle = object({
  device: optional(str),
  id: optional(str),
  ...ioLimits,
}) as ObjectType<unknown> as ObjectType<BlockIoThrottle>;

export function blockIoThrottleCommands(services: ThrottleServices): Command[] {
  return [
    defineCommand({
      name: "block_set_io_throttle",
      arguments: blockIoThrottle,
      run: (args) => setIoThrottle(services, args),
    }),
  ];
}

/** Carries the command out. Throws a `QmpError` where it cannot. */
export function setIoThrottle(services: ThrottleServices, args: BlockIoThrottle): void {
  const { device, id, group } = args;
  if ((device === undefined) === (id === undefined)) throw new QmpError("Need exactly one of 'device' and 'id'");
  const name = (device ?? id)!;
  const backend = device === undefined ? services.deviceBackend(name) : services.graph.drive(name);
  if (backend === undefined) throw new QmpError(`Device '${name}' not found`, "DeviceNotFound");
  if (backend.root === undefined) throw new QmpError("Device has no medium");
  setLimits(services.throttleGroups, backend, { limits: throttleLimitsOf(args), group, defaultGroup: name });
}

/** The limits of a backend and with it of its whole group: that which is given, else that which it has, else one of its own. */
export function setLimits(
  groups: ThrottleGroups,
  backend: BlockBackend,
  options: { readonly limits: ThrottleLimits; readonly group: string | undefined; readonly defaultGroup: string },
): void {
  const limits = checkThrottleLimits(options.limits);
  if (!limitsAnything(limits)) return backend.setThrottleGroup(undefined);
  const name = options.group ?? backend.throttleGroup?.name ?? options.defaultGroup;
  const group = groups.obtain(name);
  backend.setThrottleGroup(group);
  group.setLimits(limits);
}

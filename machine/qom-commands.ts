// What register-level clients ask of a machine before they touch it: docs/reference/monitor.md §1.3, §2, §7.

import { QmpError } from "../src/base/errors.ts";
import { type Command, defineCommand } from "../src/qmp/command.ts";
import type { JsonValue } from "../src/qmp/json/value.ts";
import { any, array, bool, enumeration, int, object, optional, str } from "../src/qmp/schema/types.ts";
import { deviceProperties } from "./device-options.ts";
import { type QomObject, qomTree, resolveQomPath } from "./qom-tree.ts";
import { implementersOf, qomTypes } from "./qom-types.ts";
import type { SystemMachine } from "./system-machine.ts";

const DEVICE = "virtio-blk-device";

const machineInfo = object({
  "hotpluggable-cpus": bool,
  name: str,
  "numa-mem-supported": bool,
  "default-cpu-type": optional(str),
  "cpu-max": int,
  deprecated: bool,
  "default-ram-id": str,
  alias: optional(str),
  acpi: bool,
});

const typeInfo = object({ name: str, parent: optional(str), abstract: optional(bool) });
const propertyInfo = object({ name: str, type: str });

/** query-machines, query-target, qom-list, qom-get, qom-list-types, device-list-properties, device_add and device_del. */
export function qomCommands(machine: SystemMachine): Command[] {
  const { board, slots } = machine;
  const find = (path: string): QomObject => {
    const found = resolveQomPath(qomTree(machine), path);
    if (found === "ambiguous") throw new QmpError(`Path '${path}' is ambiguous`);
    if (found === undefined) throw new QmpError(`Device '${path}' not found`, "DeviceNotFound");
    return found;
  };
  return [
    defineCommand({ name: "query-machines", returns: array(machineInfo), run: () => machines(machine) }),
    defineCommand({
      name: "query-target",
      returns: object({ arch: enumeration("arm", "aarch64", "riscv64") }),
      run: () => ({ arch: board.arch }),
    }),
    defineCommand({
      name: "qom-list",
      arguments: object({ path: str }),
      returns: array(propertyInfo),
      run: ({ path }) => find(path).properties.map(({ name, type }) => ({ name, type })),
    }),
    defineCommand({
      name: "qom-get",
      arguments: object({ path: str, property: str }),
      returns: any,
      run: ({ path, property: name }) => {
        const { type, properties } = find(path);
        const property = properties.find((candidate) => candidate.name === name);
        if (property === undefined) throw new QmpError(`Property '${type}.${name}' not found`);
        return property.value as JsonValue;
      },
    }),
    defineCommand({
      name: "qom-list-types",
      arguments: object({ implements: optional(str), abstract: optional(bool) }),
      returns: array(typeInfo),
      run: ({ implements: name = "object", abstract = false }) =>
        implementersOf(qomTypes(board), name)
          .filter((type) => abstract || !type.abstract)
          .map((type) => ({
            name: type.name,
            ...(type.parent === undefined ? {} : { parent: type.parent }),
            ...(type.abstract ? { abstract: true } : {}),
          })),
    }),
    defineCommand({
      name: "device-list-properties",
      arguments: object({ typename: str }),
      returns: array(propertyInfo),
      run: ({ typename }) => {
        if (typename !== DEVICE) throw new QmpError(`Device '${typename}' not found`, "DeviceNotFound");
        return deviceProperties;
      },
    }),
    defineCommand({
      name: "device_add",
      arguments: object({
        driver: str,
        bus: optional(str),
        id: optional(str),
        drive: optional(str),
        serial: optional(str),
      }),
      run: ({ driver, bus }) => {
        if (driver !== DEVICE) throw new QmpError(`'${driver}' is not a valid device model name`);
        throw new QmpError(`Bus 'virtio-mmio-bus.${slots.freeSlot(bus)}' does not support hotplugging`);
      },
    }),
    defineCommand({
      name: "device_del",
      arguments: object({ id: str }),
      run: ({ id }) => {
        const device =
          slots.find(id) ?? slots.devices.find((candidate) => `/machine/peripheral/${candidate.id}` === id);
        if (device === undefined) throw new QmpError(`Device '${id}' not found`, "DeviceNotFound");
        throw new QmpError(`Bus 'virtio-mmio-bus.${device.slot}' does not support hotplugging`);
      },
    }),
  ];
}

interface MachineInfo {
  readonly "hotpluggable-cpus": boolean;
  readonly name: string;
  readonly "numa-mem-supported": boolean;
  readonly "default-cpu-type"?: string;
  readonly "cpu-max": number;
  readonly deprecated: boolean;
  readonly "default-ram-id": string;
  readonly alias?: string;
  readonly acpi: boolean;
}

/** The machine without a board, and the one with. */
function machines({ board }: SystemMachine): readonly MachineInfo[] {
  const common = { "hotpluggable-cpus": false, deprecated: false, acpi: false };
  return [
    { ...common, name: "none", "numa-mem-supported": false, "cpu-max": 1, "default-ram-id": "ram" },
    {
      ...common,
      name: board.machineType,
      "numa-mem-supported": board.numaMemory,
      "default-cpu-type": board.defaultCpuType,
      "cpu-max": board.maxCpus,
      "default-ram-id": board.ramId,
      ...(board.machineType === "virt" ? {} : { alias: "virt" }),
      acpi: true,
    },
  ];
}

// What stands in a machine, by QEMU's paths: docs/reference/monitor.md §7, §8.

import type { SystemMachine } from "./system-machine.ts";

/** What a property holds when it is asked for; a child holds its own path. */
export type QomValue = string | boolean | number;

/** `child<arm_gic>`, `bool`, …, and the value. */
export interface QomProperty {
  readonly name: string;
  readonly type: string;
  readonly value: QomValue;
}

export interface QomObject {
  /** Of the root, the empty string. */
  readonly path: string;
  readonly type: string;
  readonly properties: readonly QomProperty[];
  readonly children: ReadonlyMap<string, QomObject>;
}

/** The objects of `machine` as they are now. Only what is there is listed: no CPU, no UART. */
export function qomTree(machine: SystemMachine): QomObject {
  const { bare = false, machineType } = machine.board;
  return object("", "container", [], {
    machine: (path) =>
      object(path, `${bare ? "none" : machineType}-machine`, [], {
        unattached: (at) => object(at, "container", [], bare ? {} : unattached(machine)),
        peripheral: (at) => object(at, "container", [], peripherals(machine)),
        "peripheral-anon": (at) => object(at, "container", [], anonymous(machine)),
      }),
    objects: (path) =>
      object(
        path,
        "container",
        [],
        Object.fromEntries(
          machine.throttleGroups.names.map((name) => [name, (at) => object(at, "throttle-group", [])]),
        ),
      ),
    chardevs: (path) => object(path, "container", []),
  });
}

/** Where the transport of slot i stands. */
export function transportPath({ board }: SystemMachine, slot: number): string {
  return `/machine/unattached/device[${board.firstSlotUnattached + slot}]`;
}

/**
 * The object at a path: a whole one, which begins with a slash, or the end of one, which has to be the end of one only. `"ambiguous"`
 * where it is of several.
 */
export function resolveQomPath(root: QomObject, path: string): QomObject | "ambiguous" | undefined {
  const names = path.split("/").filter((name) => name !== "");
  if (path.startsWith("/")) return descend(root, names);
  const found = new Set(everywhere(root).flatMap((from) => descend(from, names) ?? []));
  return found.size > 1 ? "ambiguous" : found.values().next().value;
}

type Make = (path: string) => QomObject;

function object(
  path: string,
  type: string,
  properties: readonly QomProperty[],
  children: Readonly<Record<string, Make>> = {},
): QomObject {
  const made = new Map(Object.entries(children).map(([name, make]) => [name, make(`${path}/${name}`)]));
  const listed = [...made].map(([name, child]) => ({ name, type: `child<${child.type}>`, value: child.path }));
  return {
    path,
    type,
    properties: [{ name: "type", type: "string", value: type }, ...properties, ...listed],
    children: made,
  };
}

function device(
  path: string,
  type: string,
  bus: string,
  more: readonly QomProperty[],
  children?: Record<string, Make>,
): QomObject {
  const common: QomProperty[] = [
    { name: "parent_bus", type: "link<bus>", value: bus },
    { name: "realized", type: "bool", value: true },
    { name: "hotplugged", type: "bool", value: false },
    { name: "hotpluggable", type: "bool", value: true },
  ];
  return object(path, type, [...common, ...more], children);
}

function unattached({ board, slots }: SystemMachine): Record<string, Make> {
  const sysbus = "/machine/unattached/sysbus";
  const { interrupts, firstSlotUnattached } = board;
  const found: Record<string, Make> = {
    sysbus: (path) => object(path, "System", []),
    [`device[${interrupts.unattachedIndex}]`]: (path) =>
      device(path, interrupts.type, sysbus, [], pins("unnamed-gpio-in", interrupts.inputs)),
  };
  for (const slot of slots.lines.keys()) {
    const legacy = { name: "force-legacy", type: "bool", value: slots.legacy };
    const busName = `virtio-mmio-bus.${slot}`;
    const bus: Make = (path) => object(path, "virtio-mmio-bus", [{ name: "realized", type: "bool", value: true }]);
    found[`device[${firstSlotUnattached + slot}]`] = (path) =>
      device(path, "virtio-mmio", sysbus, [legacy], { [busName]: bus });
  }
  return found;
}

function pins(name: string, count: number): Record<string, Make> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i): [string, Make] => [`${name}[${i}]`, (path) => object(path, "irq", [])]),
  );
}

function peripherals(machine: SystemMachine): Record<string, Make> {
  const named = machine.slots.devices.filter(({ id }) => id !== undefined);
  return Object.fromEntries(named.map(({ id, slot }) => [id!, blockDevice(machine, slot)]));
}

function anonymous(machine: SystemMachine): Record<string, Make> {
  const unnamed = machine.slots.devices.filter(({ id }) => id === undefined);
  return Object.fromEntries(unnamed.map(({ slot }, i) => [`device[${i}]`, blockDevice(machine, slot)]));
}

function blockDevice(machine: SystemMachine, slot: number): Make {
  const { backend } = machine.slots.devices.find((candidate) => candidate.slot === slot)!;
  const drive = { name: "drive", type: "str", value: backend.name === "" ? (backend.root?.name ?? "") : backend.name };
  const bus = `${transportPath(machine, slot)}/virtio-mmio-bus.${slot}`;
  return (path) => device(path, "virtio-blk-device", bus, [drive]);
}

function descend(from: QomObject, names: readonly string[]): QomObject | undefined {
  let at: QomObject | undefined = from;
  for (const name of names) at = at?.children.get(name);
  return at;
}

function everywhere(root: QomObject): QomObject[] {
  return [root, ...[...root.children.values()].flatMap(everywhere)];
}

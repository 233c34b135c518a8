// The types of QOM that this machine has something of: docs/reference/monitor.md §2.

import type { Board } from "./boards.ts";

export interface QomType {
  readonly name: string;
  /** Undefined for the root. */
  readonly parent: string | undefined;
  readonly abstract: boolean;
}

/** Name, parent, and whether nothing is of this type itself. */
type Row = readonly [name: string, parent: string | undefined, abstract?: "abstract"];

const COMMON: readonly Row[] = [
  ["object", undefined, "abstract"],
  ["container", "object"],
  ["irq", "object"],
  ["throttle-group", "object"],
  ["bus", "object", "abstract"],
  ["System", "bus"],
  ["virtio-bus", "bus", "abstract"],
  ["virtio-mmio-bus", "virtio-bus"],
  ["machine", "object", "abstract"],
  ["none-machine", "machine"],
  ["device", "object", "abstract"],
  ["sys-bus-device", "device", "abstract"],
  ["virtio-mmio", "sys-bus-device"],
  ["virtio-device", "device", "abstract"],
  ["virtio-blk-device", "virtio-device"],
];

/** All types of a machine on `board`. */
export function qomTypes({ machineType, interrupts }: Board): QomType[] {
  const own: readonly Row[] =
    interrupts.type === "arm_gic"
      ? [
          ["virt-machine", "machine", "abstract"],
          [`${machineType}-machine`, "virt-machine"],
          ["arm_gic_common", "sys-bus-device", "abstract"],
          ["arm_gic", "arm_gic_common"],
        ]
      : [
          [`${machineType}-machine`, "machine"],
          [interrupts.type, "sys-bus-device"],
        ];
  return [...COMMON, ...own].map(([name, parent, abstract]) => ({ name, parent, abstract: abstract !== undefined }));
}

/** Those of `types` that are, or come from, the type of that name. */
export function implementersOf(types: readonly QomType[], name: string): QomType[] {
  const byName = new Map(types.map((type) => [type.name, type]));
  const comesFrom = (type: QomType | undefined): boolean => {
    if (type === undefined) return false;
    return type.name === name || (type.parent !== undefined && comesFrom(byName.get(type.parent)));
  };
  return types.filter(comesFrom);
}

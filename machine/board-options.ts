// What `-M` and `-accel` say, in QEMU's spelling: docs/reference/monitor.md §6, §8.

import { QmpError } from "../src/base/errors.ts";
import type { Board } from "./boards.ts";
import { parseOptionString, parseSwitch } from "./option-string.ts";

export interface MachineOption {
  readonly type: "virt" | "none";
  /** Undefined: nothing was said. */
  readonly accelerator: string | undefined;
}

/** There is no CPU to accelerate; `qtest` means that the machine's time is the qtest client's. */
const ACCELERATORS = ["qtest", "tcg", "kvm", "hvf", "whpx", "nvmm", "xen"];
/** Properties of QEMU's boards that are about what stands beside the slots: taken, and checked for what they are. */
const SWITCHES = new Set(
  (
    "acpi aclint dtb-kaslr-seed dtb-randomness dump-guest-core graphics highmem highmem-ecam highmem-mmio highmem-redists " +
    "its mem-merge mte nvdimm ras secure suppress-vmdesc usb virtualization"
  ).split(" "),
);
/** Values that say what is so anyway. */
const FIXED: Readonly<Record<string, readonly string[]>> = {
  "gic-version": ["2", "max"],
  aia: ["none"],
  iommu: ["none"],
};

/** Reads `virt`, `type=virt,gic-version=2` or `none`. Throws a `QmpError`. */
export function parseMachineOption(text: string, board: Board): MachineOption {
  const options = parseOptionString(/^[^=,]+(,|$)/.test(text) ? `type=${text}` : text);
  const name = options.get("type") ?? "";
  const type = name === "none" ? "none" : isVirt(name, board) ? "virt" : undefined;
  if (type === undefined) throw new QmpError("unsupported machine type\nSupported machines are: none, virt");
  const typeName = `${type === "virt" ? board.machineType : "none"}-machine`;
  for (const [key, value] of options) checkProperty(typeName, key, value);
  const accelerator = options.get("accel");
  if (accelerator !== undefined) checkAccelerators(accelerator);
  return { type, accelerator };
}

/** The first of what `-accel tcg,thread=multi` or `accel=kvm:tcg` names. A `QmpError` for what is none. */
export function parseAccelerator(text: string): string {
  const options = parseOptionString(/^[^=,]+(,|$)/.test(text) ? `accel=${text}` : text);
  return checkAccelerators(options.get("accel") ?? "");
}

function checkAccelerators(text: string): string {
  const names = text.split(":");
  for (const name of names) if (!ACCELERATORS.includes(name)) throw new QmpError(`invalid accelerator ${name}`);
  return names[0]!;
}

/** Versions of the board of arm differ in what is not here. */
function isVirt(name: string, board: Board): boolean {
  return name === "virt" || (board.arch !== "riscv64" && /^virt-\d+\.\d+$/.test(name));
}

function checkProperty(typeName: string, key: string, value: string): void {
  if (key === "type" || key === "accel") return;
  if (SWITCHES.has(key)) {
    if (value !== "auto") parseSwitch(key, value);
    return;
  }
  const allowed = FIXED[key];
  if (allowed === undefined) throw new QmpError(`Property '${typeName}.${key}' not found`);
  if (!allowed.includes(value))
    throw new QmpError(`Property '${typeName}.${key}' takes ${allowed.join(" or ")} only here`);
}

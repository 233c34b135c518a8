// `-global`: what a property is where a device does not say it. docs/reference/monitor.md §6, §8.

import { QmpError } from "../src/base/errors.ts";
import { type Options, parseOptionString, parseSwitch } from "./option-string.ts";

export interface GlobalProperty {
  readonly driver: string;
  readonly property: string;
  readonly value: string;
}

/** Properties of the transport that are about what is not here. */
const TRANSPORT_SWITCHES = ["format_transport_address", "ioeventfd"];
const BLOCK_DRIVERS = ["virtio-blk-device", "virtio-device"];
const FORM = /^([^.,=]+)\.([^=]+)=(.*)$/s;

/** Reads `virtio-mmio.force-legacy=false`, or `driver=…,property=…,value=…`. */
export function parseGlobal(text: string): GlobalProperty {
  const [, short, name, given] = FORM.exec(text) ?? [];
  if (short !== undefined) return { driver: short, property: name!, value: given! };
  const options = parseOptionString(text);
  for (const key of options.keys()) {
    if (!["driver", "property", "value"].includes(key)) throw new QmpError(`Invalid parameter '${key}'`);
  }
  const [driver, property, value] = ["driver", "property", "value"].map((key) => options.get(key));
  if (driver === undefined || property === undefined || value === undefined) {
    throw new QmpError("driver, property and value are needed");
  }
  return { driver, property, value };
}

/** Whether virtio-mmio devices have the legacy registers, which QEMU's have unless it is said otherwise. */
export function forcesLegacy(globals: readonly GlobalProperty[]): boolean {
  let legacy = true;
  for (const { driver, property, value } of globals) {
    if (driver !== "virtio-mmio") continue;
    if (property !== "force-legacy" && !TRANSPORT_SWITCHES.includes(property)) {
      throw new QmpError(
        `can't apply global virtio-mmio.${property}=${value}: Property 'virtio-mmio.${property}' not found`,
      );
    }
    const on = parseGlobalSwitch({ driver, property, value });
    if (property === "force-legacy") legacy = on;
  }
  return legacy;
}

/** What block devices have unless they say otherwise. */
export function blockDeviceDefaults(globals: readonly GlobalProperty[]): Options {
  const ours = globals.filter(({ driver }) => BLOCK_DRIVERS.includes(driver));
  return new Map(ours.map(({ property, value }) => [property, value]));
}

/** Those that nothing here has: told, and of no account, as in QEMU. */
export function unknownGlobals(globals: readonly GlobalProperty[]): GlobalProperty[] {
  return globals.filter(({ driver }) => driver !== "virtio-mmio" && !BLOCK_DRIVERS.includes(driver));
}

function parseGlobalSwitch({ driver, property, value }: GlobalProperty): boolean {
  try {
    return parseSwitch(property, value);
  } catch (error) {
    throw new QmpError(`can't apply global ${driver}.${property}=${value}: ${(error as Error).message}`);
  }
}

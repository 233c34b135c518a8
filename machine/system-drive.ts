// Drives as QEMU's `-drive` says them: docs/reference/monitor.md §6.

import { QmpError } from "../src/base/errors.ts";
import type { BlockBackend } from "../src/block/backend.ts";
import type { ErrorPolicy } from "../src/block/error-policy.ts";
import type { ThrottleGroups } from "../src/block/filters/throttle-group.ts";
import type { BlockGraph } from "../src/block/graph.ts";
import type { BlockdevOptions } from "../src/block/graph-options.ts";
import { PROBED_AS_RAW, probeUnopened, warnOfProbedRaw } from "../src/block/image-file.ts";
import type { BlockNode } from "../src/block/node.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, type Permissions } from "../src/block/permissions.ts";
import { setLimits } from "../src/qmp/commands/block-io-throttle.ts";
import { driveNodeOptions, NODE_KEYS, NULL_DRIVER } from "./drive-node-options.ts";
import { parseDriveThrottling, THROTTLING_KEYS } from "./drive-throttling.ts";
import { type Options, parseOptionString } from "./option-string.ts";

const KEYS = [
  ...NODE_KEYS,
  ...THROTTLING_KEYS,
  "file",
  "if",
  "format",
  "driver",
  "id",
  "readonly",
  "read-only",
  "cache",
  "rerror",
  "werror",
  "media",
];
/** What `format=` may say. */
const DRIVERS: readonly string[] = ["raw", "qcow2", NULL_DRIVER];
const CACHE_MODES = ["writeback", "writethrough", "none", "directsync", "unsafe"];
const WITHOUT_CACHE = ["writethrough", "directsync"];
const IDENTIFIER = /^[A-Za-z][A-Za-z0-9\-._]*$/;

/** Where a drive goes: nowhere by itself, or to a block device that the board makes for it. */
export type DriveBus = "none" | "virtio";

/** What `if=` says, `none` by default. */
export function driveBus(text: string): DriveBus {
  const bus = parseOptionString(text).get("if") ?? "none";
  if (bus === "none" || bus === "virtio") return bus;
  const known = ["ide", "scsi", "floppy", "pflash", "mtd", "sd", "xen"].includes(bus);
  throw new QmpError(
    known ? `machine type does not support if=${bus}; use if=none and -device` : `unsupported bus type '${bus}'`,
  );
}

/** Opens a drive, the `index`th of its bus. Throws a `QmpError` or `BlockError` with QEMU's text where QEMU has the case; nothing is open then. */
export async function addSystemDrive(
  graph: BlockGraph,
  groups: ThrottleGroups,
  text: string,
  index: number,
): Promise<BlockBackend> {
  const options = parseOptionString(text);
  for (const key of options.keys()) {
    if (!KEYS.includes(key)) throw new QmpError(`Block format 'raw' does not support the option '${key}'`);
  }
  const id = options.get("id") ?? `${driveBus(text)}${index}`;
  if (!IDENTIFIER.test(id)) {
    throw new QmpError(
      "Parameter 'id' expects an identifier\nIdentifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
    );
  }
  if (graph.drive(id) !== undefined) throw new QmpError(`Duplicate ID '${id}' for drive`);
  driveBus(text);
  checkMedia(options);
  const cache = choice(options, "cache", CACHE_MODES, "invalid cache option") ?? "writeback";
  const readOnly = readSwitch(options);
  const werror = policy(options, "werror", "write") ?? "auto";
  const rerror = policy(options, "rerror", "read") ?? "auto";
  const throttling = parseDriveThrottling(options);
  const format = options.get("format") ?? options.get("driver");
  if (format !== undefined && !DRIVERS.includes(format)) throw new QmpError(`Unknown driver '${format}'`);
  const isEmpty = format !== NULL_DRIVER && !options.has("file") && !options.has("file.driver");
  if (isEmpty && format !== undefined) throw new QmpError('A block device must be specified for "file"');
  const node = isEmpty ? undefined : await openImage(graph, options, format, { cache, readOnly });
  let backend: BlockBackend;
  try {
    const writeCache = !WITHOUT_CACHE.includes(cache);
    backend = graph.addBackend({ name: id, node, readOnly, writeCache, permissions: WITHOUT_DEVICE });
  } catch (error) {
    if (node !== undefined) await graph.release(node);
    throw error;
  }
  backend.errors.werror = werror;
  backend.errors.rerror = rerror;
  if (node !== undefined) setLimits(groups, backend, { ...throttling, defaultGroup: id });
  return backend;
}

/** The node of a drive that is not empty. A format that is not said is found out from the file: it is read before it is opened. */
async function openImage(
  graph: BlockGraph,
  options: Options,
  format: string | undefined,
  how: { readonly cache: string; readonly readOnly: boolean },
): Promise<BlockNode> {
  const asRaw = driveNodeOptions(options, { ...how, format: format ?? "raw" });
  const { file } = asRaw;
  const isWhole = options.get("file")?.startsWith("json:") === true;
  if (format !== undefined || isWhole || typeof file !== "object") return graph.openForDrive(asRaw);
  const found = await probeUnopened(graph, file as BlockdevOptions);
  if (found !== "raw") return graph.openForDrive(driveNodeOptions(options, { ...how, format: found }));
  const node = await graph.openForDrive({ ...asRaw, ...PROBED_AS_RAW });
  warnOfProbedRaw(node, options.get("file.filename") ?? options.get("file") ?? "null-co://");
  return node;
}

/** Of a drive as long as no device has it. */
const WITHOUT_DEVICE: Permissions = { needs: PERM_CONSISTENT_READ, shares: PERM_ALL };

function checkMedia(options: Options): void {
  const media = options.get("media") ?? "disk";
  if (media !== "disk") throw new QmpError(`'${media}' invalid media`);
}

function choice(options: Options, key: string, values: readonly string[], message: string): string | undefined {
  const value = options.get(key);
  if (value !== undefined && !values.includes(value)) throw new QmpError(message);
  return value;
}

function readSwitch(options: Options): boolean {
  const value = options.get("read-only") ?? options.get("readonly") ?? "off";
  if (value !== "on" && value !== "off") throw new QmpError("Parameter 'read-only' expects 'on' or 'off'");
  return value === "on";
}

function policy(options: Options, key: string, what: string): ErrorPolicy | undefined {
  const value = options.get(key);
  if (value === undefined) return undefined;
  const allowed = what === "write" ? ["ignore", "report", "stop", "enospc"] : ["ignore", "report", "stop"];
  if (!allowed.includes(value)) throw new QmpError(`'${value}' invalid ${what} error action`);
  return value as ErrorPolicy;
}

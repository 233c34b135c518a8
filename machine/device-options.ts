// The properties of `-device virtio-blk-device`: docs/reference/monitor.md §6.

import type { RingFeatures } from "../devices/virtio-features.ts";
import { QmpError } from "../src/base/errors.ts";
import type { ErrorPolicy } from "../src/block/error-policy.ts";
import {
  BLOCK_DEVICE_KEYS,
  type BlockDeviceProperties,
  isBlockSwitch,
  parseBlockDeviceProperties,
} from "./block-device-properties.ts";
import { type Options, parseOptionString, parseSize, parseSwitch } from "./option-string.ts";

export interface VirtioBlkDeviceOptions {
  readonly id: string | undefined;
  /** The id of a drive or the name of a node. */
  readonly drive: string;
  /** The name of the bus that it is to be on; undefined: the next that is free. */
  readonly bus?: string | undefined;
  /** The id of the iothread that is to serve it. */
  readonly ioThread?: string | undefined;
  readonly serial: string;
  /** Whether the disk has a volatile write cache at first; undefined: as the drive says. */
  readonly writeCache: boolean | undefined;
  readonly shareRw: boolean;
  readonly queueSize: number;
  readonly ringFeatures?: RingFeatures;
  /** Undefined: as a device is that nobody said anything of. */
  readonly properties?: BlockDeviceProperties;
  /** Undefined: as the drive says. */
  readonly rerror: ErrorPolicy | undefined;
  readonly werror: ErrorPolicy | undefined;
  readonly logicalBlockSizeBytes: number;
  readonly physicalBlockSizeBytes: number;
}

const DRIVER = "virtio-blk-device";
/** What QEMU calls the block device that fits the machine's bus. */
const ALIAS = "virtio-blk";
const DEFAULT_QUEUE_SIZE = 256;
const MAX_QUEUE_SIZE = 1024;
const SECTOR_BYTES = 512;
const MAX_BLOCK_BYTES = 2 ** 21;

/** Features of the rings and the transport, by QEMU's names. */
const RING_SWITCHES = {
  packed: "packed",
  event_idx: "eventIndex",
  indirect_desc: "indirect",
  in_order: "inOrder",
  notification_data: "notificationData",
  queue_reset: "ringReset",
  iommu_platform: "accessPlatform",
} as const satisfies Readonly<Record<string, keyof RingFeatures>>;

const KEYS = [
  ...Object.keys(RING_SWITCHES),
  ...BLOCK_DEVICE_KEYS,
  "driver",
  "id",
  "drive",
  "serial",
  "write-cache",
  "share-rw",
  "queue-size",
  "rerror",
  "werror",
  "logical_block_size",
  "physical_block_size",
  "bus",
  "iothread",
];

const POLICIES: readonly ErrorPolicy[] = ["auto", "report", "ignore", "stop", "enospc"];

/** The properties that can be set, with the types that device-list-properties tells of them. */
export const deviceProperties: readonly { readonly name: string; readonly type: "bool" | "str" }[] = [...new Set(KEYS)]
  .filter((name) => name !== "driver" && name !== "id" && name !== "bus" && name !== "iothread")
  .map((name) => ({ name, type: name in RING_SWITCHES || isBlockSwitch(name) ? "bool" : "str" }));

/** Reads the option string, whose first part may be the driver's name alone; `defaults` are what it does not say. A `QmpError` has QEMU's text where it has the case. */
export function parseDeviceOptions(text: string, defaults: Options = new Map()): VirtioBlkDeviceOptions {
  const given = parseOptionString(/^[^=,]+(,|$)/.test(text) ? `driver=${text}` : text);
  const options = new Map([...defaults, ...given]);
  const driver = options.get("driver") ?? "";
  if (driver.startsWith("virtio-blk-pci")) throw new QmpError(`No 'PCI' bus found for device '${driver}'`);
  if (driver !== DRIVER && driver !== ALIAS) throw new QmpError(`'${driver}' is not a valid device model name`);
  for (const key of options.keys()) {
    if (!KEYS.includes(key)) throw new QmpError(`Property '${DRIVER}.${key}' not found`);
  }
  const drive = options.get("drive");
  if (drive === undefined) throw new QmpError("drive property not set");
  const queueSize = Number(options.get("queue-size") ?? DEFAULT_QUEUE_SIZE);
  if (!(queueSize >= 1 && queueSize <= MAX_QUEUE_SIZE && Number.isInteger(Math.log2(queueSize)))) {
    const given = options.get("queue-size") ?? "";
    throw new QmpError(`invalid queue-size property (${given}), must be a power of 2 (max ${MAX_QUEUE_SIZE})`);
  }
  const writeCache = options.get("write-cache") ?? "auto";
  const logicalBlockSizeBytes = blockSize(options, "logical_block_size");
  const physicalBlockSizeBytes = blockSize(options, "physical_block_size");
  if (logicalBlockSizeBytes > physicalBlockSizeBytes && options.has("physical_block_size")) {
    throw new QmpError("logical_block_size > physical_block_size not supported");
  }
  return {
    id: options.get("id"),
    drive,
    bus: options.get("bus"),
    ioThread: options.get("iothread"),
    serial: options.get("serial") ?? "",
    writeCache: writeCache === "auto" ? undefined : parseSwitch("write-cache", writeCache),
    shareRw: parseSwitch("share-rw", options.get("share-rw") ?? "off"),
    queueSize,
    ringFeatures: ringFeatures(options),
    properties: parseBlockDeviceProperties(options, logicalBlockSizeBytes),
    rerror: policy(options, "rerror"),
    werror: policy(options, "werror"),
    logicalBlockSizeBytes,
    physicalBlockSizeBytes: Math.max(logicalBlockSizeBytes, physicalBlockSizeBytes),
  };
}

function ringFeatures(options: Options): RingFeatures {
  const given: { -readonly [Name in keyof RingFeatures]: boolean } = {};
  for (const [key, feature] of Object.entries(RING_SWITCHES)) {
    const value = options.get(key);
    if (value !== undefined) given[feature] = parseSwitch(key, value);
  }
  return given;
}

function policy(options: Options, key: "rerror" | "werror"): ErrorPolicy | undefined {
  const value = options.get(key) ?? "auto";
  if (value === "auto") return undefined;
  const found = POLICIES.find((candidate) => candidate === value);
  if (found === undefined) throw new QmpError(`Parameter '${key}' does not accept value '${value}'`);
  return found;
}

function blockSize(options: Options, key: string): number {
  const value = options.get(key);
  const bytes = value === undefined ? SECTOR_BYTES : parseSize(key, value);
  if (bytes >= SECTOR_BYTES && bytes <= MAX_BLOCK_BYTES && Number.isInteger(Math.log2(bytes))) return bytes;
  throw new QmpError(
    `Property .${key} doesn't take value ${bytes} (minimum: ${SECTOR_BYTES}, maximum: ${MAX_BLOCK_BYTES})`,
  );
}

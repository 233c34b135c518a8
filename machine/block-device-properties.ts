// Of the properties of `-device virtio-blk-device`, those that say what the device offers and how much: docs/reference/monitor.md §6.

import type { BlockFeatures, BlockLimits, DiskGeometry } from "../devices/index.ts";
import { QmpError } from "../src/base/errors.ts";
import { type Options, parseSize, parseSwitch } from "./option-string.ts";

export interface BlockDeviceProperties {
  readonly queues: number;
  readonly blockFeatures: BlockFeatures;
  readonly limits: BlockLimits;
  /** Undefined: as disks have it whose partition table says nothing. */
  readonly geometry: DiskGeometry | undefined;
  readonly minIoBytes: number;
  readonly optIoBytes: number;
}

const MAX_QUEUES = 1024;
const DEFAULT_MAX_SECTORS = 4194303;
/** `seg_max` with `seg-max-adjust=off`, whatever the size of the queue. */
const FIXED_SEG_MAX = 126;
const SECTOR_BYTES = 512;
const DEFAULT_GRANULARITY = 0xffff_ffff;

const FEATURE_SWITCHES = {
  discard: "discard",
  "write-zeroes": "writeZeroes",
  "config-wce": "configWce",
  scsi: "scsi",
} as const satisfies Readonly<Record<string, keyof BlockFeatures>>;

export const BLOCK_DEVICE_KEYS: readonly string[] = [
  ...Object.keys(FEATURE_SWITCHES),
  "num-queues",
  "max-discard-sectors",
  "max-write-zeroes-sectors",
  "seg-max-adjust",
  "discard_granularity",
  "report-discard-granularity",
  "min_io_size",
  "opt_io_size",
  "cyls",
  "heads",
  "secs",
];

/** The property is on or off. */
export function isBlockSwitch(key: string): boolean {
  return key in FEATURE_SWITCHES || key === "seg-max-adjust" || key === "report-discard-granularity";
}

/** What `options` say, and QEMU's defaults. A `QmpError` has QEMU's text where it has the case. */
export function parseBlockDeviceProperties(options: Options, logicalBlockSizeBytes: number): BlockDeviceProperties {
  // As QEMU's device, which has no bound of a segment's length to tell.
  const features: { -readonly [Name in keyof BlockFeatures]: boolean } = { geometry: true, sizeMax: false };
  for (const [key, feature] of Object.entries(FEATURE_SWITCHES)) {
    const value = options.get(key);
    if (value !== undefined) features[feature] = parseSwitch(key, value);
  }
  const adjusted = parseSwitch("seg-max-adjust", options.get("seg-max-adjust") ?? "on");
  return {
    queues: queues(options),
    blockFeatures: features,
    limits: {
      ...(adjusted ? {} : { segMax: FIXED_SEG_MAX }),
      discard: {
        maxSectors: maxSectors(options, "max-discard-sectors"),
        maxSegments: 1,
        alignmentSectors: discardAlignment(options, logicalBlockSizeBytes),
      },
      writeZeroes: { maxSectors: maxSectors(options, "max-write-zeroes-sectors"), maxSegments: 1 },
    },
    geometry: geometry(options),
    minIoBytes: bytes(options, "min_io_size"),
    optIoBytes: bytes(options, "opt_io_size"),
  };
}

/** One queue by default: the guest has one processor. */
function queues(options: Options): number {
  const count = integer(options, "num-queues") ?? 1;
  if (count === 0) throw new QmpError("num-queues property must be larger than 0");
  if (count === 0xffff) return 1; // QEMU's "as many as there are processors"
  if (count > MAX_QUEUES) throw new QmpError(`num-queues property must be at most ${MAX_QUEUES}`);
  return count;
}

function maxSectors(options: Options, key: string): number {
  const sectors = integer(options, key) ?? DEFAULT_MAX_SECTORS;
  if (sectors >= 1 && sectors <= DEFAULT_MAX_SECTORS) return sectors;
  throw new QmpError(`invalid ${key} property (${sectors}), must be between 1 and ${DEFAULT_MAX_SECTORS}`);
}

/** QEMU reports the granularity, or a logical block where it is told not to. */
function discardAlignment(options: Options, logicalBlockSizeBytes: number): number {
  const reported = parseSwitch("report-discard-granularity", options.get("report-discard-granularity") ?? "on");
  const given = options.get("discard_granularity");
  const granularity = given === undefined ? DEFAULT_GRANULARITY : parseSize("discard_granularity", given);
  if (!reported || granularity === DEFAULT_GRANULARITY) return logicalBlockSizeBytes / SECTOR_BYTES;
  return Math.max(1, Math.floor(granularity / SECTOR_BYTES));
}

/** All three of them, or none. */
function geometry(options: Options): DiskGeometry | undefined {
  const cylinders = integer(options, "cyls") ?? 0;
  const heads = integer(options, "heads") ?? 0;
  const sectors = integer(options, "secs") ?? 0;
  if (cylinders === 0 && heads === 0 && sectors === 0) return undefined;
  if (cylinders < 1 || cylinders > 65535) throw new QmpError("cyls must be between 1 and 65535");
  if (heads < 1 || heads > 255) throw new QmpError("heads must be between 1 and 255");
  if (sectors < 1 || sectors > 255) throw new QmpError("secs must be between 1 and 255");
  return { cylinders, heads, sectors };
}

function bytes(options: Options, key: string): number {
  const value = options.get(key);
  return value === undefined ? 0 : parseSize(key, value);
}

function integer(options: Options, key: string): number | undefined {
  const value = options.get(key);
  if (value === undefined) return undefined;
  const number = /^(0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(value) ? Number(value) : Number.NaN;
  if (!(number <= 0xffff_ffff)) throw new QmpError(`Parameter '${key}' expects integer`);
  return number;
}

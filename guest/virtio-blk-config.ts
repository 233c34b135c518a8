// The configuration space of a block device as its driver reads it: VIRTIO 1.4 §5.2.4.

import {
  VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET,
  VIRTIO_BLK_CONFIG_BLK_SIZE,
  VIRTIO_BLK_CONFIG_CAPACITY,
  VIRTIO_BLK_CONFIG_CYLINDERS,
  VIRTIO_BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT,
  VIRTIO_BLK_CONFIG_HEADS,
  VIRTIO_BLK_CONFIG_MAX_ACTIVE_ZONES,
  VIRTIO_BLK_CONFIG_MAX_APPEND_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_DISCARD_SEG,
  VIRTIO_BLK_CONFIG_MAX_OPEN_ZONES,
  VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SEG,
  VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SEG,
  VIRTIO_BLK_CONFIG_MIN_IO_SIZE,
  VIRTIO_BLK_CONFIG_NUM_QUEUES,
  VIRTIO_BLK_CONFIG_OPT_IO_SIZE,
  VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXP,
  VIRTIO_BLK_CONFIG_SECTORS,
  VIRTIO_BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT,
  VIRTIO_BLK_CONFIG_SEG_MAX,
  VIRTIO_BLK_CONFIG_SIZE_MAX,
  VIRTIO_BLK_CONFIG_WRITE_GRANULARITY,
  VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP,
  VIRTIO_BLK_CONFIG_ZONE_SECTORS,
  VIRTIO_BLK_CONFIG_ZONED_MODEL,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_BLK_Z_HA,
  VIRTIO_BLK_Z_NONE,
} from "./constants/blk.ts";
import {
  type FeatureSet,
  hasFeature,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_F_ZONED,
} from "./constants/features.ts";
import { GuestDriverError } from "./errors.ts";
import type { VirtioMmioDriver } from "./virtio-mmio-driver.ts";

/** How a device takes discards, write zeroes and secure erases. Where it says 0 for a number of sectors it sets no limit. */
export interface RangeLimits {
  /** Sectors in one segment. */
  readonly maxSectors: number;
  /** Segments in one request. */
  readonly maxSegments: number;
  /** Where ranges are best cut, in sectors; 0 when the device does not say. */
  readonly sectorAlignment: number;
}

/** The zones of a device whose `model` is not NONE. */
export interface ZoneLimits {
  /** VIRTIO_BLK_Z_HM or VIRTIO_BLK_Z_HA. */
  readonly model: number;
  /** Sectors of a zone; the last one may be shorter. */
  readonly zoneSectors: number;
  /** 0: no limit. */
  readonly maxOpenZones: number;
  /** 0: no limit. */
  readonly maxActiveZones: number;
  /** Sectors of the largest append. */
  readonly maxAppendSectors: number;
  /** Writes to sequential zones begin and end at multiples of this. */
  readonly writeGranularityBytes: number;
}

/** The fields of the negotiated features; a field whose feature was not negotiated is absent. */
export interface VirtioBlkConfig {
  /** Sectors of 512 bytes. */
  readonly capacitySectors: number;
  /** Bytes of the largest segment of a request. */
  readonly sizeMax?: number;
  /** Segments of data in the largest request. */
  readonly segMax?: number;
  readonly geometry?: { readonly cylinders: number; readonly heads: number; readonly sectors: number };
  /** Bytes of a logical block. */
  readonly blkSize?: number;
  readonly topology?: {
    /** Logical blocks in a physical one, as a power of two. */
    readonly physicalBlockExp: number;
    /** Logical blocks before the first aligned one. */
    readonly alignmentOffset: number;
    /** Smallest I/O size that is no penalty, in logical blocks. */
    readonly minIoSize: number;
    /** Best I/O size, in logical blocks. */
    readonly optIoSize: number;
  };
  readonly numQueues?: number;
  readonly discard?: RangeLimits;
  /** `mayUnmap`: the flag "unmap" may have blocks deallocated. */
  readonly writeZeroes?: RangeLimits & { readonly mayUnmap: boolean };
  readonly secureErase?: RangeLimits;
  /** Absent as well where the device has the feature, but no zones. */
  readonly zoned?: ZoneLimits;
}

/** The largest capacity whose bytes a number holds exactly. */
const MAX_CAPACITY_SECTORS = Math.floor(Number.MAX_SAFE_INTEGER / VIRTIO_BLK_SECTOR_BYTES);

/** Reads the fields of the negotiated features, of one generation. Throws a `GuestDriverError` for values out of reason. */
export function readVirtioBlkConfig(transport: VirtioMmioDriver, features: FeatureSet): VirtioBlkConfig {
  const config = transport.readConfigStable(() => readFields(transport, features));
  if (config.capacitySectors > MAX_CAPACITY_SECTORS) {
    throw new GuestDriverError(
      "config-invalid",
      `capacity: ${config.capacitySectors} sectors are more than 2^53 bytes`,
    );
  }
  if (config.sizeMax === 0) throw new GuestDriverError("config-invalid", "size_max is 0: no request can carry data");
  if (config.numQueues === 0) throw new GuestDriverError("config-invalid", "num_queues is 0: there is no queue");
  if (config.zoned !== undefined) checkZones(config.zoned);
  return config;
}

/** The zoned model of a device that offers VIRTIO_BLK_F_ZONED, which may be read while features are negotiated. */
export function readZonedModel(transport: VirtioMmioDriver): number {
  return transport.readConfigStable(() => transport.readConfig(VIRTIO_BLK_CONFIG_ZONED_MODEL, 1));
}

function checkZones({ model, zoneSectors, writeGranularityBytes }: ZoneLimits): void {
  if (model > VIRTIO_BLK_Z_HA) throw new GuestDriverError("config-invalid", `zoned model ${model} is unknown`);
  if (zoneSectors === 0) throw new GuestDriverError("config-invalid", "zone_sectors is 0: there can be no zone");
  if (writeGranularityBytes === 0 || writeGranularityBytes % VIRTIO_BLK_SECTOR_BYTES !== 0) {
    throw new GuestDriverError("config-invalid", `write_granularity ${writeGranularityBytes}: no multiple of 512`);
  }
}

// @virtio CFG-DRV-003 MMIO-DRV-005
function readFields(transport: VirtioMmioDriver, features: FeatureSet): VirtioBlkConfig {
  const has = (feature: number): boolean => hasFeature(features, feature);
  return {
    capacitySectors: transport.readConfig64(VIRTIO_BLK_CONFIG_CAPACITY),
    ...(has(VIRTIO_BLK_F_SIZE_MAX) && { sizeMax: transport.readConfig(VIRTIO_BLK_CONFIG_SIZE_MAX, 4) }),
    ...(has(VIRTIO_BLK_F_SEG_MAX) && { segMax: transport.readConfig(VIRTIO_BLK_CONFIG_SEG_MAX, 4) }),
    ...(has(VIRTIO_BLK_F_GEOMETRY) && {
      geometry: {
        cylinders: transport.readConfig(VIRTIO_BLK_CONFIG_CYLINDERS, 2),
        heads: transport.readConfig(VIRTIO_BLK_CONFIG_HEADS, 1),
        sectors: transport.readConfig(VIRTIO_BLK_CONFIG_SECTORS, 1),
      },
    }),
    ...(has(VIRTIO_BLK_F_BLK_SIZE) && { blkSize: transport.readConfig(VIRTIO_BLK_CONFIG_BLK_SIZE, 4) }),
    ...(has(VIRTIO_BLK_F_TOPOLOGY) && {
      topology: {
        physicalBlockExp: transport.readConfig(VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXP, 1),
        alignmentOffset: transport.readConfig(VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET, 1),
        minIoSize: transport.readConfig(VIRTIO_BLK_CONFIG_MIN_IO_SIZE, 2),
        optIoSize: transport.readConfig(VIRTIO_BLK_CONFIG_OPT_IO_SIZE, 4),
      },
    }),
    ...(has(VIRTIO_BLK_F_MQ) && { numQueues: transport.readConfig(VIRTIO_BLK_CONFIG_NUM_QUEUES, 2) }),
    ...(has(VIRTIO_BLK_F_DISCARD) && {
      discard: {
        maxSectors: transport.readConfig(VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS, 4),
        maxSegments: transport.readConfig(VIRTIO_BLK_CONFIG_MAX_DISCARD_SEG, 4),
        sectorAlignment: transport.readConfig(VIRTIO_BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT, 4),
      },
    }),
    ...(has(VIRTIO_BLK_F_WRITE_ZEROES) && {
      writeZeroes: {
        maxSectors: transport.readConfig(VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS, 4),
        maxSegments: transport.readConfig(VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SEG, 4),
        sectorAlignment: 0,
        mayUnmap: transport.readConfig(VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP, 1) !== 0,
      },
    }),
    ...(has(VIRTIO_BLK_F_SECURE_ERASE) && {
      secureErase: {
        maxSectors: transport.readConfig(VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SECTORS, 4),
        maxSegments: transport.readConfig(VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SEG, 4),
        sectorAlignment: transport.readConfig(VIRTIO_BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT, 4),
      },
    }),
    ...(has(VIRTIO_BLK_F_ZONED) && readZones(transport)),
  };
}

function readZones(transport: VirtioMmioDriver): { zoned?: ZoneLimits } {
  const model = transport.readConfig(VIRTIO_BLK_CONFIG_ZONED_MODEL, 1);
  if (model === VIRTIO_BLK_Z_NONE) return {};
  return {
    zoned: {
      model,
      zoneSectors: transport.readConfig(VIRTIO_BLK_CONFIG_ZONE_SECTORS, 4),
      maxOpenZones: transport.readConfig(VIRTIO_BLK_CONFIG_MAX_OPEN_ZONES, 4),
      maxActiveZones: transport.readConfig(VIRTIO_BLK_CONFIG_MAX_ACTIVE_ZONES, 4),
      maxAppendSectors: transport.readConfig(VIRTIO_BLK_CONFIG_MAX_APPEND_SECTORS, 4),
      writeGranularityBytes: transport.readConfig(VIRTIO_BLK_CONFIG_WRITE_GRANULARITY, 4),
    },
  };
}

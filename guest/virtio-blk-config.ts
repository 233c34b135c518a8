// The configuration space of a block device as its driver reads it: VIRTIO 1.4 §5.2.4.

import {
  VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET,
  VIRTIO_BLK_CONFIG_BLK_SIZE,
  VIRTIO_BLK_CONFIG_CAPACITY,
  VIRTIO_BLK_CONFIG_CYLINDERS,
  VIRTIO_BLK_CONFIG_HEADS,
  VIRTIO_BLK_CONFIG_MIN_IO_SIZE,
  VIRTIO_BLK_CONFIG_OPT_IO_SIZE,
  VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXP,
  VIRTIO_BLK_CONFIG_SECTORS,
  VIRTIO_BLK_CONFIG_SEG_MAX,
  VIRTIO_BLK_CONFIG_SIZE_MAX,
  VIRTIO_BLK_SECTOR_BYTES,
} from "./constants/blk.ts";
import {
  type FeatureSet,
  hasFeature,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
} from "./constants/features.ts";
import { GuestDriverError } from "./errors.ts";
import type { VirtioMmioDriver } from "./virtio-mmio-driver.ts";

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
  return config;
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
  };
}

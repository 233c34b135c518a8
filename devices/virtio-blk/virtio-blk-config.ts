// The configuration space of the block device: VIRTIO 1.4 §5.2.4.

import type { ZoneLayout } from "../../src/block/zones.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import { hasFeature } from "../virtio-features.ts";
import type { KeptLimits } from "./block-limits.ts";
import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_BLK_Z_HA,
  VIRTIO_BLK_Z_HM,
} from "./virtio-blk-constants.ts";

const CONFIG_BYTES = 96;

const CAPACITY = 0x00; // le64, sectors of 512 bytes
const SIZE_MAX = 0x08; // le32, bytes
const SEG_MAX = 0x0c; // le32
const CYLINDERS = 0x10; // le16
const HEADS = 0x12; // u8
const SECTORS = 0x13; // u8
const BLK_SIZE = 0x14; // le32, bytes
const PHYSICAL_BLOCK_EXP = 0x18; // u8, log2 of blocks in a physical block
const ALIGNMENT_OFFSET = 0x19; // u8, blocks
const MIN_IO_SIZE = 0x1a; // le16, blocks
const OPT_IO_SIZE = 0x1c; // le32, blocks
const WRITEBACK = 0x20; // u8
const NUM_QUEUES = 0x22; // le16
const MAX_DISCARD_SECTORS = 0x24; // le32
const MAX_DISCARD_SEG = 0x28; // le32
const DISCARD_SECTOR_ALIGNMENT = 0x2c; // le32
const MAX_WRITE_ZEROES_SECTORS = 0x30; // le32
const MAX_WRITE_ZEROES_SEG = 0x34; // le32
const WRITE_ZEROES_MAY_UNMAP = 0x38; // u8
const MAX_SECURE_ERASE_SECTORS = 0x3c; // le32
const MAX_SECURE_ERASE_SEG = 0x40; // le32
const SECURE_ERASE_SECTOR_ALIGNMENT = 0x44; // le32
const ZONE_SECTORS = 0x48; // le32
const MAX_OPEN_ZONES = 0x4c; // le32
const MAX_ACTIVE_ZONES = 0x50; // le32
const MAX_APPEND_SECTORS = 0x54; // le32
const WRITE_GRANULARITY = 0x58; // le32, bytes
const ZONE_MODEL = 0x5c; // u8

/** How the disk likes to be used. Blocks are of `blockSizeBytes`. */
export interface BlockTopology {
  readonly blockSizeBytes: number;
  readonly physicalBlockExp: number;
  readonly alignmentOffsetBlocks: number;
  readonly minIoBlocks: number;
  readonly optIoBlocks: number;
}

/** What the disk pretends to turn. */
export interface DiskGeometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** What the fields say that stay as they are. */
export interface FixedConfig {
  readonly queues: number;
  readonly geometry: DiskGeometry;
  readonly topology: BlockTopology;
  readonly limits: KeptLimits;
}

// @virtio CFG-DEV-001 CFG-DEV-002 MMIO-DEV-026 BLK-DEV-004 BLK-DEV-018 BLK-DEV-031
/** The fields as bytes, in a legacy guest's order where that is big-endian. Those of features that are not offered are 0. */
export class VirtioBlkConfig {
  readonly #view: DataView = new DataView(new ArrayBuffer(CONFIG_BYTES));
  readonly #littleEndian: boolean;

  constructor(fixed: FixedConfig, offered: bigint, bigEndian: boolean) {
    this.#littleEndian = !bigEndian;
    this.#setSizes(fixed, offered);
    this.#setRanges(fixed.limits, offered);
  }

  set capacitySectors(sectors: number) {
    this.#view.setBigUint64(CAPACITY, BigInt(sectors), this.#littleEndian);
  }

  get writeback(): boolean {
    return this.#view.getUint8(WRITEBACK) !== 0;
  }

  set writeback(on: boolean) {
    this.#view.setUint8(WRITEBACK, on ? 1 : 0);
  }

  // @virtio BLK-DEV-044
  get mayUnmap(): boolean {
    return this.#view.getUint8(WRITE_ZEROES_MAY_UNMAP) !== 0;
  }

  /** Write zeroes can deallocate; of no account where WRITE_ZEROES is not offered. */
  set mayUnmap(can: boolean) {
    this.#view.setUint8(WRITE_ZEROES_MAY_UNMAP, can ? 1 : 0);
  }

  // @virtio BLK-DEV-007 BLK-DEV-009 BLK-DEV-010 BLK-DEV-012 BLK-DEV-013 BLK-DEV-014 BLK-DEV-015 BLK-DEV-016 BLK-DEV-017 BLK-DEV-032
  /** The zones of the disk, an append bound to `maxDataBytes`; undefined where the driver did not accept ZONED. */
  setZones(layout: ZoneLayout | undefined, maxDataBytes: number): void {
    const sectors = (bytes: number): number => Math.floor(bytes / VIRTIO_BLK_SECTOR_BYTES);
    this.#set32(ZONE_SECTORS, layout === undefined ? 0 : sectors(layout.zoneBytes));
    this.#set32(MAX_OPEN_ZONES, layout?.maxOpenZones ?? 0);
    this.#set32(MAX_ACTIVE_ZONES, layout?.maxActiveZones ?? 0);
    this.#set32(MAX_APPEND_SECTORS, layout === undefined ? 0 : sectors(Math.min(layout.maxAppendBytes, maxDataBytes)));
    this.#set32(WRITE_GRANULARITY, layout?.writeGranularityBytes ?? 0);
    const model = layout?.model === "host-managed" ? VIRTIO_BLK_Z_HM : VIRTIO_BLK_Z_HA;
    this.#view.setUint8(ZONE_MODEL, layout === undefined ? 0 : model);
  }

  /** As a little-endian access sees the bytes; those past the end are 0. */
  read(offset: number, width: AccessWidth): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) {
      const byte = offset + i < CONFIG_BYTES ? this.#view.getUint8(offset + i) : 0;
      value = value * 256 + byte;
    }
    return value;
  }

  /** True for the one access that may change anything: a byte to `writeback`. */
  isWriteback(offset: number, width: AccessWidth): boolean {
    return offset === WRITEBACK && width === 1;
  }

  // @virtio BLK-DEV-020 BLK-DEV-021 BLK-DEV-022 BLK-DEV-024 BLK-DEV-026
  #setSizes(fixed: FixedConfig, offered: bigint): void {
    const { limits, geometry, topology } = fixed;
    if (hasFeature(offered, VIRTIO_BLK_F_SIZE_MAX)) this.#set32(SIZE_MAX, limits.sizeMaxBytes);
    if (hasFeature(offered, VIRTIO_BLK_F_SEG_MAX)) this.#set32(SEG_MAX, limits.segMax);
    if (hasFeature(offered, VIRTIO_BLK_F_BLK_SIZE)) this.#set32(BLK_SIZE, topology.blockSizeBytes);
    if (hasFeature(offered, VIRTIO_BLK_F_MQ)) this.#set16(NUM_QUEUES, fixed.queues);
    if (hasFeature(offered, VIRTIO_BLK_F_GEOMETRY)) {
      this.#set16(CYLINDERS, geometry.cylinders);
      this.#view.setUint8(HEADS, geometry.heads);
      this.#view.setUint8(SECTORS, geometry.sectors);
    }
    if (!hasFeature(offered, VIRTIO_BLK_F_TOPOLOGY)) return;
    this.#view.setUint8(PHYSICAL_BLOCK_EXP, topology.physicalBlockExp);
    this.#view.setUint8(ALIGNMENT_OFFSET, topology.alignmentOffsetBlocks);
    this.#set16(MIN_IO_SIZE, topology.minIoBlocks);
    this.#set32(OPT_IO_SIZE, topology.optIoBlocks);
  }

  // @virtio BLK-DEV-028 BLK-DEV-029 BLK-DEV-030 BLK-DEV-075
  #setRanges(limits: KeptLimits, offered: bigint): void {
    const { discard, writeZeroes, secureErase } = limits;
    if (hasFeature(offered, VIRTIO_BLK_F_DISCARD)) {
      this.#set32(MAX_DISCARD_SECTORS, discard.maxSectors);
      this.#set32(MAX_DISCARD_SEG, discard.maxSegments);
      this.#set32(DISCARD_SECTOR_ALIGNMENT, discard.alignmentSectors);
    }
    if (hasFeature(offered, VIRTIO_BLK_F_WRITE_ZEROES)) {
      this.#set32(MAX_WRITE_ZEROES_SECTORS, writeZeroes.maxSectors);
      this.#set32(MAX_WRITE_ZEROES_SEG, writeZeroes.maxSegments);
    }
    if (!hasFeature(offered, VIRTIO_BLK_F_SECURE_ERASE)) return;
    this.#set32(MAX_SECURE_ERASE_SECTORS, secureErase.maxSectors);
    this.#set32(MAX_SECURE_ERASE_SEG, secureErase.maxSegments);
    this.#set32(SECURE_ERASE_SECTOR_ALIGNMENT, secureErase.alignmentSectors);
  }

  #set16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, this.#littleEndian);
  }

  #set32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, this.#littleEndian);
  }
}

/** The geometry that disks have whose partition table says none: 16 heads, 63 sectors, up to 16383 cylinders. */
export function plainGeometry(capacitySectors: number): DiskGeometry {
  const cylinders = Math.floor(capacitySectors / (16 * 63));
  return { cylinders: Math.min(Math.max(cylinders, 2), 16383), heads: 16, sectors: 63 };
}

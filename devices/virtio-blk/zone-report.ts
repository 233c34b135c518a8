// The answer to ZONE_REPORT: VIRTIO 1.4 §5.2.6.

import type { BlockZones, ZoneState, ZoneType } from "../../src/block/zones.ts";
import * as blk from "./virtio-blk-constants.ts";

const TYPES: Readonly<Record<ZoneType, number>> = {
  conventional: blk.VIRTIO_BLK_ZT_CONV,
  "sequential-required": blk.VIRTIO_BLK_ZT_SWR,
  "sequential-preferred": blk.VIRTIO_BLK_ZT_SWP,
};

const STATES: Readonly<Record<ZoneState, number>> = {
  "not-write-pointer": blk.VIRTIO_BLK_ZS_NOT_WP,
  empty: blk.VIRTIO_BLK_ZS_EMPTY,
  "implicitly-open": blk.VIRTIO_BLK_ZS_IOPEN,
  "explicitly-open": blk.VIRTIO_BLK_ZS_EOPEN,
  closed: blk.VIRTIO_BLK_ZS_CLOSED,
  "read-only": blk.VIRTIO_BLK_ZS_RDONLY,
  full: blk.VIRTIO_BLK_ZS_FULL,
  offline: blk.VIRTIO_BLK_ZS_OFFLINE,
};

const Z_CAP = 0; // le64, sectors
const Z_START = 8; // le64, sectors
const Z_WP = 16; // le64, sectors
const Z_TYPE = 24; // u8
const Z_STATE = 25; // u8

// @virtio BLK-DEV-010 BLK-DEV-011 BLK-DEV-091 BLK-DEV-092 BLK-DEV-093
/** Header and as many descriptors as `lengthBytes` holds, from the zone that `offsetBytes` lies in on. */
export function zoneReport(zones: BlockZones, offsetBytes: number, lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  const view = new DataView(bytes.buffer);
  const first = Math.floor(offsetBytes / zones.layout.zoneBytes);
  const descriptors = (lengthBytes - blk.VIRTIO_BLK_ZONE_REPORT_BYTES) / blk.VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES;
  view.setBigUint64(0, BigInt(descriptors), true);
  for (let i = 0; i < descriptors; i++) {
    const at = blk.VIRTIO_BLK_ZONE_REPORT_BYTES + i * blk.VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES;
    const { type, state, startBytes, capacityBytes, writePointerBytes } = zones.zone(first + i);
    view.setBigUint64(at + Z_CAP, sectors(capacityBytes), true);
    view.setBigUint64(at + Z_START, sectors(startBytes), true);
    view.setBigUint64(at + Z_WP, sectors(writePointerBytes), true);
    view.setUint8(at + Z_TYPE, TYPES[type]);
    view.setUint8(at + Z_STATE, STATES[state]);
  }
  return bytes;
}

function sectors(bytes: number): bigint {
  return BigInt(bytes / blk.VIRTIO_BLK_SECTOR_BYTES);
}

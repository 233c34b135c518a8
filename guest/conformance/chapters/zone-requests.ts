// Requests to zones that cannot be carried out, and where appends go: VIRTIO 1.4 §5.2.6.

import {
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_S_ZONE_INVALID_CMD,
  VIRTIO_BLK_S_ZONE_UNALIGNED_WP,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_ZONE_APPEND,
  VIRTIO_BLK_T_ZONE_CLOSE,
  VIRTIO_BLK_T_ZONE_FINISH,
  VIRTIO_BLK_T_ZONE_OPEN,
  VIRTIO_BLK_T_ZONE_REPORT,
  VIRTIO_BLK_T_ZONE_RESET,
  VIRTIO_BLK_T_ZONE_RESET_ALL,
  VIRTIO_BLK_ZS_EMPTY,
  VIRTIO_BLK_ZS_NOT_WP,
  VIRTIO_BLK_ZS_OFFLINE,
  VIRTIO_BLK_ZS_RDONLY,
  VIRTIO_BLK_ZT_CONV,
  VIRTIO_BLK_ZT_SWP,
  VIRTIO_BLK_ZT_SWR,
} from "../../constants/blk.ts";
import { VIRTIO_BLK_F_ZONED } from "../../constants/features.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { checkPattern, readCapacity, skipUnlessOffered } from "../disk-io.ts";
import { pattern } from "../patterns.ts";
import { openWithZone, ZONE_DESCRIPTOR_BYTES, type Zone, ZonedDrive, zonedDisk } from "../zones.ts";

const INVALID = VIRTIO_BLK_S_ZONE_INVALID_CMD;
const DISK = zonedDisk();
const HOST_AWARE = zonedDisk({ model: "host-aware", zoneCapacitySectors: 256 });
const WORN_DISK = zonedDisk({ readOnlyZones: [2], offlineZones: [3] });

/** Requests for one zone that have no data. */
const ZONE_COMMANDS: readonly (readonly [string, number])[] = [
  ["OPEN", VIRTIO_BLK_T_ZONE_OPEN],
  ["CLOSE", VIRTIO_BLK_T_ZONE_CLOSE],
  ["FINISH", VIRTIO_BLK_T_ZONE_FINISH],
  ["RESET", VIRTIO_BLK_T_ZONE_RESET],
];

const openWithEmpty = (device: DeviceUnderTest): Promise<[ZonedDrive, Zone]> =>
  openWithZone(device, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_EMPTY);

/** Every request of zoned disks is unknown without ZONED. */
async function checkUnsupported(device: DeviceUnderTest): Promise<void> {
  const ring = await device.initialise();
  const requests = [
    { type: VIRTIO_BLK_T_ZONE_APPEND, out: pattern(0, 1), inBytes: 8 },
    { type: VIRTIO_BLK_T_ZONE_REPORT, inBytes: 2 * ZONE_DESCRIPTOR_BYTES },
    ...[...ZONE_COMMANDS, ["", VIRTIO_BLK_T_ZONE_RESET_ALL] as const].map(([, type]) => ({ type })),
  ];
  for (const fields of requests) {
    const { status } = await device.execute(ring, fields);
    device.equal(status, VIRTIO_BLK_S_UNSUPP, `the status byte of type ${fields.type} without ZONED`);
  }
}

/** An append of a granule to a zone that takes none. */
async function checkAppendRefused(device: DeviceUnderTest, type: number, state: number): Promise<void> {
  const [drive, zone] = await openWithZone(device, type, state);
  const { status } = await drive.append(zone.start, drive.granuleSectors);
  drive.checkStatus(status, INVALID, `an append to a zone of type ${type}`);
  await drive.expectUnchanged(zone, "after an append that was refused");
}

export const zoneRequestCases: readonly ConformanceCase[] = [
  conformanceCase("BLK-DEV-054", "does not know zone requests without zones", checkUnsupported),

  conformanceCase(
    "BLK-DEV-054",
    "does not know zone requests when ZONED was refused",
    async (device) => {
      skipUnlessOffered(device, VIRTIO_BLK_F_ZONED);
      await checkUnsupported(device);
    },
    HOST_AWARE,
  ),

  conformanceCase(
    "BLK-DEV-055",
    "refuses zone commands for conventional zones",
    async (device) => {
      const [drive, zone] = await openWithZone(device, VIRTIO_BLK_ZT_CONV, VIRTIO_BLK_ZS_NOT_WP);
      for (const [name, type] of ZONE_COMMANDS) {
        await drive.expect(INVALID, type, zone.start, `${name} for a conventional zone`);
        await drive.expectUnchanged(zone, `after ${name} was refused`);
      }
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-056",
    "refuses appends to conventional zones",
    (device) => checkAppendRefused(device, VIRTIO_BLK_ZT_CONV, VIRTIO_BLK_ZS_NOT_WP),
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-056",
    "refuses appends to zones that only prefer sequential writes",
    (device) => checkAppendRefused(device, VIRTIO_BLK_ZT_SWP, VIRTIO_BLK_ZS_EMPTY),
    HOST_AWARE,
  ),

  conformanceCase(
    "BLK-DEV-063",
    "refuses appends that do not name the start of a zone",
    async (device) => {
      const [drive, zone] = await openWithEmpty(device);
      const { status } = await drive.append(zone.start + drive.granuleSectors, drive.granuleSectors);
      drive.checkStatus(status, INVALID, "an append to the second granule of a zone");
      await drive.expectUnchanged(zone, "after an append that was refused");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-064",
    "refuses writes and appends that the zone has no room for",
    async (device) => {
      const [drive, zone] = await openWithEmpty(device);
      const granule = drive.granuleSectors;
      await drive.writeWell(zone.start, zone.capacity - granule);
      const writePointer = zone.start + zone.capacity - granule;
      const write = await drive.write(writePointer, 2 * granule);
      drive.checkStatus(write, INVALID, "a write of two granules where one is left");
      await drive.expectWritten(zone.start, writePointer, "after a write that was refused");
      const append = await drive.append(zone.start, 2 * granule);
      drive.checkStatus(append.status, INVALID, "an append of two granules where one is left");
      await drive.expectWritten(zone.start, writePointer, "after an append that was refused");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-065",
    "tells where appends have gone",
    async (device) => {
      const [drive, zone] = await openWithEmpty(device);
      const granule = drive.granuleSectors;
      let expected = zone.start;
      for (const sectors of [granule, 3 * granule, granule]) {
        const { status, at } = await drive.append(zone.start, sectors);
        drive.checkStatus(status, VIRTIO_BLK_S_OK, `an append of ${sectors} sectors`);
        device.equal(at, expected, "append_sector");
        expected += sectors;
      }
      await checkPattern(device, drive.ring, zone.start, granule);
      await drive.expectWritten(zone.start, expected, "after three appends");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-067",
    "refuses appends that are longer than the limit",
    async (device) => {
      const [drive, zone] = await openWithEmpty(device);
      const limit = drive.maxAppendSectors;
      device.skipUnless(limit > 0 && limit <= 1024, `max_append_sectors is ${limit}`);
      const { status } = await drive.append(zone.start, limit - (limit % drive.granuleSectors) + drive.granuleSectors);
      drive.checkStatus(status, INVALID, "an append of a granule more than max_append_sectors");
      await drive.expectUnchanged(zone, "after an append that was refused");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-068",
    "refuses to cross from one zone to the next",
    async (device) => {
      const [drive, zone] = await openWithEmpty(device);
      const { zoneSectors, granuleSectors } = drive;
      await drive.writeWell(zone.start, granuleSectors);
      const writePointer = zone.start + granuleSectors;
      const write = await drive.write(writePointer, zoneSectors);
      drive.checkStatus(write, INVALID, "a write at the write pointer that goes on in the next zone");
      const sector = zone.start + zoneSectors - 1;
      const read = await device.execute(drive.ring, { type: VIRTIO_BLK_T_IN, sector, inBytes: 1024 });
      drive.checkStatus(read.status, INVALID, "a read that goes on in the next zone");
      const append = await drive.append(zone.start, zoneSectors + granuleSectors);
      drive.checkStatus(append.status, INVALID, "an append that is longer than a zone");
      await drive.expectWritten(zone.start, writePointer, "after requests that were refused");
    },
    zonedDisk({ maxAppendSectors: 512 }),
  ),

  conformanceCase(
    "BLK-DEV-069",
    "refuses writes that are not at the write pointer",
    async (device) => {
      const [drive, zone] = await openWithEmpty(device);
      const granule = drive.granuleSectors;
      const ahead = await drive.write(zone.start + granule, granule);
      drive.checkStatus(ahead, VIRTIO_BLK_S_ZONE_UNALIGNED_WP, "a write ahead of the write pointer");
      await drive.expectUnchanged(zone, "after a write that was refused");
      await drive.writeWell(zone.start, 2 * granule);
      const behind = await drive.write(zone.start + granule, granule);
      drive.checkStatus(behind, VIRTIO_BLK_S_ZONE_UNALIGNED_WP, "a write behind the write pointer");
      await drive.expectWritten(zone.start, zone.start + 2 * granule, "after a write that was refused");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-071",
    "refuses writes and appends to read-only zones",
    async (device) => {
      const [drive, zone] = await openWithZone(device, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_RDONLY);
      drive.checkStatus(await drive.write(zone.start, drive.granuleSectors), INVALID, "a write to a read-only zone");
      const { status } = await drive.append(zone.start, drive.granuleSectors);
      drive.checkStatus(status, INVALID, "an append to a read-only zone");
    },
    WORN_DISK,
  ),

  conformanceCase(
    "BLK-DEV-072",
    "refuses every request to offline zones",
    async (device) => {
      const [drive, zone] = await openWithZone(device, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_OFFLINE);
      const granule = drive.granuleSectors;
      const read = { type: VIRTIO_BLK_T_IN, sector: zone.start, inBytes: 512 * granule };
      drive.checkStatus((await device.execute(drive.ring, read)).status, INVALID, "a read from an offline zone");
      drive.checkStatus(await drive.write(zone.start, granule), INVALID, "a write to an offline zone");
      const { status } = await drive.append(zone.start, granule);
      drive.checkStatus(status, INVALID, "an append to an offline zone");
      for (const [name, type] of ZONE_COMMANDS) {
        await drive.expect(INVALID, type, zone.start, `${name} for an offline zone`);
        await drive.expectUnchanged(zone, `after ${name} was refused`);
      }
    },
    WORN_DISK,
  ),

  conformanceCase(
    "BLK-DEV-099",
    "refuses zone commands that do not name the start of a zone",
    async (device) => {
      const [drive, zone] = await openWithEmpty(device);
      await drive.writeWell(zone.start, drive.granuleSectors);
      const before = await drive.zoneAt(zone.start);
      for (const [name, type] of ZONE_COMMANDS) {
        await drive.expect(INVALID, type, zone.start + 1, `${name} for the second sector of a zone`);
        await drive.expectUnchanged(before, `after ${name} was refused`);
      }
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-099",
    "refuses reports of zones that there are not",
    async (device) => {
      const drive = await ZonedDrive.open(device);
      const beyond = Number(readCapacity(device));
      const fields = { type: VIRTIO_BLK_T_ZONE_REPORT, sector: beyond, inBytes: 2 * ZONE_DESCRIPTOR_BYTES };
      const { status } = await device.execute(drive.ring, fields);
      drive.checkStatus(status, [VIRTIO_BLK_S_IOERR, INVALID], "a zone report from the capacity on");
    },
    DISK,
  ),
];

// Requests to zones that cannot be carried out, and what is read from where nothing was written: VIRTIO 1.4 §5.2.6.

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
import { ZONE_DESCRIPTOR_BYTES, type Zone, ZonedDrive, zonedDisk } from "../zones.ts";

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

async function openWithZone(device: DeviceUnderTest, type: number, state: number): Promise<[ZonedDrive, Zone]> {
  const drive = await ZonedDrive.open(device);
  const [zone] = await drive.find(1, type, state);
  return [drive, zone!];
}

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

/** Reads `sectors` sectors that were not written since the zone was reset, though they were before. */
async function checkUnwritten(drive: ZonedDrive, sector: number, sectors: number, when: string): Promise<void> {
  const { device, ring } = drive;
  const stale = pattern(sector, sectors);
  const read = { type: VIRTIO_BLK_T_IN, sector, inBytes: 512 * sectors };
  const first = await device.execute(ring, { ...read, fill: 0xee });
  if (first.status !== VIRTIO_BLK_S_OK)
    return device.remark(`reads of unwritten sectors end with status ${first.status}`);
  for (let at = 0; at < first.data.length; at += 512) {
    const old = first.data.subarray(at, at + 512).every((byte, i) => byte === stale[at + i]);
    device.check(!old, `sector ${sector + at / 512} still has what was written to it ${when}`);
  }
  const second = await device.execute(ring, { ...read, fill: 0x11 });
  const poison = first.data.findIndex((byte, i) => byte === 0xee && second.data[i] === 0x11);
  device.check(
    poison < 0,
    `byte ${poison} of a read of unwritten sectors ${when} is not written, though it ends with 0`,
  );
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
    "BLK-DEV-073",
    "forgets what a zone held once it is reset, also when it is finished then",
    async (device) => {
      const [drive, zone] = await openWithEmpty(device);
      const granule = drive.granuleSectors;
      await drive.writeWell(zone.start, 4 * granule);
      await checkPattern(device, drive.ring, zone.start, 4 * granule);
      await drive.expect(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_ZONE_RESET, zone.start, "RESET");
      await checkUnwritten(drive, zone.start, 4 * granule, "before RESET");
      await drive.writeWell(zone.start, granule);
      await drive.expect(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_ZONE_FINISH, zone.start, "FINISH");
      await checkUnwritten(drive, zone.start + granule, 3 * granule, "before RESET, after FINISH");
      await checkPattern(device, drive.ring, zone.start, granule);
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-074",
    "fails reads of what was not written, or reads something",
    async (device) => {
      const [drive, zone] = await openWithEmpty(device);
      const granule = drive.granuleSectors;
      await checkUnwritten(drive, zone.start, granule, "before power-on");
      await drive.writeWell(zone.start, granule);
      await checkUnwritten(drive, zone.start + granule, 2 * granule, "never");
    },
    DISK,
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

  conformanceCase(
    "BLK-DEV-106",
    "writes to conventional zones anywhere",
    async (device) => {
      const [drive, zone] = await openWithZone(device, VIRTIO_BLK_ZT_CONV, VIRTIO_BLK_ZS_NOT_WP);
      for (const offset of [100, 3, 200, 3]) {
        const status = await drive.write(zone.start + offset, 5);
        drive.checkStatus(status, VIRTIO_BLK_S_OK, `a write to sector ${offset} of a conventional zone`);
        await checkPattern(device, drive.ring, zone.start + offset, 5);
      }
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-106",
    "writes to zones that only prefer sequential writes anywhere",
    async (device) => {
      const [drive, zone] = await openWithZone(device, VIRTIO_BLK_ZT_SWP, VIRTIO_BLK_ZS_EMPTY);
      for (const offset of [8 * drive.granuleSectors, 2 * drive.granuleSectors]) {
        const status = await drive.write(zone.start + offset, drive.granuleSectors);
        const what = `a write to sector ${offset} of a zone that prefers sequential writes`;
        device.check(status !== VIRTIO_BLK_S_ZONE_UNALIGNED_WP, `the status byte of ${what} is ${status}`);
        if (status === VIRTIO_BLK_S_OK)
          await checkPattern(device, drive.ring, zone.start + offset, drive.granuleSectors);
        else device.remark(`${what} ends with status ${status}`);
      }
    },
    HOST_AWARE,
  ),
];

// What zones hold: writes in any order where they may be, and what is read from where nothing was written. VIRTIO 1.4 §5.2.6.

import {
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_ZONE_UNALIGNED_WP,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_ZONE_FINISH,
  VIRTIO_BLK_T_ZONE_RESET,
  VIRTIO_BLK_ZS_EMPTY,
  VIRTIO_BLK_ZS_NOT_WP,
  VIRTIO_BLK_ZT_CONV,
  VIRTIO_BLK_ZT_SWP,
  VIRTIO_BLK_ZT_SWR,
} from "../../constants/blk.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import { checkPattern } from "../disk-io.ts";
import { pattern } from "../patterns.ts";
import { openWithZone, type ZonedDrive, zonedDisk } from "../zones.ts";

const DISK = zonedDisk();
const HOST_AWARE = zonedDisk({ model: "host-aware", zoneCapacitySectors: 256 });

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

export const zoneDataCases: readonly ConformanceCase[] = [
  conformanceCase(
    "BLK-DEV-073",
    "forgets what a zone held once it is reset, also when it is finished then",
    async (device) => {
      const [drive, zone] = await openWithZone(device, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_EMPTY);
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
      const [drive, zone] = await openWithZone(device, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_EMPTY);
      const granule = drive.granuleSectors;
      await checkUnwritten(drive, zone.start, granule, "before power-on");
      await drive.writeWell(zone.start, granule);
      await checkUnwritten(drive, zone.start + granule, 2 * granule, "never");
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

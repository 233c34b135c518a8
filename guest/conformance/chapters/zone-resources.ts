// How many zones may be open or active: VIRTIO 1.4 §5.2.5 and §5.2.6.

import {
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE,
  VIRTIO_BLK_S_ZONE_OPEN_RESOURCE,
  VIRTIO_BLK_T_ZONE_CLOSE,
  VIRTIO_BLK_T_ZONE_OPEN,
  VIRTIO_BLK_ZS_CLOSED,
  VIRTIO_BLK_ZS_EMPTY,
  VIRTIO_BLK_ZS_EOPEN,
  VIRTIO_BLK_ZS_IOPEN,
  VIRTIO_BLK_ZT_SWR,
} from "../../constants/blk.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { type Zone, ZonedDrive, zonedDisk } from "../zones.ts";

const OPEN = VIRTIO_BLK_T_ZONE_OPEN;
const CLOSE = VIRTIO_BLK_T_ZONE_CLOSE;
const SHORT_OF_OPEN = VIRTIO_BLK_S_ZONE_OPEN_RESOURCE;
const SHORT_OF_ACTIVE = VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE;

async function openWithZones(device: DeviceUnderTest, count: number): Promise<{ drive: ZonedDrive; zones: Zone[] }> {
  const drive = await ZonedDrive.open(device);
  return { drive, zones: [...(await drive.find(count, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_EMPTY))] };
}

/** OPEN, with success. */
async function open(drive: ZonedDrive, zone: Zone): Promise<void> {
  await drive.expect(VIRTIO_BLK_S_OK, OPEN, zone.start, "OPEN of an empty zone within the limits");
  await drive.expectZone(zone.start, VIRTIO_BLK_ZS_EOPEN, zone.start, "after OPEN");
}

/** A granule, and CLOSE: a zone that is active and not open. */
async function makeClosed(drive: ZonedDrive, zone: Zone): Promise<void> {
  await drive.writeWell(zone.start, drive.granuleSectors);
  await drive.expect(VIRTIO_BLK_S_OK, CLOSE, zone.start, "CLOSE");
}

export const zoneResourceCases: readonly ConformanceCase[] = [
  conformanceCase(
    "BLK-DEV-012",
    "opens as many zones as it says",
    async (device) => {
      const { drive, zones } = await openWithZones(device, 3);
      device.equal(drive.maxOpenZones, 2, "max_open_zones");
      const [first, second, third] = zones as [Zone, Zone, Zone];
      await open(drive, first);
      await open(drive, second);
      await drive.expect(SHORT_OF_OPEN, OPEN, third.start, "OPEN of one zone more than max_open_zones");
      await drive.expectUnchanged(third, "after OPEN was refused");
      await drive.expect(VIRTIO_BLK_S_OK, CLOSE, first.start, "CLOSE");
      await open(drive, third);
    },
    zonedDisk({ maxOpenZones: 2 }),
  ),

  conformanceCase(
    "BLK-DEV-013",
    "has as many zones active as it says",
    async (device) => {
      const { drive, zones } = await openWithZones(device, 3);
      device.equal(drive.maxActiveZones, 2, "max_active_zones");
      const [first, second, third] = zones as [Zone, Zone, Zone];
      await makeClosed(drive, first);
      await open(drive, second);
      await drive.expect(SHORT_OF_ACTIVE, OPEN, third.start, "OPEN of one zone more than max_active_zones");
      const write = await drive.write(third.start, drive.granuleSectors);
      drive.checkStatus(write, SHORT_OF_ACTIVE, "a write to one zone more than max_active_zones");
      await drive.expectUnchanged(third, "after OPEN and a write were refused");
      await drive.writeWell(first.start + drive.granuleSectors, drive.granuleSectors);
    },
    zonedDisk({ maxActiveZones: 2 }),
  ),

  conformanceCase(
    "BLK-DEV-058",
    "leaves zones alone that it cannot open",
    async (device) => {
      const { drive, zones } = await openWithZones(device, 3);
      const [first, second, third] = zones as [Zone, Zone, Zone];
      await makeClosed(drive, third);
      const closed = await drive.zoneAt(third.start);
      await open(drive, first);
      await drive.expect(SHORT_OF_OPEN, OPEN, second.start, "OPEN of an empty zone beyond the limit");
      await drive.expectUnchanged(second, "after OPEN was refused");
      await drive.expect(SHORT_OF_OPEN, OPEN, third.start, "OPEN of a closed zone beyond the limit");
      await drive.expectUnchanged(closed, "after OPEN was refused");
    },
    zonedDisk({ maxOpenZones: 1 }),
  ),

  conformanceCase(
    "BLK-DEV-062",
    "opens no zone for a write or an append beyond the limit",
    async (device) => {
      const { drive, zones } = await openWithZones(device, 2);
      const [first, second] = zones as [Zone, Zone];
      await open(drive, first);
      const short = [SHORT_OF_OPEN, SHORT_OF_ACTIVE];
      drive.checkStatus(await drive.write(second.start, drive.granuleSectors), short, "a write beyond the limit");
      await drive.expectUnchanged(second, "after a write was refused");
      const { status } = await drive.append(second.start, drive.granuleSectors);
      drive.checkStatus(status, short, "an append beyond the limit");
      await drive.expectUnchanged(second, "after an append was refused");
    },
    zonedDisk({ maxOpenZones: 1 }),
  ),

  conformanceCase(
    "BLK-DEV-070",
    "keeps to its limit when it closes zones by itself",
    async (device) => {
      const { drive, zones } = await openWithZones(device, 2);
      const [first, second] = zones as [Zone, Zone];
      await drive.writeWell(first.start, drive.granuleSectors);
      const status = await drive.write(second.start, drive.granuleSectors);
      drive.checkStatus(status, [VIRTIO_BLK_S_OK, SHORT_OF_OPEN, SHORT_OF_ACTIVE], "a write to a second zone of one");
      const states = [(await drive.zoneAt(first.start)).state, (await drive.zoneAt(second.start)).state];
      const openZones = states.filter((state) => state === VIRTIO_BLK_ZS_IOPEN || state === VIRTIO_BLK_ZS_EOPEN).length;
      device.check(openZones <= 1, `${openZones} zones are open, with a limit of one`);
      if (states[0] === VIRTIO_BLK_ZS_CLOSED) device.remark("closes zones that writes opened, to open others");
    },
    zonedDisk({ maxOpenZones: 1 }),
  ),

  conformanceCase(
    "BLK-DEV-097",
    "names the limit of active zones where both are reached",
    async (device) => {
      const { drive, zones } = await openWithZones(device, 2);
      const [first, second] = zones as [Zone, Zone];
      await open(drive, first);
      await drive.expect(SHORT_OF_ACTIVE, OPEN, second.start, "OPEN beyond both limits");
      await drive.expectUnchanged(second, "after OPEN was refused");
    },
    zonedDisk({ maxOpenZones: 1, maxActiveZones: 1 }),
  ),
];

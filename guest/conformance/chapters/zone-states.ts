// The states of zones: VIRTIO 1.4 §5.2.6.

import {
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_ZONE_INVALID_CMD,
  VIRTIO_BLK_T_SECURE_ERASE,
  VIRTIO_BLK_T_ZONE_CLOSE,
  VIRTIO_BLK_T_ZONE_FINISH,
  VIRTIO_BLK_T_ZONE_OPEN,
  VIRTIO_BLK_T_ZONE_RESET,
  VIRTIO_BLK_T_ZONE_RESET_ALL,
  VIRTIO_BLK_ZS_CLOSED,
  VIRTIO_BLK_ZS_EMPTY,
  VIRTIO_BLK_ZS_EOPEN,
  VIRTIO_BLK_ZS_FULL,
  VIRTIO_BLK_ZS_OFFLINE,
  VIRTIO_BLK_ZS_RDONLY,
  VIRTIO_BLK_ZT_SWR,
} from "../../constants/blk.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { segments } from "../segments.ts";
import { stateName, type Zone, ZonedDrive, zonedDisk } from "../zones.ts";

const OPEN = VIRTIO_BLK_T_ZONE_OPEN;
const CLOSE = VIRTIO_BLK_T_ZONE_CLOSE;
const FINISH = VIRTIO_BLK_T_ZONE_FINISH;
const RESET = VIRTIO_BLK_T_ZONE_RESET;

const DISK = zonedDisk();
const WORN_DISK = zonedDisk({ readOnlyZones: [2], offlineZones: [3] });
const ERASABLE_DISK = { ...DISK, secureErase: { maxSectors: 1024, maxSegments: 2, alignmentSectors: 256 } };

/** A drive with an empty zone, and steps that have to go well. */
class Walk {
  readonly drive: ZonedDrive;
  readonly zone: Zone;

  constructor(drive: ZonedDrive, zone: Zone) {
    this.drive = drive;
    this.zone = zone;
  }

  static async begin(device: DeviceUnderTest): Promise<Walk> {
    const drive = await ZonedDrive.open(device);
    const [zone] = await drive.find(1, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_EMPTY);
    return new Walk(drive, zone!);
  }

  /** The sector that is `granules` granules into the zone. */
  at(granules: number): number {
    return this.zone.start + granules * this.drive.granuleSectors;
  }

  /** Sends a command that has to succeed, after which the zone is in `state` with the write pointer so many granules on. */
  async step(type: number, state: number, granules: number, what: string): Promise<void> {
    await this.drive.expect(VIRTIO_BLK_S_OK, type, this.zone.start, what);
    await this.drive.expectZone(this.zone.start, state, this.at(granules), `after ${what}`);
  }

  /** Sends a command that has to fail and to change nothing. */
  async refuse(type: number, what: string): Promise<void> {
    const before = await this.drive.zoneAt(this.zone.start);
    await this.drive.expect(VIRTIO_BLK_S_ZONE_INVALID_CMD, type, this.zone.start, what);
    await this.drive.expectUnchanged(before, `after ${what}`);
  }

  /** Writes a granule at the write pointer, which is so many granules on. */
  async write(granules: number): Promise<void> {
    await this.drive.writeWell(this.at(granules), this.drive.granuleSectors);
  }
}

/** FINISH of a zone whose write pointer has not moved while it was open: the standard's list has no such step; some disks do it. */
async function finishAnyway(walk: Walk, from: string): Promise<void> {
  const { drive, zone } = walk;
  const before = await drive.zoneAt(zone.start);
  const status = await drive.send(FINISH, zone.start);
  drive.checkStatus(status, [VIRTIO_BLK_S_OK, VIRTIO_BLK_S_ZONE_INVALID_CMD], `FINISH of ${from}`);
  if (status === VIRTIO_BLK_S_OK)
    await drive.expectZone(zone.start, VIRTIO_BLK_ZS_FULL, undefined, `after FINISH of ${from}`);
  else await drive.expectUnchanged(before, `after FINISH of ${from} was refused`);
}

async function checkRefusedIn(
  device: DeviceUnderTest,
  type: number,
  states: readonly number[],
  name: string,
): Promise<void> {
  const drive = await ZonedDrive.open(device);
  for (const state of states) {
    const [zone] = await drive.find(1, VIRTIO_BLK_ZT_SWR, state);
    await new Walk(drive, zone!).refuse(type, `${name} of a zone that is ${stateName(state)}`);
  }
}

export const zoneStateCases: readonly ConformanceCase[] = [
  conformanceCase(
    "BLK-DEV-057",
    "refuses OPEN of a full zone",
    async (device) => {
      const walk = await Walk.begin(device);
      await walk.drive.fill(walk.zone);
      await walk.refuse(OPEN, "OPEN of a full zone");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-059",
    "refuses CLOSE of empty and of full zones",
    async (device) => {
      const walk = await Walk.begin(device);
      await walk.refuse(CLOSE, "CLOSE of an empty zone");
      await walk.drive.fill(walk.zone);
      await walk.refuse(CLOSE, "CLOSE of a full zone");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-060",
    "refuses FINISH of zones that nobody can write",
    (device) => checkRefusedIn(device, FINISH, [VIRTIO_BLK_ZS_RDONLY, VIRTIO_BLK_ZS_OFFLINE], "FINISH"),
    WORN_DISK,
  ),

  conformanceCase(
    "BLK-DEV-060",
    "finishes empty and closed zones, or leaves them alone",
    async (device) => {
      const walk = await Walk.begin(device);
      await finishAnyway(walk, "an empty zone");
      await walk.drive.expect(VIRTIO_BLK_S_OK, RESET, walk.zone.start, "RESET");
      await walk.write(0);
      await walk.step(CLOSE, VIRTIO_BLK_ZS_CLOSED, 1, "CLOSE");
      await finishAnyway(walk, "a closed zone");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-061",
    "refuses RESET of read-only zones",
    (device) => checkRefusedIn(device, RESET, [VIRTIO_BLK_ZS_RDONLY], "RESET"),
    WORN_DISK,
  ),

  conformanceCase(
    "BLK-DEV-076",
    "erases whole zones for good, no parts of them",
    async (device) => {
      const walk = await Walk.begin(device);
      await walk.write(0);
      const before = await walk.drive.zoneAt(walk.zone.start);
      const out = segments({ sector: walk.zone.start, sectors: 1 });
      const { status } = await device.execute(walk.drive.ring, { type: VIRTIO_BLK_T_SECURE_ERASE, out });
      if (status === VIRTIO_BLK_S_OK) device.remark("a secure erase of one sector of a zone is carried out");
      else await walk.drive.expectUnchanged(before, "after a secure erase of one sector was refused");
    },
    ERASABLE_DISK,
  ),

  conformanceCase(
    "BLK-DEV-077",
    "resets the zones that it erases for good",
    async (device) => {
      const walk = await Walk.begin(device);
      await walk.write(0);
      const out = segments({ sector: walk.zone.start, sectors: walk.drive.zoneSectors });
      const { status } = await device.execute(walk.drive.ring, { type: VIRTIO_BLK_T_SECURE_ERASE, out });
      device.equal(status, VIRTIO_BLK_S_OK, "the status byte of a secure erase of a zone");
      await walk.drive.expectUnchanged(walk.zone, "after a secure erase");
      await walk.write(0);
    },
    ERASABLE_DISK,
  ),

  conformanceCase(
    "BLK-DEV-094",
    "opens zones that are written",
    async (device) => {
      const walk = await Walk.begin(device);
      await walk.write(0);
      await walk.drive.expectWritten(walk.zone.start, walk.at(1), "after a write to an empty zone");
      await walk.step(CLOSE, VIRTIO_BLK_ZS_CLOSED, 1, "CLOSE of a zone that writes opened");
      await walk.write(1);
      await walk.drive.expectWritten(walk.zone.start, walk.at(2), "after a write to a closed zone");
      await walk.step(RESET, VIRTIO_BLK_ZS_EMPTY, 0, "RESET of a zone that writes opened");
      for (const [i, from] of ["an empty", "a closed"].entries()) {
        const { status } = await walk.drive.append(walk.zone.start, walk.drive.granuleSectors);
        walk.drive.checkStatus(status, VIRTIO_BLK_S_OK, `an append to ${from} zone`);
        await walk.drive.expectWritten(walk.zone.start, walk.at(i + 1), `after an append to ${from} zone`);
        await walk.step(CLOSE, VIRTIO_BLK_ZS_CLOSED, i + 1, "CLOSE of a zone that appends opened");
      }
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-094",
    "opens zones when it is told, and closes them",
    async (device) => {
      const walk = await Walk.begin(device);
      await walk.step(OPEN, VIRTIO_BLK_ZS_EOPEN, 0, "OPEN of an empty zone");
      await walk.step(CLOSE, VIRTIO_BLK_ZS_EMPTY, 0, "CLOSE of an open zone without data");
      await walk.step(OPEN, VIRTIO_BLK_ZS_EOPEN, 0, "OPEN of an empty zone, again");
      await walk.write(0);
      await walk.drive.expectZone(walk.zone.start, VIRTIO_BLK_ZS_EOPEN, walk.at(1), "after a write to an open zone");
      await walk.step(CLOSE, VIRTIO_BLK_ZS_CLOSED, 1, "CLOSE of an open zone with data");
      await walk.step(OPEN, VIRTIO_BLK_ZS_EOPEN, 1, "OPEN of a closed zone");
      await walk.step(RESET, VIRTIO_BLK_ZS_EMPTY, 0, "RESET of an open zone");
      await walk.write(0);
      await walk.step(OPEN, VIRTIO_BLK_ZS_EOPEN, 1, "OPEN of a zone that a write opened");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-094",
    "makes zones full that are finished or hold all that they can",
    async (device) => {
      const walk = await Walk.begin(device);
      await walk.write(0);
      await walk.step(FINISH, VIRTIO_BLK_ZS_FULL, 1, "FINISH of a zone that a write opened");
      await walk.step(RESET, VIRTIO_BLK_ZS_EMPTY, 0, "RESET of a full zone");
      await walk.step(OPEN, VIRTIO_BLK_ZS_EOPEN, 0, "OPEN of an empty zone");
      await walk.step(FINISH, VIRTIO_BLK_ZS_FULL, 0, "FINISH of an open zone");
      await walk.step(RESET, VIRTIO_BLK_ZS_EMPTY, 0, "RESET of a full zone");
      await walk.drive.fill(walk.zone);
      await walk.drive.expectZone(walk.zone.start, VIRTIO_BLK_ZS_FULL, undefined, "after all of it was written");
      await walk.step(RESET, VIRTIO_BLK_ZS_EMPTY, 0, "RESET of a full zone");
      await walk.write(0);
      await walk.step(CLOSE, VIRTIO_BLK_ZS_CLOSED, 1, "CLOSE");
      await walk.step(RESET, VIRTIO_BLK_ZS_EMPTY, 0, "RESET of a closed zone");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-095",
    "is content with commands for what is so already",
    async (device) => {
      const walk = await Walk.begin(device);
      await walk.step(RESET, VIRTIO_BLK_ZS_EMPTY, 0, "RESET of an empty zone");
      await walk.step(OPEN, VIRTIO_BLK_ZS_EOPEN, 0, "OPEN");
      await walk.step(OPEN, VIRTIO_BLK_ZS_EOPEN, 0, "OPEN of an open zone");
      await walk.write(0);
      await walk.step(CLOSE, VIRTIO_BLK_ZS_CLOSED, 1, "CLOSE");
      await walk.step(CLOSE, VIRTIO_BLK_ZS_CLOSED, 1, "CLOSE of a closed zone");
      await walk.step(OPEN, VIRTIO_BLK_ZS_EOPEN, 1, "OPEN of a closed zone");
      await walk.step(FINISH, VIRTIO_BLK_ZS_FULL, 1, "FINISH");
      await walk.step(FINISH, VIRTIO_BLK_ZS_FULL, 1, "FINISH of a full zone");
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-096",
    "resets all zones at once",
    async (device) => {
      const drive = await ZonedDrive.open(device);
      const zones = await drive.find(4, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_EMPTY);
      const [written, open, closed, full] = zones.map((zone) => new Walk(drive, zone)) as [Walk, Walk, Walk, Walk];
      await written.write(0);
      await open.step(OPEN, VIRTIO_BLK_ZS_EOPEN, 0, "OPEN");
      await closed.write(0);
      await closed.step(CLOSE, VIRTIO_BLK_ZS_CLOSED, 1, "CLOSE");
      await drive.fill(full.zone);
      const others = (await drive.report()).filter(({ start }) => !zones.some((zone) => zone.start === start));
      // Its sector means nothing.
      await drive.expect(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_ZONE_RESET_ALL, 12345, "RESET_ALL");
      for (const zone of [...zones, ...others]) await drive.expectUnchanged(zone, "after RESET_ALL");
    },
    zonedDisk({ readOnlyZones: [5], offlineZones: [6] }),
  ),
];

// Zone reports: VIRTIO 1.4 §5.2.6.

import {
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_ZONE_REPORT,
  VIRTIO_BLK_ZS_NOT_WP,
  VIRTIO_BLK_ZS_OFFLINE,
  VIRTIO_BLK_ZS_RDONLY,
  VIRTIO_BLK_ZT_CONV,
} from "../../constants/blk.ts";
import { VIRTIO_BLK_F_ZONED } from "../../constants/features.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import { skipUnlessOffered } from "../disk-io.ts";
import { checkUsedLength } from "../used-length.ts";
import { stateName, ZONE_DESCRIPTOR_BYTES, ZonedDrive, zonedDisk } from "../zones.ts";

const DISK = zonedDisk();
const WORN_DISK = zonedDisk({ readOnlyZones: [2], offlineZones: [3] });

export const zoneReportCases: readonly ConformanceCase[] = [
  conformanceCase(
    "BLK-DEV-091",
    "counts the zones for which a report has room",
    async (device) => {
      const { ring } = await ZonedDrive.open(device);
      const type = VIRTIO_BLK_T_ZONE_REPORT;
      for (const [zones, more] of [
        [3, 10],
        [3, 0],
        [1, 63],
      ] as const) {
        const inBytes = ZONE_DESCRIPTOR_BYTES * (1 + zones) + more;
        const first = await device.execute(ring, { type, inBytes, fill: 0xee });
        device.equal(first.status, VIRTIO_BLK_S_OK, `the status byte of a report of ${inBytes} bytes`);
        const second = await device.execute(ring, { type, inBytes, fill: 0x11 });
        const count = new DataView(first.data.buffer, first.data.byteOffset).getBigUint64(0, true);
        device.check(count <= BigInt(zones), `nr_zones is ${count}, with room for ${zones} descriptors`);
        const end = ZONE_DESCRIPTOR_BYTES * (1 + Number(count));
        const poison = first.data.findIndex((byte, i) => i < end && byte === 0xee && second.data[i] === 0x11);
        // What is reserved in header and descriptors need not be written.
        const within = poison % ZONE_DESCRIPTOR_BYTES;
        const reserved = poison < ZONE_DESCRIPTOR_BYTES ? within >= 8 : within >= 26;
        device.check(poison < 0 || reserved, `byte ${poison} of a report of ${count} zones is not written`);
      }
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-092",
    "begins a report with the zone that holds the sector",
    async (device) => {
      const drive = await ZonedDrive.open(device);
      for (const [sector, start] of [
        [0, 0],
        [255, 0],
        [256, 256],
        [3 * 256 + 100, 3 * 256],
        [6 * 256 + 255, 6 * 256],
      ] as const) {
        const [zone] = await drive.report(sector);
        device.check(zone !== undefined, `a report from sector ${sector} on has no zones`);
        device.equal(zone!.start, start, `z_start of the first zone of a report from sector ${sector} on`);
      }
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-093",
    "tells of zones that hold no more than a zone, and of conventional ones without a write pointer",
    async (device) => {
      const drive = await ZonedDrive.open(device);
      for (const { start, capacity, type, state } of await drive.report()) {
        device.check(capacity <= drive.zoneSectors, `z_cap of the zone at ${start} is ${capacity}`);
        if (type !== VIRTIO_BLK_ZT_CONV) continue;
        device.check(state === VIRTIO_BLK_ZS_NOT_WP, `the conventional zone at ${start} is ${stateName(state)}`);
      }
    },
    DISK,
  ),

  conformanceCase(
    "BLK-DEV-107",
    "tells of zones that are read-only or offline",
    async (device) => {
      const drive = await ZonedDrive.open(device);
      const worn = (await drive.report()).filter(
        ({ state }) => state === VIRTIO_BLK_ZS_RDONLY || state === VIRTIO_BLK_ZS_OFFLINE,
      );
      for (const { start, state } of worn) device.remark(`the zone at ${start} is ${stateName(state)}`);
    },
    WORN_DISK,
  ),

  conformanceCase(
    "SPLIT-DEV-023",
    "has written at least as many bytes of a zone report as it says",
    async (device) => {
      skipUnlessOffered(device, VIRTIO_BLK_F_ZONED);
      const ring = await device.initialise({ features: [VIRTIO_BLK_F_ZONED] });
      for (const inBytes of [4 * ZONE_DESCRIPTOR_BYTES, 4 * ZONE_DESCRIPTOR_BYTES + 10, 32 * ZONE_DESCRIPTOR_BYTES]) {
        await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_ZONE_REPORT, inBytes });
      }
      await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_ZONE_REPORT, sector: 2 ** 40, inBytes: 128 });
    },
    DISK,
  ),
];

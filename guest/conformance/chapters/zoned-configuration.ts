// What a zoned disk says of itself: VIRTIO 1.4 §5.2.5 and §5.2.5.2.

import {
  VIRTIO_BLK_CONFIG_MAX_ACTIVE_ZONES,
  VIRTIO_BLK_CONFIG_MAX_APPEND_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_OPEN_ZONES,
  VIRTIO_BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT,
  VIRTIO_BLK_CONFIG_SEG_MAX,
  VIRTIO_BLK_CONFIG_SIZE_MAX,
  VIRTIO_BLK_CONFIG_UNUSED2,
  VIRTIO_BLK_CONFIG_WRITE_GRANULARITY,
  VIRTIO_BLK_CONFIG_ZONE_SECTORS,
  VIRTIO_BLK_CONFIG_ZONED_MODEL,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_S_ZONE_INVALID_CMD,
  VIRTIO_BLK_S_ZONE_UNALIGNED_WP,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_BLK_Z_HA,
  VIRTIO_BLK_Z_HM,
  VIRTIO_BLK_Z_NONE,
  VIRTIO_BLK_ZS_EMPTY,
  VIRTIO_BLK_ZT_SWR,
} from "../../constants/blk.ts";
import {
  hasFeature,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_ZONED,
} from "../../constants/features.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { checkZeroBytes, readCapacity, skipUnlessOffered } from "../disk-io.ts";
import { ZonedDrive, zonedDisk } from "../zones.ts";

const ZONE_SECTORS = 256;
const SHORT_ZONE_SECTORS = 128;
const HOST_AWARE = zonedDisk({ model: "host-aware", zoneCapacitySectors: ZONE_SECTORS });
const LAST_ZONE_SHORT = { ...zonedDisk(), capacitySectors: 6 * ZONE_SECTORS + SHORT_ZONE_SECTORS };

/** The fields of `zoned`, by offset. */
const WORDS: readonly (readonly [string, number])[] = [
  ["zone_sectors", VIRTIO_BLK_CONFIG_ZONE_SECTORS],
  ["max_open_zones", VIRTIO_BLK_CONFIG_MAX_OPEN_ZONES],
  ["max_active_zones", VIRTIO_BLK_CONFIG_MAX_ACTIVE_ZONES],
  ["max_append_sectors", VIRTIO_BLK_CONFIG_MAX_APPEND_SECTORS],
  ["write_granularity", VIRTIO_BLK_CONFIG_WRITE_GRANULARITY],
];

/** Negotiates without ZONED, which the device must offer for that to mean something; whether FEATURES_OK stuck. */
async function refuseZoned(device: DeviceUnderTest): Promise<boolean> {
  skipUnlessOffered(device, VIRTIO_BLK_F_ZONED);
  await device.begin();
  device.acceptFeatures(device.chooseFeatures());
  return device.settleFeatures();
}

async function checkModel(device: DeviceUnderTest, expected: number): Promise<void> {
  await device.initialise();
  device.equal(device.registers.readConfig(VIRTIO_BLK_CONFIG_ZONED_MODEL, 1), expected, "model");
}

/** An append of a granule to an empty zone of a disk that takes none. */
async function checkNoAppend(device: DeviceUnderTest): Promise<void> {
  const drive = await ZonedDrive.open(device);
  device.skipUnless(drive.maxAppendSectors === 0, `max_append_sectors is ${drive.maxAppendSectors}, not 0`);
  const [zone] = await drive.find(1, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_EMPTY);
  const { status } = await drive.append(zone!.start, drive.granuleSectors);
  drive.checkStatus(status, VIRTIO_BLK_S_UNSUPP, "an append where max_append_sectors is 0");
  await drive.expectUnchanged(zone!, "after an append that is not supported");
}

/** A write at the write pointer whose end is no multiple of `write_granularity`. */
async function checkGranularity(device: DeviceUnderTest): Promise<void> {
  const drive = await ZonedDrive.open(device);
  device.skipUnless(drive.granuleSectors > 1, "write_granularity is a sector: every write is a multiple of it");
  const [zone] = await drive.find(1, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_EMPTY);
  for (const sectors of [1, drive.granuleSectors + 1]) {
    const status = await drive.write(zone!.start, sectors);
    const what = `a write of ${sectors} sectors with a write_granularity of ${drive.granularityBytes} bytes`;
    drive.checkStatus(status, VIRTIO_BLK_S_ZONE_UNALIGNED_WP, what);
    await drive.expectUnchanged(zone!, `after ${what}`);
  }
  await drive.writeWell(zone!.start, drive.granuleSectors);
  await drive.writeWell(zone!.start + drive.granuleSectors, 2 * drive.granuleSectors);
}

export const zonedConfigurationCases: readonly ConformanceCase[] = [
  conformanceCase("BLK-DEV-005", "does not offer ZONED with a disk without zones", (device) => {
    device.check(!hasFeature(device.readOffered(), VIRTIO_BLK_F_ZONED), "VIRTIO_BLK_F_ZONED is offered");
  }),

  conformanceCase(
    "BLK-DEV-007",
    "goes on without ZONED on a host-aware disk, with its fields 0",
    async (device) => {
      device.check(await refuseZoned(device), "FEATURES_OK does not stick without VIRTIO_BLK_F_ZONED");
      const fieldBytes = VIRTIO_BLK_CONFIG_ZONED_MODEL + 1 - VIRTIO_BLK_CONFIG_ZONE_SECTORS;
      checkZeroBytes(device, VIRTIO_BLK_CONFIG_ZONE_SECTORS, fieldBytes, "zoned, which was refused,");
    },
    HOST_AWARE,
  ),

  conformanceCase(
    "BLK-DEV-008",
    "does not go on without ZONED on a host-managed disk",
    async (device) => {
      device.check(!(await refuseZoned(device)), "FEATURES_OK sticks without VIRTIO_BLK_F_ZONED");
    },
    zonedDisk(),
  ),

  conformanceCase(
    "BLK-DEV-009",
    "tells a host-managed disk",
    (device) => checkModel(device, VIRTIO_BLK_Z_HM),
    zonedDisk(),
  ),

  conformanceCase(
    "BLK-DEV-009",
    "tells a host-aware disk",
    (device) => checkModel(device, VIRTIO_BLK_Z_HA),
    HOST_AWARE,
  ),

  conformanceCase("BLK-DEV-009", "tells a disk without zones, if it offers ZONED with it", (device) =>
    checkModel(device, VIRTIO_BLK_Z_NONE),
  ),

  conformanceCase(
    "BLK-DEV-010",
    "tells the size of its zones",
    async (device) => {
      const drive = await ZonedDrive.open(device);
      device.equal(drive.zoneSectors, ZONE_SECTORS, "zone_sectors");
      const zones = await drive.report();
      device.equal(zones.length, 7, "the number of zones in a report of all");
      for (const [i, zone] of zones.entries()) device.equal(zone.start, i * ZONE_SECTORS, `z_start of zone ${i}`);
    },
    zonedDisk(),
  ),

  conformanceCase(
    "BLK-DEV-011",
    "has no more in the last zone than there is of the disk",
    async (device) => {
      const drive = await ZonedDrive.open(device);
      const rest = Number(readCapacity(device) % BigInt(drive.zoneSectors));
      device.skipUnless(rest > 0, "the capacity is a multiple of zone_sectors");
      const last = (await drive.report()).at(-1);
      device.check(
        last !== undefined && last.capacity <= rest,
        `z_cap of the last zone is ${last?.capacity}, of ${rest}`,
      );
    },
    LAST_ZONE_SHORT,
  ),

  conformanceCase(
    "BLK-DEV-014",
    "tells the greatest append that can succeed",
    async (device) => {
      const drive = await ZonedDrive.open(device);
      device.equal(drive.maxAppendSectors, 60, "max_append_sectors");
      const [zone, other] = await drive.find(2, VIRTIO_BLK_ZT_SWR, VIRTIO_BLK_ZS_EMPTY);
      const greatest = 60 - (60 % drive.granuleSectors);
      const well = await drive.append(zone!.start, greatest);
      drive.checkStatus(well.status, VIRTIO_BLK_S_OK, `an append of ${greatest} sectors`);
      const more = await drive.append(other!.start, greatest + drive.granuleSectors);
      drive.checkStatus(
        more.status,
        VIRTIO_BLK_S_ZONE_INVALID_CMD,
        `an append of a granule more than ${greatest} sectors`,
      );
    },
    zonedDisk({ maxAppendSectors: 60 }),
  ),

  conformanceCase(
    "BLK-DEV-015",
    "allows no append that is longer than a request can be",
    async (device) => {
      const drive = await ZonedDrive.open(device, { features: [VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_SEG_MAX] });
      const { features } = drive.ring;
      const limited = hasFeature(features, VIRTIO_BLK_F_SIZE_MAX) && hasFeature(features, VIRTIO_BLK_F_SEG_MAX);
      device.skipUnless(limited, "VIRTIO_BLK_F_SIZE_MAX or VIRTIO_BLK_F_SEG_MAX is not offered");
      const sizeMax = device.registers.readConfig(VIRTIO_BLK_CONFIG_SIZE_MAX, 4);
      const segMax = device.registers.readConfig(VIRTIO_BLK_CONFIG_SEG_MAX, 4);
      const bytes = drive.maxAppendSectors * VIRTIO_BLK_SECTOR_BYTES;
      device.check(bytes <= sizeMax * segMax, `an append may have ${bytes} bytes, but a request ${sizeMax * segMax}`);
    },
    zonedDisk(),
  ),

  conformanceCase("BLK-DEV-016", "may support no append at all", checkNoAppend, zonedDisk({ maxAppendSectors: 0 })),

  conformanceCase(
    "BLK-DEV-066",
    "refuses all appends where it supports none",
    checkNoAppend,
    zonedDisk({ maxAppendSectors: 0 }),
  ),

  conformanceCase(
    "BLK-DEV-017",
    "tells the granularity of writes to sequential zones",
    async (device) => {
      await checkGranularity(device);
      device.equal(device.registers.readConfig(VIRTIO_BLK_CONFIG_WRITE_GRANULARITY, 4), 4096, "write_granularity");
    },
    zonedDisk(),
  ),

  conformanceCase("BLK-DEV-098", "refuses writes that end within a granule", checkGranularity, zonedDisk()),

  conformanceCase(
    "BLK-DEV-018",
    "has 0 in the padding of zoned",
    async (device) => {
      await device.initialise();
      checkZeroBytes(device, VIRTIO_BLK_CONFIG_UNUSED2, 3, "unused2");
    },
    zonedDisk(),
  ),

  conformanceCase(
    "BLK-DEV-032",
    "does not let the fields of zoned be written",
    async (device) => {
      await device.initialise();
      const { registers } = device;
      for (const [name, offset] of WORDS) {
        const before = registers.readConfig(offset, 4);
        registers.writeConfig(offset, before ^ 0x7fff_ffff, 4);
        device.equal(registers.readConfig(offset, 4), before, `${name} after something else was written`);
      }
      const model = registers.readConfig(VIRTIO_BLK_CONFIG_ZONED_MODEL, 1);
      registers.writeConfig(VIRTIO_BLK_CONFIG_ZONED_MODEL, 3 - model, 1);
      device.equal(registers.readConfig(VIRTIO_BLK_CONFIG_ZONED_MODEL, 1), model, "model after another was written");
    },
    zonedDisk({ maxOpenZones: 3, maxActiveZones: 4 }),
  ),

  conformanceCase(
    "BLK-DEV-075",
    "erases for good in multiples of zones",
    async (device) => {
      const drive = await ZonedDrive.open(device);
      const alignment = device.registers.readConfig(VIRTIO_BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT, 4);
      const what = `secure_erase_sector_alignment is ${alignment}, no multiple of zone_sectors, ${drive.zoneSectors}`;
      device.check(alignment % drive.zoneSectors === 0, what);
    },
    { ...zonedDisk(), secureErase: { maxSectors: 1024, maxSegments: 2, alignmentSectors: ZONE_SECTORS } },
  ),
];

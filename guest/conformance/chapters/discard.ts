// Discard, write zeroes and secure erase: VIRTIO 1.4 §5.2.6.

import {
  VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
  VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_SECURE_ERASE,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from "../../constants/blk.ts";
import {
  hasFeature,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from "../../constants/features.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { checkPattern, checkZeroes } from "../disk-io.ts";
import { writePattern } from "../patterns.ts";
import type { Ring } from "../ring.ts";
import { type Segment, segments } from "../segments.ts";

const UNMAP = 1;
const CAPACITY = 8192;
const SECURE_ERASE = { maxSectors: 2048, maxSegments: 2, alignmentSectors: 16 };
/** More segments than this no case sends at once, however many the device would take. */
const MANY_SEGMENTS = 1024;

/** A kind of request that carries segments. */
interface RangeKind {
  readonly name: string;
  readonly type: number;
  readonly feature: number;
  /** Where its `max_…_sectors` and `max_…_seg` are. */
  readonly limits: number;
  /** Its `…_sector_alignment` follows them. */
  readonly hasAlignment: boolean;
}

const DISCARD: RangeKind = {
  name: "discard",
  type: VIRTIO_BLK_T_DISCARD,
  feature: VIRTIO_BLK_F_DISCARD,
  limits: VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS,
  hasAlignment: true,
};
const WRITE_ZEROES: RangeKind = {
  name: "write zeroes",
  type: VIRTIO_BLK_T_WRITE_ZEROES,
  feature: VIRTIO_BLK_F_WRITE_ZEROES,
  limits: VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
  hasAlignment: false,
};
const ERASE: RangeKind = {
  name: "secure erase",
  type: VIRTIO_BLK_T_SECURE_ERASE,
  feature: VIRTIO_BLK_F_SECURE_ERASE,
  limits: VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SECTORS,
  hasAlignment: true,
};
const KINDS: readonly RangeKind[] = [DISCARD, WRITE_ZEROES, ERASE];

interface RangeLimits {
  readonly maxSectors: number;
  readonly maxSegments: number;
  readonly alignment: number;
}

function readLimits(device: DeviceUnderTest, { limits, hasAlignment }: RangeKind): RangeLimits {
  const field = (offset: number): number => device.registers.readConfig(limits + offset, 4);
  return { maxSectors: field(0), maxSegments: field(4), alignment: hasAlignment ? field(8) || 1 : 1 };
}

/** Initialises with every kind that is offered; those that were accepted. */
async function initialiseKinds(device: DeviceUnderTest): Promise<{ ring: Ring; kinds: readonly RangeKind[] }> {
  const ring = await device.initialise({ features: KINDS.map(({ feature }) => feature) });
  return { ring, kinds: KINDS.filter(({ feature }) => hasFeature(ring.features, feature)) };
}

async function send(
  device: DeviceUnderTest,
  ring: Ring,
  kind: RangeKind,
  ...list: readonly Segment[]
): Promise<number> {
  return (await device.execute(ring, { type: kind.type, out: segments(...list) })).status;
}

/** As many segments as the device says it takes, one behind another, as long as it says and the disk has room. */
async function checkLimits(device: DeviceUnderTest, kind: RangeKind): Promise<void> {
  const ring = await device.initialise();
  const { maxSectors, maxSegments, alignment } = readLimits(device, kind);
  device.skipUnless(
    maxSectors > 0 && maxSegments > 0,
    `the limits are ${maxSectors} sectors and ${maxSegments} segments`,
  );
  const count = Math.min(maxSegments, MANY_SEGMENTS);
  const room = Math.min(maxSectors, Math.floor(CAPACITY / count));
  const sectors = room - (room % alignment);
  device.skipUnless(sectors > 0, `${count} segments that are multiples of ${alignment} have no room on the disk`);
  const list = Array.from({ length: count }, (_, i) => ({ sector: i * sectors, sectors }));
  const status = await send(device, ring, kind, ...list);
  device.equal(status, VIRTIO_BLK_S_OK, `the status byte of a ${kind.name} of ${count} segments of ${sectors} sectors`);
}

/** Reserved flags make a request of this kind UNSUPP, wherever they are in it. */
async function checkReservedFlags(device: DeviceUnderTest, ring: Ring, kind: RangeKind): Promise<void> {
  const { alignment, maxSegments } = readLimits(device, kind);
  for (const flags of [0x2, 0x8000_0000]) {
    const what = `a ${kind.name} with flags 0x${flags.toString(16)}`;
    const status = await send(device, ring, kind, { sector: 0, sectors: alignment, flags });
    device.equal(status, VIRTIO_BLK_S_UNSUPP, `the status byte of ${what}`);
    if (maxSegments < 2) continue;
    const good = { sector: 0, sectors: alignment };
    const second = await send(device, ring, kind, good, { sector: alignment, sectors: alignment, flags });
    device.equal(second, VIRTIO_BLK_S_UNSUPP, `the status byte of ${what} in the second segment`);
  }
}

async function checkEveryKind(device: DeviceUnderTest): Promise<void> {
  const { ring, kinds } = await initialiseKinds(device);
  for (const kind of kinds) await checkReservedFlags(device, ring, kind);
}

/** Whether `write_zeroes_may_unmap` tells what the storage can do. */
async function checkMayUnmap(device: DeviceUnderTest, expected: number, storage: string): Promise<void> {
  await device.initialise();
  const mayUnmap = device.registers.readConfig(VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP, 1);
  device.equal(mayUnmap, expected, `write_zeroes_may_unmap, on storage that ${storage},`);
}

export const discardCases: readonly ConformanceCase[] = [
  conformanceCase("BLK-DEV-028", "takes discards up to the limits that it tells", (device) =>
    checkLimits(device, DISCARD),
  ),

  conformanceCase("BLK-DEV-029", "takes write zeroes up to the limits that it tells", (device) =>
    checkLimits(device, WRITE_ZEROES),
  ),

  conformanceCase(
    "BLK-DEV-030",
    "tells the limits of secure erases",
    async (device) => {
      await device.initialise();
      const { maxSectors, maxSegments, alignment } = readLimits(device, ERASE);
      device.equal(maxSectors, SECURE_ERASE.maxSectors, "max_secure_erase_sectors");
      device.equal(maxSegments, SECURE_ERASE.maxSegments, "max_secure_erase_seg");
      device.equal(alignment, SECURE_ERASE.alignmentSectors, "secure_erase_sector_alignment");
    },
    { secureErase: SECURE_ERASE },
  ),

  conformanceCase(
    "BLK-DEV-030",
    "takes secure erases up to the limits that it tells",
    (device) => checkLimits(device, ERASE),
    { secureErase: SECURE_ERASE },
  ),

  conformanceCase("BLK-DEV-039", "refuses reserved flags in segments", checkEveryKind),

  conformanceCase("BLK-DEV-039", "refuses reserved flags in segments of secure erases", checkEveryKind, {
    secureErase: SECURE_ERASE,
  }),

  conformanceCase("BLK-DEV-040", "refuses unmap in a discard", async (device) => {
    const ring = await device.initialise();
    const { alignment } = readLimits(device, DISCARD);
    const status = await send(device, ring, DISCARD, { sector: 0, sectors: alignment, flags: UNMAP });
    device.equal(status, VIRTIO_BLK_S_UNSUPP, "the status byte of a discard with unmap");
  }),

  conformanceCase("BLK-DEV-041", "discards what it is told and nothing else", async (device) => {
    const ring = await device.initialise();
    const { alignment, maxSectors } = readLimits(device, DISCARD);
    const unit = Math.ceil(8 / alignment) * alignment;
    device.skipUnless(unit <= Math.min(64, maxSectors), `the least discard is one of ${unit} sectors`);
    for (const i of [0, 1, 2]) await writePattern(device, ring, i * unit, unit);
    const status = await send(device, ring, DISCARD, { sector: unit, sectors: unit });
    device.equal(status, VIRTIO_BLK_S_OK, "the status byte of a discard");
    await checkPattern(device, ring, 0, unit);
    await checkPattern(device, ring, 2 * unit, unit);
  }),

  conformanceCase("BLK-DEV-043", "reads zeroes after write zeroes, with unmap or without", async (device) => {
    const ring = await device.initialise();
    for (const flags of [0, UNMAP]) {
      await writePattern(device, ring, 0, 24);
      const status = await send(device, ring, WRITE_ZEROES, { sector: 8, sectors: 8, flags });
      device.equal(status, VIRTIO_BLK_S_OK, `the status byte of a write zeroes with flags ${flags}`);
      await checkZeroes(device, ring, 8, 8);
      await checkPattern(device, ring, 0, 8);
      await checkPattern(device, ring, 16, 8);
    }
    // Less than any block but the protocol's own.
    await writePattern(device, ring, 0, 8);
    const status = await send(device, ring, WRITE_ZEROES, { sector: 3, sectors: 1, flags: UNMAP });
    device.equal(status, VIRTIO_BLK_S_OK, "the status byte of a write zeroes of one sector");
    await checkZeroes(device, ring, 3, 1);
    await checkPattern(device, ring, 0, 3);
    await checkPattern(device, ring, 4, 4);
  }),

  conformanceCase(
    "BLK-DEV-044",
    "says that write zeroes may unmap where it may",
    (device) => checkMayUnmap(device, 1, "gives room back"),
    { unmaps: true },
  ),

  conformanceCase(
    "BLK-DEV-044",
    "says that write zeroes may not unmap where it never does",
    (device) => checkMayUnmap(device, 0, "gives no room back"),
    { unmaps: false },
  ),

  conformanceCase("BLK-DEV-089", "carries out every segment of a request", async (device) => {
    const { ring, kinds } = await initialiseKinds(device);
    const several = kinds.filter((kind) => readLimits(device, kind).maxSegments >= 2);
    device.skipUnless(several.length > 0, "the device takes one segment in a request");
    for (const kind of several) {
      const unit = Math.ceil(8 / readLimits(device, kind).alignment) * readLimits(device, kind).alignment;
      device.skipUnless(unit <= 64, `the least segment is one of ${unit} sectors`);
      for (const i of [0, 1, 2, 3]) await writePattern(device, ring, i * unit, unit);
      const list = [1, 3].map((i) => ({ sector: i * unit, sectors: unit }));
      const status = await send(device, ring, kind, ...list);
      device.equal(status, VIRTIO_BLK_S_OK, `the status byte of a ${kind.name} of two segments`);
      // What a discard leaves is not defined, nor what a secure erase does.
      if (kind === WRITE_ZEROES) for (const { sector } of list) await checkZeroes(device, ring, sector, unit);
      for (const i of [0, 2]) await checkPattern(device, ring, i * unit, unit);
    }
  }),
];

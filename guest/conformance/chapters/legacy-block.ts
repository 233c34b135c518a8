// The block device through the legacy interface: VIRTIO 1.4 §5.2.4.1, §5.2.5.2 and §5.2.6.3. Its cache mode is examined with caches.

import {
  VIRTIO_BLK_CONFIG_CAPACITY,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_BARRIER,
  VIRTIO_BLK_T_FLUSH_OUT,
  VIRTIO_BLK_T_OUT,
} from "../../constants/blk.ts";
import { hasFeature, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_ZONED } from "../../constants/features.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { checkPattern, checkZeroes } from "../disk-io.ts";
import { pattern, writePattern } from "../patterns.ts";
import type { Ring } from "../ring.ts";
import { zonedDisk } from "../zones.ts";

/** 0x1_0203_0405 sectors: no two of its lower five bytes are the same. */
const TELLING_CAPACITY_SECTORS = 2 ** 32 + 0x0203_0405;
const ZONED = zonedDisk({ model: "host-aware" });

function checkNotZoned(device: DeviceUnderTest): void {
  device.check(!hasFeature(device.readOffered(), VIRTIO_BLK_F_ZONED), "a legacy device offers VIRTIO_BLK_F_ZONED");
}

/** Places in the order of completion of two writes, one with BARRIER, and two more, all made available while the disk stands still. */
interface BarrierRun {
  readonly earlier: readonly number[];
  readonly barrier: number;
  readonly later: readonly number[];
}

async function runBarrier(device: DeviceUnderTest, ring: Ring): Promise<BarrierRun> {
  device.skipUnless(device.host.holdRequests !== undefined, "the host cannot hold requests back");
  const release = await device.host.holdRequests!();
  const types = [
    VIRTIO_BLK_T_OUT,
    VIRTIO_BLK_T_OUT,
    VIRTIO_BLK_T_OUT + VIRTIO_BLK_T_BARRIER,
    VIRTIO_BLK_T_OUT,
    VIRTIO_BLK_T_OUT,
  ];
  const placed = types.map((type, i) => device.place(ring, { type, sector: 8 * i, out: pattern(8 * i, 1) }));
  ring.notify();
  await device.settle();
  await release();
  const order: number[] = [];
  while (order.length < placed.length) order.push((await device.nextUsed(ring)).id);
  const [first, second, barrier, third, fourth] = placed.map(({ id }) => order.indexOf(id)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  return { earlier: [first, second], barrier, later: [third, fourth] };
}

export const legacyBlockCases: readonly ConformanceCase[] = [
  conformanceCase("BLK-DEV-006", "does not offer ZONED to a legacy driver", checkNotZoned),

  conformanceCase("BLK-DEV-006", "does not offer ZONED to a legacy driver of a zoned disk", checkNotZoned, ZONED),

  conformanceCase(
    "BLK-DEV-031",
    "has configuration fields in the byte order of a legacy guest",
    async (device) => {
      await device.reset();
      const expected = [0, 0, 0, 1, 2, 3, 4, 5];
      for (const [i, byte] of expected.entries()) {
        const actual = device.registers.readConfig(VIRTIO_BLK_CONFIG_CAPACITY + i, 1);
        device.equal(actual, byte, `byte ${i} of capacity for a big-endian guest`);
      }
    },
    { bigEndian: true, capacitySectors: TELLING_CAPACITY_SECTORS },
  ),

  conformanceCase(
    "BLK-DEV-100",
    "takes headers in the byte order of a legacy guest",
    async (device) => {
      const ring = await device.initialise();
      await writePattern(device, ring, 6, 1);
      await checkPattern(device, ring, 6, 1);
      await checkZeroes(device, ring, 5, 1);
    },
    { bigEndian: true },
  ),

  conformanceCase("BLK-DEV-101", "takes FLUSH_OUT for FLUSH", async (device) => {
    const ring = await device.initialise({ features: [VIRTIO_BLK_F_FLUSH] });
    device.skipUnless(hasFeature(ring.features, VIRTIO_BLK_F_FLUSH), "VIRTIO_BLK_F_FLUSH is not offered");
    const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_FLUSH_OUT });
    device.equal(status, VIRTIO_BLK_S_OK, "the status byte of a request of type 5");
  }),

  conformanceCase(
    "BLK-DEV-102",
    "completes what came before a barrier first",
    async (device) => {
      const { earlier, barrier } = await runBarrier(device, await device.initialise({ ring: { size: 32 } }));
      const late = earlier.filter((place) => place > barrier).length;
      device.equal(late, 0, "the number of earlier requests that completed after the barrier");
    },
    { barrier: true },
  ),

  conformanceCase(
    "BLK-DEV-103",
    "begins nothing behind a barrier before it completes",
    async (device) => {
      const { barrier, later } = await runBarrier(device, await device.initialise({ ring: { size: 32 } }));
      const early = later.filter((place) => place < barrier).length;
      device.equal(early, 0, "the number of later requests that completed before the barrier");
    },
    { barrier: true },
  ),
];

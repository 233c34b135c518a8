// What cases about the block device do over and over: fields of the configuration, sectors there and back. VIRTIO 1.4 §5.2.

import {
  VIRTIO_BLK_CONFIG_CAPACITY,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_BLK_T_IN,
} from "../constants/blk.ts";
import { hasFeature } from "../constants/features.ts";
import type { DeviceUnderTest } from "./device-under-test.ts";
import { featureName } from "./feature-names.ts";
import { pattern } from "./patterns.ts";
import type { Ring } from "./ring.ts";

/** `capacity`, in units of 512 bytes. */
export function readCapacity(device: DeviceUnderTest): bigint {
  const low = device.registers.readConfig(VIRTIO_BLK_CONFIG_CAPACITY, 4);
  const high = device.registers.readConfig(VIRTIO_BLK_CONFIG_CAPACITY + 4, 4);
  return (BigInt(high) << 32n) | BigInt(low);
}

/** Ends the case as not looked at unless the device offers `feature`. */
export function skipUnlessOffered(device: DeviceUnderTest, feature: number): void {
  device.skipUnless(hasFeature(device.readOffered(), feature), `${featureName(feature)} is not offered`);
}

/** Fails the case unless `count` bytes of the configuration from `offset` on are 0. */
export function checkZeroBytes(device: DeviceUnderTest, offset: number, count: number, what: string): void {
  for (let i = 0; i < count; i++) device.equal(device.registers.readConfig(offset + i, 1), 0, `byte ${i} of ${what}`);
}

/** Reads sectors of 512 bytes. Fails the case when the device does not. */
export async function readSectors(
  device: DeviceUnderTest,
  ring: Ring,
  sector: number | bigint,
  sectors: number,
): Promise<Uint8Array> {
  const inBytes = VIRTIO_BLK_SECTOR_BYTES * sectors;
  const { status, data } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, sector, inBytes });
  device.equal(status, VIRTIO_BLK_S_OK, `the status byte of a read of ${sectors} sectors at ${sector}`);
  return data;
}

/** Reads sector 0, whatever it holds: the shortest way to see a queue at work. Fails the case when the device does not. */
export async function readSector(device: DeviceUnderTest, ring: Ring): Promise<void> {
  await readSectors(device, ring, 0, 1);
}

/** Fails the case unless these sectors hold their pattern: `writePattern` wrote them, and nobody after it. */
export async function checkPattern(
  device: DeviceUnderTest,
  ring: Ring,
  sector: number,
  sectors: number,
): Promise<void> {
  const data = await readSectors(device, ring, sector, sectors);
  const expected = pattern(sector, sectors);
  const wrong = data.findIndex((byte, i) => byte !== expected[i]);
  device.check(wrong < 0, `byte ${wrong} of ${sectors} sectors at ${sector} is not what was written there`);
}

/** Fails the case unless these sectors are zeroes. */
export async function checkZeroes(device: DeviceUnderTest, ring: Ring, sector: number, sectors: number): Promise<void> {
  const data = await readSectors(device, ring, sector, sectors);
  const wrong = data.findIndex((byte) => byte !== 0);
  device.check(wrong < 0, `byte ${wrong} of ${sectors} sectors at ${sector} is 0x${data[wrong]?.toString(16)}, not 0`);
}

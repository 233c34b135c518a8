// Data by which a sector is known.

import { VIRTIO_BLK_T_OUT } from "../constants/blk.ts";
import type { DeviceUnderTest } from "./device-under-test.ts";
import type { Ring } from "./ring.ts";

/** `sectors` sectors of 512 bytes that differ from those of any other place, and nowhere hold 0, 0x11 or 0xee alone. */
export function pattern(sector: number, sectors: number): Uint8Array {
  const bytes = new Uint8Array(512 * sectors);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 1 + ((31 * (sector + (i >> 9)) + 7 * (i & 511)) % 251);
  return bytes;
}

/** Writes the pattern of these sectors to the disk. Fails the case when the device does not. */
export async function writePattern(
  device: DeviceUnderTest,
  ring: Ring,
  sector: number,
  sectors: number,
): Promise<void> {
  const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_OUT, sector, out: pattern(sector, sectors) });
  device.equal(status, 0, `the status byte of a write of ${sectors} sectors at ${sector}`);
}

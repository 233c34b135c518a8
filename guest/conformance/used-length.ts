// Whether a device has written the bytes that it says it wrote: VIRTIO 1.4 §2.7.8.2, §2.8.4.

import { POISON, type RequestFields } from "./block-requests.ts";
import type { DeviceUnderTest } from "./device-under-test.ts";
import type { Ring } from "./ring.ts";

const OTHER_POISON = 0x11;

/**
 * Carries out `fields` twice, with two poisons in what the device may write. A byte that is the poison both times was not
 * written; none of those may be among the first `length` bytes, from the first writable one on.
 */
export async function checkUsedLength(device: DeviceUnderTest, ring: Ring, fields: RequestFields): Promise<void> {
  const first = await device.execute(ring, { ...fields, fill: POISON });
  const second = await device.execute(ring, { ...fields, fill: OTHER_POISON });
  const lengths = [first.length, second.length];
  if (lengths.includes(undefined)) return; // a packed ring's length is reserved where WRITE is not set
  const length = Math.max(...lengths.map((bytes) => bytes ?? 0));
  const writable = first.data.length + 1;
  device.check(length <= writable, `the used length is ${length}, with ${writable} writable bytes`);
  const a = [...first.data, first.status];
  const b = [...second.data, second.status];
  const untouched = a.findIndex((byte, i) => i < length && byte === POISON && b[i] === OTHER_POISON);
  const what = `request type ${fields.type} at sector ${fields.sector ?? 0} ends with status ${first.status}`;
  device.check(untouched < 0, `${what} and a used length of ${length}, but byte ${untouched} was not written`);
}

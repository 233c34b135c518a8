// Things that a driver must not do, done on purpose, so that the device has to react.

import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT } from "../constants/ring.ts";
import type { DeviceUnderTest } from "./device-under-test.ts";
import { availFlags, PackedRing } from "./packed-ring.ts";
import type { Ring } from "./ring.ts";
import { SplitRing } from "./split-ring.ts";

/**
 * Makes available what cannot be followed: in a split ring a head that is no descriptor (§2.7.6), in a packed one an indirect
 * table whose length is no multiple of a descriptor's (§2.8.7). Waits for what comes of it.
 */
export async function breakRing(device: DeviceUnderTest, ring: Ring): Promise<void> {
  if (ring instanceof SplitRing) {
    device.conversation.note(`ring ${ring.index}: head ${ring.size} is made available, which there is not`);
    ring.raw.publish(ring.size);
  } else if (ring instanceof PackedRing) {
    device.conversation.note(`ring ${ring.index}: an indirect table of 8 bytes is made available`);
    const flags = VIRTQ_DESC_F_INDIRECT | availFlags(ring.availWrap);
    ring.writeSlot(ring.nextSlot, { address: zeroedBuffer(device), lengthBytes: 8, id: 0, flags });
  }
  ring.notify();
  await device.settle();
}

/**
 * Makes available a list that does not end: in a split ring a descriptor that names itself as the next one (§2.7.5), in a
 * packed one a list longer than the ring, as its last slot names a next one too (§2.8.5). Waits for what comes of it.
 */
export async function offerEndlessList(device: DeviceUnderTest, ring: Ring): Promise<void> {
  const address = zeroedBuffer(device);
  if (ring instanceof SplitRing) {
    device.conversation.note(`ring ${ring.index}: descriptor 0, whose next is descriptor 0, is made available`);
    ring.raw.writeDescriptor(0, { address: Number(address), lengthBytes: 16, flags: VIRTQ_DESC_F_NEXT, next: 0 });
    ring.raw.publish(0);
  } else if (ring instanceof PackedRing) {
    device.conversation.note(`ring ${ring.index}: all ${ring.size} slots are made available, each with NEXT`);
    const flags = VIRTQ_DESC_F_NEXT | availFlags(ring.availWrap);
    for (let slot = ring.size - 1; slot >= 0; slot--) {
      ring.writeSlot(slot, { address, lengthBytes: 16, id: 0, flags });
    }
  }
  ring.notify();
  await device.settle();
}

function zeroedBuffer(device: DeviceUnderTest): bigint {
  const address = device.allocator.allocate(16);
  device.target.fillRam(address, 0, 16);
  return BigInt(address);
}

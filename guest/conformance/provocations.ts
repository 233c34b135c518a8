// Things that a driver must not do, done on purpose, so that the device has to react.

import { VIRTQ_DESC_F_NEXT } from "../constants/ring.ts";
import type { DeviceUnderTest } from "./device-under-test.ts";
import { availFlags, PackedRing } from "./packed-ring.ts";
import type { Ring } from "./ring.ts";
import { SplitRing } from "./split-ring.ts";

/**
 * Makes available what cannot be followed: in a split ring a head that is no descriptor (§2.7.6), in a packed one a list that is
 * longer than the ring, as its last slot names a next one too (§2.8.5). Waits for what comes of it.
 */
export async function breakRing(device: DeviceUnderTest, ring: Ring): Promise<void> {
  if (ring instanceof SplitRing) {
    device.conversation.note(`ring ${ring.index}: head ${ring.size} is made available, which there is not`);
    ring.raw.publish(ring.size);
  } else if (ring instanceof PackedRing) {
    device.conversation.note(`ring ${ring.index}: all ${ring.size} slots are made available, each with NEXT`);
    const buffer = device.allocator.allocate(16);
    device.target.fillRam(buffer, 0, 16);
    const flags = VIRTQ_DESC_F_NEXT | availFlags(ring.availWrap);
    for (let slot = ring.size - 1; slot >= 0; slot--) {
      ring.writeSlot(slot, { address: BigInt(buffer), lengthBytes: 16, id: 0, flags });
    }
  }
  ring.notify();
  await device.settle();
}

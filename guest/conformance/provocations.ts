// Things that a driver must not do, done on purpose, so that the device has to react.

import { VIRTQ_DESC_F_INDIRECT } from "../constants/ring.ts";
import type { DeviceUnderTest } from "./device-under-test.ts";
import { availFlags, PackedRing } from "./packed-ring.ts";
import type { Ring } from "./ring.ts";
import { SplitRing } from "./split-ring.ts";

/**
 * Makes an entry available that cannot be followed: in a split ring a head that is no descriptor (§2.7.6), in a packed one a
 * descriptor that points to an indirect table though INDIRECT_DESC was not negotiated (§2.8.7). Waits for what comes of it.
 */
export async function breakRing(device: DeviceUnderTest, ring: Ring): Promise<void> {
  if (ring instanceof SplitRing) {
    device.conversation.note(`ring ${ring.index}: head ${ring.size} is made available, which there is not`);
    ring.raw.publish(ring.size);
  } else if (ring instanceof PackedRing) {
    device.conversation.note(`ring ${ring.index}: an indirect table is made available, without INDIRECT_DESC`);
    const table = device.allocator.allocate(64);
    device.target.fillRam(table, 0, 64);
    const flags = VIRTQ_DESC_F_INDIRECT | availFlags(ring.availWrap);
    ring.writeSlot(ring.nextSlot, { address: BigInt(table), lengthBytes: 32, id: 0, flags });
  }
  ring.notify();
  await device.settle();
}

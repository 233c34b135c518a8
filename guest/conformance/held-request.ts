// A request that the host of the device holds back, so that a case can do something meanwhile.

import { VIRTIO_BLK_T_IN } from "../constants/blk.ts";
import type { PlacedRequest } from "./block-requests.ts";
import type { DeviceUnderTest } from "./device-under-test.ts";
import type { Ring } from "./ring.ts";

/** A request in flight. */
export interface HeldRequest {
  readonly placed: PlacedRequest;
  /** Lets it go on; resolves once the backend has finished it. */
  readonly release: () => Promise<void>;
}

/** Makes a read of one sector available and notifies of it; the host holds it back. Ends the case as skipped where it cannot. */
export async function holdOneRead(device: DeviceUnderTest, ring: Ring): Promise<HeldRequest> {
  device.skipUnless(device.host.holdRequests !== undefined, "the host cannot hold requests back");
  const release = await device.host.holdRequests!();
  const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
  ring.notify();
  await device.settle();
  device.skipUnless(ring.takeUsed() === undefined, "the host did not hold the request back");
  return { placed, release };
}

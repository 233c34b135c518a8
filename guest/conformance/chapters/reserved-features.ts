// Reserved feature bits: VIRTIO 1.4 §6.

import { VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import {
  hasFeature,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_SR_IOV,
  VIRTIO_F_VERSION_1,
} from "../../constants/features.ts";
import { VIRTIO_MMIO_INTERRUPT_USED_BUFFER } from "../../constants/mmio.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { holdOneRead } from "../held-request.ts";

/** Negotiates everything that the case wants but `feature`, and reads a sector if the device agrees to that. */
async function workWithout(device: DeviceUnderTest, feature: number): Promise<void> {
  await device.begin();
  const features = device.chooseFeatures({ without: [feature] });
  device.acceptFeatures(features);
  if (!device.settleFeatures()) return device.remark("refuses to work without it");
  const ring = device.setUpRing({ index: 0, size: 8 }, features);
  device.go();
  const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
  device.equal(status, 0, "the status byte of a read");
}

export const reservedFeatureCases: readonly ConformanceCase[] = [
  conformanceCase("RSVD-DEV-001", "offers VERSION_1", (device) => {
    device.check(hasFeature(device.readOffered(), VIRTIO_F_VERSION_1), "VIRTIO_F_VERSION_1 is not offered");
  }),

  conformanceCase("RSVD-DEV-002", "refuses to work without VERSION_1, or works", async (device) => {
    device.skipUnless(
      !device.legacy && !device.variant.packed,
      "a driver without VERSION_1 has a split ring and FEATURES_OK",
    );
    await workWithout(device, VIRTIO_F_VERSION_1);
  }),

  conformanceCase("RSVD-DEV-004", "refuses to work without ACCESS_PLATFORM, or works", async (device) => {
    const offered = hasFeature(device.readOffered(), VIRTIO_F_ACCESS_PLATFORM);
    device.skipUnless(offered, "VIRTIO_F_ACCESS_PLATFORM is not offered");
    await workWithout(device, VIRTIO_F_ACCESS_PLATFORM);
  }),

  conformanceCase("RSVD-DEV-005", "uses buffers in the order in which they were made available", async (device) => {
    const ring = await device.initialise({ ring: { size: 16 } });
    const sizes = [4096, 512, 1024];
    for (let round = 0; round < 8; round++) {
      const placed = sizes.map((inBytes) => device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes }));
      ring.notify();
      for (const request of placed) {
        const used = await device.nextUsed(ring);
        device.equal(used.id, request.id, "the id of the next used buffer");
        device.equal(device.collect(request, used.length).status, 0, "the status byte of a read");
      }
    }
  }),

  conformanceCase("RSVD-DEV-005", "holds back what is finished before its turn", async (device) => {
    const ring = await device.initialise({ ring: { size: 16 } });
    const { placed: slow, release } = await holdOneRead(device, ring);
    const fast = device.place(ring, { type: VIRTIO_BLK_T_GET_ID, inBytes: 20 });
    ring.notify();
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a request was used before the one that came before it");
    await release();
    for (const request of [slow, fast]) {
      const used = await device.nextUsed(ring);
      device.equal(used.id, request.id, "the id of the next used buffer");
      device.equal(device.collect(request, used.length).status, 0, "the status byte");
    }
  }),

  conformanceCase("RSVD-DEV-008", "does not offer SR_IOV", (device) => {
    device.skipUnless(!device.legacy, "a legacy device has 32 features");
    device.check(!hasFeature(device.readOffered(), VIRTIO_F_SR_IOV), "VIRTIO_F_SR_IOV is offered");
  }),

  conformanceCase("RSVD-DEV-009", "may offer NOTIFY_ON_EMPTY", (device) => {
    const offered = hasFeature(device.readOffered(), VIRTIO_F_NOTIFY_ON_EMPTY);
    device.remark(`VIRTIO_F_NOTIFY_ON_EMPTY is ${offered ? "" : "not "}offered`);
  }),

  conformanceCase("RSVD-DEV-010", "interrupts when the ring runs empty, wanted or not", async (device) => {
    const ring = await device.initialise();
    ring.setInterrupts(false);
    await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    await device.until(
      () => (device.registers.interruptStatus & VIRTIO_MMIO_INTERRUPT_USED_BUFFER) !== 0,
      "bit 0 of InterruptStatus is set once the ring has run empty",
    );
  }),

  conformanceCase("RSVD-DEV-011", "offers ANY_LAYOUT where it is transitional", (device) => {
    // No virtio-mmio device is transitional: one of Version 1 is a legacy device, which may have no such bit.
    const offered = hasFeature(device.readOffered(), VIRTIO_F_ANY_LAYOUT);
    device.remark(`VIRTIO_F_ANY_LAYOUT is ${offered ? "" : "not "}offered`);
  }),
];

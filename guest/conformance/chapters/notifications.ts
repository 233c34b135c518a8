// Notifications: VIRTIO 1.4 §2.3, §2.9 and §4.2.3.3.

import { VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import { VIRTIO_BLK_F_MQ } from "../../constants/features.ts";
import { VIRTIO_STATUS_DEVICE_NEEDS_RESET } from "../../constants/status.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import { readSector } from "../disk-io.ts";

export const notificationCases: readonly ConformanceCase[] = [
  conformanceCase(
    "NOTIF-DEV-001",
    "takes the value of QueueNotify for the index of a queue",
    async (device) => {
      await device.begin();
      const features = device.chooseFeatures({ features: [VIRTIO_BLK_F_MQ] });
      device.acceptFeatures(features);
      device.check(device.settleFeatures(), "FEATURES_OK does not stick");
      device.registers.queueSel = 1;
      device.skipUnless(device.registers.queueSizeMax > 0, "the device has one queue");
      const rings = [0, 1].map((index) => device.setUpRing({ index, size: 8 }, features));
      device.go();
      for (const ring of [...rings].reverse()) await readSector(device, ring);
    },
    { queues: 2 },
  ),

  conformanceCase(
    "NOTIF-DEV-002",
    "takes the queue from the low 16 bits of a notification with data",
    async (device) => {
      const ring = await device.initialise();
      await readSector(device, ring);
      await readSector(device, ring);
    },
  ),

  conformanceCase("NOTIF-DEV-003", "takes the same notification data several times", async (device) => {
    const ring = await device.initialise();
    const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    for (let i = 0; i < 3; i++) ring.notify();
    const { status } = await device.finish(ring, placed);
    device.equal(status, 0, "the status byte of the read");
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a second buffer was used, of one that was made available");
    const needsReset = device.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET;
    device.equal(needsReset, 0, "DEVICE_NEEDS_RESET after repeated notifications");
  }),
];

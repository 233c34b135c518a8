// Used buffer notifications of a split virtqueue: VIRTIO 1.4 §2.7.7.

import { VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import { VIRTQ_AVAIL_F_NO_INTERRUPT } from "../../constants/ring.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { checkNotified, checkSilent } from "../notified.ts";
import { SplitRing } from "../split-ring.ts";

async function initialiseSplit(device: DeviceUnderTest): Promise<SplitRing> {
  const ring = await device.initialise({ ring: { size: 32 } });
  if (!(ring instanceof SplitRing)) throw new Error("a case about split rings has another ring");
  return ring;
}

/** Carries out `count` reads that are made available at once. */
async function readBatch(device: DeviceUnderTest, ring: SplitRing, count: number): Promise<void> {
  const placed = Array.from({ length: count }, () => device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 }));
  ring.notify();
  for (const request of placed)
    device.equal((await device.finish(ring, request)).status, 0, "the status byte of a read");
}

export const splitNotificationCases: readonly ConformanceCase[] = [
  conformanceCase("SPLIT-DEV-016", "ignores used_event without EVENT_IDX", async (device) => {
    const ring = await initialiseSplit(device);
    ring.raw.usedEvent = 0x7fff;
    await readBatch(device, ring, 1);
    await checkNotified(device, "whatever used_event says");
  }),

  conformanceCase("SPLIT-DEV-017", "is silent when avail.flags asks for it", async (device) => {
    const ring = await initialiseSplit(device);
    ring.raw.availFlags = VIRTQ_AVAIL_F_NO_INTERRUPT;
    await readBatch(device, ring, 3);
    await checkSilent(device, "with NO_INTERRUPT in avail.flags");
  }),

  conformanceCase("SPLIT-DEV-018", "notifies when avail.flags is 0", async (device) => {
    const ring = await initialiseSplit(device);
    ring.raw.availFlags = 0;
    for (let i = 0; i < 3; i++) {
      await readBatch(device, ring, 1);
      await checkNotified(device, "with 0 in avail.flags");
    }
  }),

  conformanceCase("SPLIT-DEV-019", "ignores avail.flags with EVENT_IDX", async (device) => {
    const ring = await initialiseSplit(device);
    ring.raw.availFlags = VIRTQ_AVAIL_F_NO_INTERRUPT;
    ring.raw.usedEvent = ring.raw.usedIdx;
    await readBatch(device, ring, 1);
    await checkNotified(device, "whatever avail.flags says");
  }),

  conformanceCase("SPLIT-DEV-020", "notifies when the entry at used_event is used", async (device) => {
    const ring = await initialiseSplit(device);
    ring.raw.usedEvent = ring.raw.usedIdx;
    await readBatch(device, ring, 1);
    await checkNotified(device, "as the entry of used_event was used");
    ring.raw.usedEvent = ring.raw.usedIdx + 1;
    await readBatch(device, ring, 3);
    await checkNotified(device, "as a batch of three went past used_event");
  }),

  conformanceCase("SPLIT-DEV-021", "is silent until the entry at used_event is used", async (device) => {
    const ring = await initialiseSplit(device);
    ring.raw.usedEvent = ring.raw.usedIdx;
    await readBatch(device, ring, 1);
    await checkNotified(device, "as the entry of used_event was used");
    ring.raw.usedEvent = ring.raw.usedIdx + 5;
    for (let i = 0; i < 5; i++) {
      await readBatch(device, ring, 1);
      await checkSilent(device, `${5 - i} entries before used_event`);
    }
    await readBatch(device, ring, 1);
    await checkNotified(device, "as the entry of used_event was used");
  }),
];

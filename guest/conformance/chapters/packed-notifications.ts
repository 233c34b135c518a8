// Notifications of a packed virtqueue: VIRTIO 1.4 §2.8.10.

import { VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { checkNotified, checkSilent, forgetNotification } from "../notified.ts";
import { PACKED_EVENT_F_DISABLE, PACKED_EVENT_F_ENABLE, PackedRing } from "../packed-ring.ts";
import { RamWatch } from "../ram-watch.ts";

async function initialisePacked(device: DeviceUnderTest, size: number): Promise<PackedRing> {
  const ring = await device.initialise({ ring: { size } });
  if (!(ring instanceof PackedRing)) throw new Error("a case about packed rings has another ring");
  return ring;
}

/** Carries out `count` reads of two descriptors each, made available at once. */
async function readBatch(device: DeviceUnderTest, ring: PackedRing, count: number): Promise<void> {
  const read = { type: VIRTIO_BLK_T_IN, inBytes: 512, writablePieces: [513] };
  const placed = Array.from({ length: count }, () => device.place(ring, read));
  ring.notify();
  for (const request of placed)
    device.equal((await device.finish(ring, request)).status, 0, "the status byte of a read");
}

/** Flags of the area in which the device says when it wants to be notified. */
function deviceAreaFlags(device: DeviceUnderTest, ring: PackedRing): number {
  return device.target.readRam16(ring.deviceArea + 2);
}

export const packedNotificationCases: readonly ConformanceCase[] = [
  conformanceCase("PACK-DEV-020", "notifies when the driver area asks for it", async (device) => {
    const ring = await initialisePacked(device, 8);
    device.target.writeRam16(ring.driverArea + 2, PACKED_EVENT_F_ENABLE);
    for (let i = 0; i < 6; i++) {
      await readBatch(device, ring, 1);
      await checkNotified(device, "with flags 0 in the driver area");
    }
  }),

  conformanceCase("PACK-DEV-021", "notifies when the slot of the event is used", async (device) => {
    const ring = await initialisePacked(device, 8);
    ring.setEvent(4, 1);
    await readBatch(device, ring, 1); // slots 0 and 1
    await readBatch(device, ring, 1); // 2 and 3
    await forgetNotification(device); // that it is silent so far is another requirement's
    await readBatch(device, ring, 1); // 4 and 5
    await checkNotified(device, "as slot 4 was used");
    ring.setEvent(2, 0); // in the next lap
    await readBatch(device, ring, 1); // 6 and 7
    await forgetNotification(device);
    await readBatch(device, ring, 3); // 0 to 5: the batch goes past slot 2
    await checkNotified(device, "as a batch went past slot 2 of the next lap");
  }),

  conformanceCase("PACK-DEV-022", "asks for no event without EVENT_IDX", async (device) => {
    const ring = await initialisePacked(device, 8);
    for (let i = 0; i < 10; i++) {
      const flags = deviceAreaFlags(device, ring);
      device.check(
        flags === PACKED_EVENT_F_ENABLE || flags === PACKED_EVENT_F_DISABLE,
        `flags of the device area are ${flags}`,
      );
      await readBatch(device, ring, 1);
    }
  }),

  conformanceCase(
    "PACK-DEV-023",
    "does not write into the driver area, nor reserved bits into its own",
    async (device) => {
      const ring = await initialisePacked(device, 8);
      ring.setInterrupts(true);
      const watch = new RamWatch(device.target, ring.driverArea, 4);
      for (let i = 0; i < 10; i++) {
        await readBatch(device, ring, 1);
        device.check(watch.firstChange() === undefined, "the driver area changed");
        device.equal(deviceAreaFlags(device, ring) & 0xfffc, 0, "the reserved bits of the device area");
      }
    },
  ),

  conformanceCase("PACK-DEV-023", "finds buffers that its area says it need not be notified of", async (device) => {
    const ring = await initialisePacked(device, 8);
    for (let i = 0; i < 10; i++) {
      const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
      if (deviceAreaFlags(device, ring) !== PACKED_EVENT_F_DISABLE) ring.notify();
      device.equal((await device.finish(ring, placed)).status, 0, "the status byte of a read");
    }
  }),

  conformanceCase("PACK-DEV-024", "is silent when the driver area asks for it", async (device) => {
    const ring = await initialisePacked(device, 8);
    ring.setInterrupts(false);
    await readBatch(device, ring, 1);
    await readBatch(device, ring, 3);
    await checkSilent(device, "with flags 1 in the driver area");
  }),

  conformanceCase("PACK-DEV-025", "is silent for slots other than that of the event", async (device) => {
    const ring = await initialisePacked(device, 8);
    ring.setEvent(0, 1);
    await readBatch(device, ring, 1); // 0 and 1
    await checkNotified(device, "as slot 0 was used");
    ring.setEvent(4, 0); // slot 4 of the next lap
    for (const slots of ["2 and 3", "4 and 5", "6 and 7", "0 and 1 of the next lap", "2 and 3 of the next lap"]) {
      await readBatch(device, ring, 1);
      await checkSilent(device, `as slots ${slots} were used, with an event at slot 4 of the next lap`);
    }
    await readBatch(device, ring, 1);
    await checkNotified(device, "as slot 4 of the next lap was used");
  }),
];

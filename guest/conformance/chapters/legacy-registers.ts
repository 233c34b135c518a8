// The registers of a legacy virtio-mmio device: VIRTIO 1.4 §4.2.4.

import { VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { readSector } from "../disk-io.ts";
import type { Ring } from "../ring.ts";
import { LEGACY_GUEST_PAGE_SIZE, LEGACY_PAGE_BYTES, LEGACY_QUEUE_PFN, setUpLegacyRing } from "../ring-set-up.ts";

/** Brings the device to DRIVER_OK with a queue of other places than usual. */
async function initialiseWith(
  device: DeviceUnderTest,
  places: { pageBytes?: number; alignBytes?: number },
): Promise<Ring> {
  await device.begin();
  const features = device.chooseFeatures();
  device.acceptFeatures(features);
  const ring = setUpLegacyRing(device, 0, 8, features, places);
  device.go();
  return ring;
}

export const legacyRegisterCases: readonly ConformanceCase[] = [
  conformanceCase("MMIO-DEV-031", "is of version 1, with a page number for each queue", async (device) => {
    device.equal(device.registers.version, 1, "Version");
    await readSector(device, await device.initialise());
  }),

  conformanceCase("MMIO-DEV-032", "counts QueuePFN in units of GuestPageSize", async (device) => {
    await readSector(device, await initialiseWith(device, { pageBytes: 16384 }));
    await readSector(device, await initialiseWith(device, { pageBytes: LEGACY_PAGE_BYTES }));
  }),

  conformanceCase("MMIO-DEV-033", "shows the page number in use, and 0 once the queue is stopped", async (device) => {
    const ring = await device.initialise();
    const { registers } = device;
    registers.queueSel = 0;
    device.equal(
      registers.read(LEGACY_QUEUE_PFN),
      ring.descriptorArea / LEGACY_PAGE_BYTES,
      "QueuePFN of a queue in use",
    );
    registers.write(LEGACY_QUEUE_PFN, 0);
    device.equal(registers.read(LEGACY_QUEUE_PFN), 0, "QueuePFN after 0 was written");
    if (registers.status === 0) device.remark("writing 0 to QueuePFN resets the whole device");
    device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    ring.notify();
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a buffer was used of a queue that was stopped");
  }),

  conformanceCase("MMIO-DEV-034", "puts the used ring at the next multiple of QueueAlign", async (device) => {
    await readSector(device, await initialiseWith(device, { alignBytes: 64 }));
    await readSector(device, await initialiseWith(device, { alignBytes: 8192 }));
  }),

  conformanceCase("MMIO-DEV-035", "forgets the page numbers of its queues when it is reset", async (device) => {
    await device.initialise();
    await device.reset();
    device.registers.queueSel = 0;
    device.equal(device.registers.read(LEGACY_QUEUE_PFN), 0, "QueuePFN after a reset");
    device.registers.write(LEGACY_GUEST_PAGE_SIZE, LEGACY_PAGE_BYTES);
    await readSector(device, await device.initialise());
  }),
];

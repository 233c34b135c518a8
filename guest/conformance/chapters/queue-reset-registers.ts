// The register QueueReset: VIRTIO 1.4 §4.2.2.1.

import { VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import { VIRTIO_MMIO_QUEUE_RESET } from "../../constants/mmio.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { holdOneRead } from "../held-request.ts";
import type { Ring } from "../ring.ts";

function readQueueReset(device: DeviceUnderTest): number {
  return device.registers.read(VIRTIO_MMIO_QUEUE_RESET);
}

/** Carries out a read, then resets queue 0 and waits until that is over. */
async function useAndReset(device: DeviceUnderTest): Promise<Ring> {
  const ring = await device.initialise();
  await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
  device.registers.queueSel = 0;
  device.registers.write(VIRTIO_MMIO_QUEUE_RESET, 1);
  await device.until(() => readQueueReset(device) === 0, "QueueReset reads 0 after 1 was written");
  return ring;
}

export const queueResetRegisterCases: readonly ConformanceCase[] = [
  conformanceCase("MMIO-DEV-009", "shows QueueReset 0 after a device reset", async (device) => {
    await device.initialise();
    await device.reset();
    for (let index = 0; index < 4; index++) {
      device.registers.queueSel = index;
      device.equal(readQueueReset(device), 0, `QueueReset of queue ${index} after a device reset`);
    }
  }),

  conformanceCase("MMIO-DEV-010", "shows QueueReset 0 once the queue is ready again", async (device) => {
    const ring = await useAndReset(device);
    device.setUpRing({ index: 0, size: ring.size }, ring.features); // which has seen QueueReady read 1
    device.equal(readQueueReset(device), 0, "QueueReset of a queue that is ready again");
  }),

  conformanceCase("MMIO-DEV-011", "resets the queue when 1 is written to QueueReset", async (device) => {
    const ring = await useAndReset(device);
    const again = device.setUpRing({ index: 0, size: ring.size }, ring.features);
    const { status } = await device.execute(again, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    device.equal(status, 0, "the status byte of a read from the ring that was set up anew");
  }),

  conformanceCase("MMIO-DEV-012", "shows QueueReset 1 as long as the reset goes on", async (device) => {
    const ring = await device.initialise();
    const { release } = await holdOneRead(device, ring);
    device.registers.queueSel = 0;
    device.registers.write(VIRTIO_MMIO_QUEUE_RESET, 1);
    const first = readQueueReset(device);
    await release();
    if (first === 1) {
      await device.until(() => readQueueReset(device) === 0, "QueueReset reads 0 once the backend has finished");
      return device.remark("the reset of a queue waits for its requests");
    }
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a buffer was used after QueueReset read 0");
  }),

  conformanceCase("MMIO-DEV-013", "shows QueueReady 0 once QueueReset reads 0", async (device) => {
    await useAndReset(device);
    device.equal(device.registers.queueReady, 0, "QueueReady after the reset of the queue");
  }),
];

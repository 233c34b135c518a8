// Virtqueues as such, and the reset of one: VIRTIO 1.4 §2.6 and §2.6.1.

import { VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import { VIRTIO_MMIO_INTERRUPT_USED_BUFFER, VIRTIO_MMIO_QUEUE_RESET } from "../../constants/mmio.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { readSector } from "../disk-io.ts";
import { holdOneRead } from "../held-request.ts";
import { RamWatch } from "../ram-watch.ts";

/** Writes 1 to QueueReset of queue 0 and waits until it reads 0. */
async function resetQueue(device: DeviceUnderTest): Promise<void> {
  device.registers.queueSel = 0;
  device.registers.write(VIRTIO_MMIO_QUEUE_RESET, 1);
  await device.until(
    () => device.registers.read(VIRTIO_MMIO_QUEUE_RESET) === 0,
    "QueueReset reads 0 after 1 was written",
  );
}

export const queueResetCases: readonly ConformanceCase[] = [
  conformanceCase("VQ-DEV-001", "tells how many bytes it wrote", async (device) => {
    const ring = await device.initialise();
    const { status, length } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    device.equal(status, 0, "the status byte of a read");
    if (length === undefined)
      return device.remark("the WRITE flag of the used descriptor is not set, which reserves the length");
    device.check(length <= 513, `the used length of a read of one sector is ${length}, more than was writable`);
    if (length < 513) device.remark(`the used length of a read of one sector is ${length}`);
  }),

  conformanceCase("VQ-DEV-002", "uses each buffer once, in whatever order", async (device) => {
    const ring = await device.initialise({ ring: { size: 64 } });
    const sizes = [65536, 512, 4096, 512, 32768, 1024];
    const placed = sizes.map((inBytes) => device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes }));
    const waiting = new Set(placed.map(({ id }) => id));
    ring.notify();
    while (waiting.size > 0) {
      const { id } = await device.nextUsed(ring);
      device.check(waiting.delete(id), `the buffer ${id} was used twice, or never made available`);
    }
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a buffer was used that was not made available");
  }),

  conformanceCase("VQ-DEV-003", "works with a ring of the layout that was negotiated", async (device) => {
    await readSector(device, await device.initialise());
  }),

  conformanceCase("VQR-DEV-001", "carries out nothing from a queue that was reset", async (device) => {
    const ring = await device.initialise();
    await readSector(device, ring);
    await resetQueue(device);
    const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    const buffers = new RamWatch(device.target, placed.writableAddress, placed.writableBytes);
    ring.notify();
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a buffer of the queue was used after its reset");
    device.check(buffers.firstChange() === undefined, "the data or status bytes changed after the reset of the queue");
  }),

  conformanceCase("VQR-DEV-002", "sends no notification for a queue that was reset", async (device) => {
    const ring = await device.initialise();
    const { release } = await holdOneRead(device, ring);
    await resetQueue(device);
    device.registers.interruptAck = VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
    await release();
    await device.settle();
    const bit = device.registers.interruptStatus & VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
    device.equal(bit, 0, "bit 0 of InterruptStatus once the backend has finished what the queue held");
  }),

  conformanceCase("VQR-DEV-003", "begins anew with a queue that was reset", async (device) => {
    const ring = await device.initialise();
    for (let i = 0; i < 3; i++) await readSector(device, ring);
    await resetQueue(device);
    const again = device.setUpRing({ index: 0, size: ring.size }, ring.features);
    await readSector(device, again);
  }),

  conformanceCase("VQR-DEV-004", "takes another size and other addresses after a queue's reset", async (device) => {
    const ring = await device.initialise();
    await readSector(device, ring);
    await resetQueue(device);
    const smaller = device.setUpRing({ index: 0, size: 4 }, ring.features);
    for (let i = 0; i < 9; i++) await readSector(device, smaller);
  }),
];

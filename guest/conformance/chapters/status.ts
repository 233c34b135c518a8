// The device status field: VIRTIO 1.4 §2.1.

import { VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import { VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_ORDER_PLATFORM } from "../../constants/features.ts";
import { VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE, VIRTIO_MMIO_INTERRUPT_USED_BUFFER } from "../../constants/mmio.ts";
import { VIRTIO_STATUS_DEVICE_NEEDS_RESET } from "../../constants/status.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { holdOneRead } from "../held-request.ts";
import { breakRing, offerEndlessList } from "../provocations.ts";
import { RamWatch } from "../ram-watch.ts";
import type { Ring } from "../ring.ts";

/** Neither asking for a reset nor going on is to be stuck. */
async function checkNotStuck(device: DeviceUnderTest, ring: Ring, what: string): Promise<void> {
  if ((device.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) !== 0) return;
  const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
  ring.notify();
  await device.settle();
  let used = ring.takeUsed();
  while (used !== undefined && used.id !== placed.id) used = ring.takeUsed();
  device.check(used !== undefined, `the device neither sets DEVICE_NEEDS_RESET nor goes on after ${what}`);
}

export const statusCases: readonly ConformanceCase[] = [
  conformanceCase("STAT-DEV-001", "uses no available buffer before DRIVER_OK", async (device) => {
    const ring = await device.initialise({ driverOk: false });
    const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    const watch = new RamWatch(device.target, placed.writableAddress, placed.writableBytes);
    ring.notify();
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a buffer was used before DRIVER_OK");
    device.check(watch.firstChange() === undefined, "the data or status bytes changed before DRIVER_OK");
    device.go();
    ring.notify();
    const { status } = await device.finish(ring, placed);
    device.equal(status, 0, "the status byte of the same request after DRIVER_OK");
  }),

  conformanceCase("STAT-DEV-002", "sends no used buffer notification before DRIVER_OK", async (device) => {
    const ring = await device.initialise({ driverOk: false });
    device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    ring.notify();
    await device.settle();
    const { interruptStatus } = device.registers;
    device.equal(interruptStatus & VIRTIO_MMIO_INTERRUPT_USED_BUFFER, 0, "bit 0 of InterruptStatus before DRIVER_OK");
    device.check(!device.target.interruptRaised, "the interrupt line is raised before DRIVER_OK");
  }),

  conformanceCase("STAT-DEV-003", "asks for a reset when only a reset can help", async (device) => {
    const ring = await device.initialise({ features: [VIRTIO_F_INDIRECT_DESC] });
    await breakRing(device, ring);
    await checkNotStuck(device, ring, "a broken ring");
  }),

  conformanceCase("STAT-DEV-003", "asks for a reset when a list does not end", async (device) => {
    const ring = await device.initialise();
    await offerEndlessList(device, ring);
    await checkNotStuck(device, ring, "a list without an end");
  }),

  conformanceCase(
    "STAT-DEV-004",
    "tells of DEVICE_NEEDS_RESET by a configuration change notification",
    async (device) => {
      const ring = await device.initialise({ features: [VIRTIO_F_INDIRECT_DESC] });
      await breakRing(device, ring);
      const asks = (device.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) !== 0;
      device.skipUnless(asks, "the device does not set DEVICE_NEEDS_RESET for a broken ring");
      const configChange = device.registers.interruptStatus & VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE;
      device.equal(
        configChange,
        VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE,
        "bit 1 of InterruptStatus after DEVICE_NEEDS_RESET",
      );
      device.check(device.target.interruptRaised, "the interrupt line is low after DEVICE_NEEDS_RESET");
    },
  ),

  conformanceCase("STAT-DEV-005", "shows Status 0 after power-on", (device) => {
    device.equal(device.registers.status, 0, "Status before any write");
  }),

  conformanceCase("STAT-DEV-006", "reads back the bits that the driver set", async (device) => {
    await device.reset();
    for (const status of [1, 3]) {
      device.registers.status = status;
      device.equal(device.registers.status, status, `Status after ${status} was written`);
    }
    device.acceptFeatures(
      device.chooseFeatures({ features: [VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_ORDER_PLATFORM] }),
    );
    for (const status of [0x0b, 0x0f]) {
      device.registers.status = status;
      device.equal(device.registers.status, status, `Status after 0x${status.toString(16)} was written`);
    }
  }),

  conformanceCase("STAT-DEV-007", "keeps DEVICE_NEEDS_RESET until it is reset", async (device) => {
    const ring = await device.initialise({ features: [VIRTIO_F_INDIRECT_DESC] });
    await breakRing(device, ring);
    const status = device.registers.status;
    const asks = (status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) !== 0;
    device.skipUnless(asks, "the device does not set DEVICE_NEEDS_RESET for a broken ring");
    device.registers.status = status;
    const kept = device.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET;
    device.equal(kept, VIRTIO_STATUS_DEVICE_NEEDS_RESET, "DEVICE_NEEDS_RESET after Status was written as it was read");
    await device.reset();
  }),

  conformanceCase("STAT-DEV-008", "shows Status 0 once a reset is complete", async (device) => {
    await device.initialise();
    await device.reset();
  }),

  conformanceCase("STAT-DEV-007", "is as new after a reset that it asked for", async (device) => {
    const broken = await device.initialise({ features: [VIRTIO_F_INDIRECT_DESC] });
    await breakRing(device, broken);
    const ring = await device.initialise();
    const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    device.equal(status, 0, "the status byte of a read after the reset");
  }),

  conformanceCase("STAT-DEV-009", "sends no notification once Status reads 0", async (device) => {
    const ring = await device.initialise();
    const { release } = await holdOneRead(device, ring);
    device.registers.status = 0;
    await device.until(() => device.registers.status === 0, "Status reads 0 after a reset with a request in flight");
    await release();
    await device.settle();
    device.equal(device.registers.interruptStatus, 0, "InterruptStatus after the reset");
    device.check(!device.target.interruptRaised, "the interrupt line is raised after the reset");
  }),

  conformanceCase("STAT-DEV-010", "leaves rings and buffers alone once Status reads 0", async (device) => {
    const ring = await device.initialise();
    const { release } = await holdOneRead(device, ring);
    device.registers.status = 0;
    await device.until(() => device.registers.status === 0, "Status reads 0 after a reset with a request in flight");
    const { ramBase, ramSizeBytes } = device.target;
    const watched = Math.min(ramSizeBytes, 1 << 20);
    device.target.fillRam(ramBase, 0xa5, watched);
    const watch = new RamWatch(device.target, ramBase, watched);
    await release();
    await device.settle();
    const changed = watch.firstChange();
    device.check(changed === undefined, `a byte of RAM changed after the reset, at 0x${(changed ?? 0).toString(16)}`);
  }),
];

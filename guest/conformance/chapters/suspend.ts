// Suspending the device: VIRTIO 1.4 §3.4.

import { VIRTIO_BLK_CONFIG_WRITEBACK, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import { VIRTIO_BLK_F_FLUSH } from "../../constants/features.ts";
import { VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE, VIRTIO_MMIO_INTERRUPT_USED_BUFFER } from "../../constants/mmio.ts";
import {
  VIRTIO_STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_SUSPEND,
} from "../../constants/status.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { readCapacity, readSectors } from "../disk-io.ts";
import { holdOneRead } from "../held-request.ts";
import { RamWatch } from "../ram-watch.ts";

/** SUSPEND set and DRIVER_OK clear: the device is suspended; the other way round it runs. */
const BOTH: number = VIRTIO_STATUS_SUSPEND | VIRTIO_STATUS_DRIVER_OK;

function isSuspended(device: DeviceUnderTest): boolean {
  return (device.registers.status & BOTH) === VIRTIO_STATUS_SUSPEND;
}

function needsReset(device: DeviceUnderTest): boolean {
  return (device.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) !== 0;
}

/** Waits until `done` holds or the device wants a reset, which it may instead (§3.4.2); whether it does not. */
async function awaitUnlessBroken(device: DeviceUnderTest, done: () => boolean, what: string): Promise<boolean> {
  await device.until(() => done() || needsReset(device), what);
  return !needsReset(device);
}

/** Asks for suspension and waits for it; ends the case as skipped where the device wants a reset instead. */
async function suspend(device: DeviceUnderTest): Promise<void> {
  device.registers.status = device.registers.status | VIRTIO_STATUS_SUSPEND;
  const well = await awaitUnlessBroken(device, () => isSuspended(device), "Status has SUSPEND without DRIVER_OK");
  device.skipUnless(well, "the device sets DEVICE_NEEDS_RESET instead of suspending");
}

/** The same for going on. */
async function resume(device: DeviceUnderTest): Promise<void> {
  device.registers.status = device.registers.status | VIRTIO_STATUS_DRIVER_OK;
  const runs = (): boolean => (device.registers.status & BOTH) === VIRTIO_STATUS_DRIVER_OK;
  const well = await awaitUnlessBroken(device, runs, "Status has DRIVER_OK without SUSPEND");
  device.skipUnless(well, "the device sets DEVICE_NEEDS_RESET instead of going on");
}

function configChanged(device: DeviceUnderTest): boolean {
  return (device.registers.interruptStatus & VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE) !== 0;
}

/** Suspends the device and gives the disk another size meanwhile. */
async function resizeSuspended(device: DeviceUnderTest): Promise<void> {
  device.skipUnless(device.host.resize !== undefined, "the host cannot give the disk another size");
  await device.initialise();
  await suspend(device);
  await device.host.resize!(16384);
  await device.settle();
}

export const suspendCases: readonly ConformanceCase[] = [
  conformanceCase("SUSP-DEV-001", "takes no SUSPEND before it is initialised", async (device) => {
    const ring = await device.initialise({ driverOk: false });
    device.registers.status = device.registers.status | VIRTIO_STATUS_SUSPEND;
    await device.settle();
    device.equal(device.registers.status & VIRTIO_STATUS_SUSPEND, 0, "SUSPEND in Status before DRIVER_OK");
    device.go();
    const status = device.registers.status & (VIRTIO_STATUS_DEVICE_NEEDS_RESET | VIRTIO_STATUS_DRIVER_OK);
    device.equal(status, VIRTIO_STATUS_DRIVER_OK, "DRIVER_OK and DEVICE_NEEDS_RESET in Status after initialisation");
    await readSectors(device, ring, 0, 1);
  }),

  conformanceCase(
    "SUSP-DEV-002",
    "ignores what is written to the configuration while it is suspended",
    async (device) => {
      await device.initialise({ features: [VIRTIO_BLK_F_FLUSH] });
      const mode = device.registers.readConfig(VIRTIO_BLK_CONFIG_WRITEBACK, 1);
      await suspend(device);
      device.registers.writeConfig(VIRTIO_BLK_CONFIG_WRITEBACK, 1 - mode, 1);
      await resume(device);
      device.equal(device.registers.readConfig(VIRTIO_BLK_CONFIG_WRITEBACK, 1), mode, "writeback after going on");
    },
  ),

  conformanceCase("SUSP-DEV-003", "leaves rings and interrupts alone while it is suspended", async (device) => {
    const ring = await device.initialise();
    await readSectors(device, ring, 0, 1);
    await suspend(device);
    device.registers.interruptAck = VIRTIO_MMIO_INTERRUPT_USED_BUFFER | VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE;
    const capacity = readCapacity(device);
    const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    const buffers = new RamWatch(device.target, placed.writableAddress, placed.writableBytes);
    ring.notify();
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a buffer was used while the device is suspended");
    device.check(buffers.firstChange() === undefined, "the data or status bytes changed while the device is suspended");
    device.equal(device.registers.interruptStatus, 0, "InterruptStatus while the device is suspended");
    device.check(readCapacity(device) === capacity, "capacity changed while the device is suspended");
    await resume(device);
    ring.notify();
    const { status } = await device.finish(ring, placed);
    device.equal(status, VIRTIO_BLK_S_OK, "the status byte of the same request after going on");
  }),

  conformanceCase("SUSP-DEV-004", "tells of no configuration change while it is suspended", async (device) => {
    await resizeSuspended(device);
    device.check(!configChanged(device), "bit 1 of InterruptStatus is set while the device is suspended");
  }),

  conformanceCase("SUSP-DEV-005", "tells of a configuration change once it goes on", async (device) => {
    await resizeSuspended(device);
    await resume(device);
    await device.until(() => configChanged(device), "bit 1 of InterruptStatus is set after going on");
    device.equal(readCapacity(device), 16384n, "capacity after going on");
  }),

  conformanceCase("SUSP-DEV-006", "suspends when it is told, or wants a reset", async (device) => {
    await device.initialise();
    device.registers.status = device.registers.status | VIRTIO_STATUS_SUSPEND;
    const what = "Status has SUSPEND without DRIVER_OK, or DEVICE_NEEDS_RESET";
    const well = await awaitUnlessBroken(device, () => isSuspended(device), what);
    if (!well) device.remark("sets DEVICE_NEEDS_RESET instead of suspending");
  }),

  conformanceCase("SUSP-DEV-007", "goes on when it is told, or wants a reset", async (device) => {
    const ring = await device.initialise();
    await suspend(device);
    device.registers.status = device.registers.status | VIRTIO_STATUS_DRIVER_OK;
    const runs = (): boolean => (device.registers.status & BOTH) === VIRTIO_STATUS_DRIVER_OK;
    const what = "Status has DRIVER_OK without SUSPEND, or DEVICE_NEEDS_RESET";
    if (!(await awaitUnlessBroken(device, runs, what)))
      return device.remark("sets DEVICE_NEEDS_RESET instead of going on");
    await readSectors(device, ring, 0, 1);
  }),

  conformanceCase("SUSP-DEV-008", "finishes what it has begun before it is suspended", async (device) => {
    const ring = await device.initialise();
    const { placed, release } = await holdOneRead(device, ring);
    device.registers.status = device.registers.status | VIRTIO_STATUS_SUSPEND;
    await device.settle();
    const early = isSuspended(device);
    await release();
    device.check(!early, "Status shows that the device is suspended while a request is under way");
    const well = await awaitUnlessBroken(device, () => isSuspended(device), "Status has SUSPEND without DRIVER_OK");
    device.skipUnless(well, "the device sets DEVICE_NEEDS_RESET instead of suspending");
    const used = ring.takeUsed();
    device.check(used?.id === placed.id, "the request that was under way is not used once the device is suspended");
    const bit = device.registers.interruptStatus & VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
    device.equal(bit, VIRTIO_MMIO_INTERRUPT_USED_BUFFER, "bit 0 of InterruptStatus once the device is suspended");
  }),
];

// Whether a device has notified the driver of used buffers: VIRTIO 1.4 §2.3, §4.2.3.4.

import { VIRTIO_MMIO_INTERRUPT_USED_BUFFER } from "../constants/mmio.ts";
import type { DeviceUnderTest } from "./device-under-test.ts";

/** Waits for a used buffer notification and acknowledges it. Fails the case when none comes. */
export async function checkNotified(device: DeviceUnderTest, why: string): Promise<void> {
  const bit = VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
  await device.until(() => (device.registers.interruptStatus & bit) !== 0, `bit 0 of InterruptStatus is set, ${why}`);
  device.registers.interruptAck = bit;
}

/** Fails the case when the device has notified, or does so soon. */
export async function checkSilent(device: DeviceUnderTest, why: string): Promise<void> {
  await device.settle();
  const bit = device.registers.interruptStatus & VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
  device.equal(bit, 0, `bit 0 of InterruptStatus, ${why},`);
}

/** Acknowledges a notification that may have come: whether it should have is another requirement's. */
export async function forgetNotification(device: DeviceUnderTest): Promise<void> {
  await device.settle();
  device.registers.interruptAck = VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
}

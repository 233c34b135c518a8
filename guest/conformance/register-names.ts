// Registers by name, for reports: VIRTIO 1.4 §4.2.2, and those of the legacy interface, §4.2.4.

import * as mmio from "../constants/mmio.ts";

const NAMES: ReadonlyMap<number, string> = new Map([
  [mmio.VIRTIO_MMIO_MAGIC_VALUE, "MagicValue"],
  [mmio.VIRTIO_MMIO_VERSION, "Version"],
  [mmio.VIRTIO_MMIO_DEVICE_ID, "DeviceID"],
  [mmio.VIRTIO_MMIO_VENDOR_ID, "VendorID"],
  [mmio.VIRTIO_MMIO_DEVICE_FEATURES, "DeviceFeatures"],
  [mmio.VIRTIO_MMIO_DEVICE_FEATURES_SEL, "DeviceFeaturesSel"],
  [mmio.VIRTIO_MMIO_DRIVER_FEATURES, "DriverFeatures"],
  [mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, "DriverFeaturesSel"],
  [0x028, "GuestPageSize"],
  [mmio.VIRTIO_MMIO_QUEUE_SEL, "QueueSel"],
  [mmio.VIRTIO_MMIO_QUEUE_SIZE_MAX, "QueueSizeMax"],
  [mmio.VIRTIO_MMIO_QUEUE_SIZE, "QueueSize"],
  [0x03c, "QueueAlign"],
  [0x040, "QueuePFN"],
  [mmio.VIRTIO_MMIO_QUEUE_READY, "QueueReady"],
  [mmio.VIRTIO_MMIO_QUEUE_NOTIFY, "QueueNotify"],
  [mmio.VIRTIO_MMIO_INTERRUPT_STATUS, "InterruptStatus"],
  [mmio.VIRTIO_MMIO_INTERRUPT_ACK, "InterruptACK"],
  [mmio.VIRTIO_MMIO_STATUS, "Status"],
  [mmio.VIRTIO_MMIO_QUEUE_DESC_LOW, "QueueDescLow"],
  [mmio.VIRTIO_MMIO_QUEUE_DESC_HIGH, "QueueDescHigh"],
  [mmio.VIRTIO_MMIO_QUEUE_DRIVER_LOW, "QueueDriverLow"],
  [mmio.VIRTIO_MMIO_QUEUE_DRIVER_HIGH, "QueueDriverHigh"],
  [mmio.VIRTIO_MMIO_QUEUE_DEVICE_LOW, "QueueDeviceLow"],
  [mmio.VIRTIO_MMIO_QUEUE_DEVICE_HIGH, "QueueDeviceHigh"],
  [mmio.VIRTIO_MMIO_SHM_SEL, "SHMSel"],
  [mmio.VIRTIO_MMIO_SHM_LEN_LOW, "SHMLenLow"],
  [mmio.VIRTIO_MMIO_SHM_LEN_HIGH, "SHMLenHigh"],
  [mmio.VIRTIO_MMIO_SHM_BASE_LOW, "SHMBaseLow"],
  [mmio.VIRTIO_MMIO_SHM_BASE_HIGH, "SHMBaseHigh"],
  [mmio.VIRTIO_MMIO_QUEUE_RESET, "QueueReset"],
  [mmio.VIRTIO_MMIO_CONFIG_GENERATION, "ConfigGeneration"],
]);

/** The standard's name of the register at `offset`; `Config+0x..` from 0x100 on, the bare offset where there is none. */
export function registerName(offset: number): string {
  if (offset >= mmio.VIRTIO_MMIO_CONFIG) return `Config+0x${(offset - mmio.VIRTIO_MMIO_CONFIG).toString(16)}`;
  return NAMES.get(offset) ?? `0x${offset.toString(16).padStart(3, "0")}`;
}

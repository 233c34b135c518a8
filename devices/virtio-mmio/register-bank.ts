// What the two versions of the register bank have in common towards the bus: VIRTIO 1.4 §4.2.2 and §4.2.4.

import { featureWord } from "../virtio-features.ts";
import type { MmioTransport } from "./mmio-transport.ts";
import {
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTIO_MMIO_QUEUE_SIZE_MAX,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VENDOR_ID,
} from "./registers.ts";

const MAGIC_VALUE = 0x7472_6976; // "virt"
const VENDOR_ID = 0x554d_4551; // "QEMU": xv6 looks for it

/** The registers of one version, 32 bits each. What they do not know reads as 0, and has no effect. */
export interface RegisterBank {
  read(offset: number): number;
  /** `value` is unsigned. QueueNotify comes here only when `MmioTransport.notifyQueue` did not take it. */
  write(offset: number, value: number): void;
  /** The driver may write the configuration now. */
  readonly configWritable: boolean;
  /** Everything as after power-on. */
  powerOn(): void;
}

/** The selectors of both versions. */
export interface Selectors {
  deviceFeaturesSel: number;
  driverFeaturesSel: number;
  /** Any 32 bits: it may name a queue that is not there. */
  queueSel: number;
}

// @virtio MMIO-DEV-001 MMIO-DEV-014 MMIO-DEV-015 MMIO-DEV-016 MMIO-DEV-019
/** Reads a register that both versions have; undefined where `offset` is none of them. */
export function readSharedRegister(transport: MmioTransport, selectors: Selectors, offset: number): number | undefined {
  switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
      return MAGIC_VALUE;
    case VIRTIO_MMIO_DEVICE_ID:
      return transport.deviceId;
    case VIRTIO_MMIO_VENDOR_ID:
      return VENDOR_ID;
    case VIRTIO_MMIO_DEVICE_FEATURES:
      return featureWord(transport.offeredFeatures, selectors.deviceFeaturesSel);
    case VIRTIO_MMIO_QUEUE_SIZE_MAX:
      return transport.queueSizesMax[selectors.queueSel] ?? 0;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
      return transport.interruptStatus;
    case VIRTIO_MMIO_STATUS:
      return transport.status;
    default:
      return undefined;
  }
}

/** Writes a register that both versions take in the same way; false where `offset` is none of them. */
export function writeSharedRegister(
  transport: MmioTransport,
  selectors: Selectors,
  offset: number,
  value: number,
): boolean {
  switch (offset) {
    case VIRTIO_MMIO_INTERRUPT_ACK:
      transport.acknowledgeInterrupt(value);
      return true;
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
      selectors.deviceFeaturesSel = value;
      return true;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
      selectors.driverFeaturesSel = value;
      return true;
    case VIRTIO_MMIO_QUEUE_SEL:
      selectors.queueSel = value;
      return true;
    default:
      return false;
  }
}

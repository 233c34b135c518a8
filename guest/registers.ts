// The registers of a virtio-mmio device by name, read and written without any check: VIRTIO 1.4 §4.2.2.

import type { AccessWidth } from "../src/memory/bus.ts";
import {
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_GUEST_PAGE_SIZE,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_QUEUE_ALIGN,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_PFN,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_RESET,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTIO_MMIO_QUEUE_SIZE,
  VIRTIO_MMIO_QUEUE_SIZE_MAX,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VENDOR_ID,
  VIRTIO_MMIO_VERSION,
} from "./constants/mmio.ts";
import type { GuestTarget } from "./target.ts";

/**
 * One access per call, 32 bits wide unless said, in the standard's names. Nothing is remembered and nothing refused: a register
 * is read if the script reads it, in whatever state the device is.
 */
export class VirtioMmioRegisters {
  readonly #target: GuestTarget;

  constructor(target: GuestTarget) {
    this.#target = target;
  }

  /** Any access at all: `width` bytes at `offset`. */
  read(offset: number, width: AccessWidth = 4): number {
    return this.#target.readRegister(offset, width);
  }

  write(offset: number, value: number, width: AccessWidth = 4): void {
    this.#target.writeRegister(offset, value, width);
  }

  get magicValue(): number {
    return this.read(VIRTIO_MMIO_MAGIC_VALUE);
  }

  get version(): number {
    return this.read(VIRTIO_MMIO_VERSION);
  }

  get deviceId(): number {
    return this.read(VIRTIO_MMIO_DEVICE_ID);
  }

  get vendorId(): number {
    return this.read(VIRTIO_MMIO_VENDOR_ID);
  }

  /** Word `deviceFeaturesSel` of the features that the device offers. */
  get deviceFeatures(): number {
    return this.read(VIRTIO_MMIO_DEVICE_FEATURES);
  }

  set deviceFeaturesSel(word: number) {
    this.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
  }

  /** Word `driverFeaturesSel` of the features that the driver accepts. */
  set driverFeatures(bits: number) {
    this.write(VIRTIO_MMIO_DRIVER_FEATURES, bits);
  }

  set driverFeaturesSel(word: number) {
    this.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
  }

  /** The queue that the following queue registers are about. */
  set queueSel(index: number) {
    this.write(VIRTIO_MMIO_QUEUE_SEL, index);
  }

  get queueSizeMax(): number {
    return this.read(VIRTIO_MMIO_QUEUE_SIZE_MAX);
  }

  set queueSize(size: number) {
    this.write(VIRTIO_MMIO_QUEUE_SIZE, size);
  }

  get queueReady(): number {
    return this.read(VIRTIO_MMIO_QUEUE_READY);
  }

  set queueReady(ready: number) {
    this.write(VIRTIO_MMIO_QUEUE_READY, ready);
  }

  set queueNotify(index: number) {
    this.write(VIRTIO_MMIO_QUEUE_NOTIFY, index);
  }

  get interruptStatus(): number {
    return this.read(VIRTIO_MMIO_INTERRUPT_STATUS);
  }

  set interruptAck(bits: number) {
    this.write(VIRTIO_MMIO_INTERRUPT_ACK, bits);
  }

  get status(): number {
    return this.read(VIRTIO_MMIO_STATUS);
  }

  set status(bits: number) {
    this.write(VIRTIO_MMIO_STATUS, bits);
  }

  /** QueueDescLow and QueueDescHigh: two accesses, the low half first, as for the other two areas. */
  set queueDesc(address: number | bigint) {
    this.#write64(VIRTIO_MMIO_QUEUE_DESC_LOW, address);
  }

  set queueDriver(address: number | bigint) {
    this.#write64(VIRTIO_MMIO_QUEUE_DRIVER_LOW, address);
  }

  set queueDevice(address: number | bigint) {
    this.#write64(VIRTIO_MMIO_QUEUE_DEVICE_LOW, address);
  }

  /** 1 while the selected queue is being reset: §2.6.1. */
  get queueReset(): number {
    return this.read(VIRTIO_MMIO_QUEUE_RESET);
  }

  set queueReset(reset: number) {
    this.write(VIRTIO_MMIO_QUEUE_RESET, reset);
  }

  /** Version 1: bytes of the page that `queuePfn` counts in. */
  set guestPageSize(bytes: number) {
    this.write(VIRTIO_MMIO_GUEST_PAGE_SIZE, bytes);
  }

  /** Version 1: alignment of the used ring, in bytes. */
  set queueAlign(bytes: number) {
    this.write(VIRTIO_MMIO_QUEUE_ALIGN, bytes);
  }

  /** Version 1: the page where the selected queue begins, 0 when it is not in use. */
  get queuePfn(): number {
    return this.read(VIRTIO_MMIO_QUEUE_PFN);
  }

  set queuePfn(page: number) {
    this.write(VIRTIO_MMIO_QUEUE_PFN, page);
  }

  get configGeneration(): number {
    return this.read(VIRTIO_MMIO_CONFIG_GENERATION);
  }

  /** `width` bytes of the device configuration space, `offset` counted from its start. */
  readConfig(offset: number, width: AccessWidth): number {
    return this.read(VIRTIO_MMIO_CONFIG + offset, width);
  }

  writeConfig(offset: number, value: number, width: AccessWidth): void {
    this.write(VIRTIO_MMIO_CONFIG + offset, value, width);
  }

  #write64(offset: number, value: number | bigint): void {
    const whole = BigInt(value);
    this.write(offset, Number(whole & 0xffff_ffffn));
    this.write(offset + 4, Number((whole >> 32n) & 0xffff_ffffn));
  }
}

// The state of a virtio-mmio device that its two register banks share: VIRTIO 1.4 §2.1, §2.4, §4.2.3.

import { assert } from "../../src/base/assert.ts";
import { tracePoint } from "../../src/base/trace.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import type { InterruptLine } from "../../src/memory/interrupt-line.ts";
import { type RegisterMistake, type RingMistake, traceGuestError } from "../guest-mistake.ts";
import type { VirtioDevice, VirtioTransport } from "../virtio-device.ts";
import {
  featureSet,
  hasFeature,
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_ADMIN_VQ,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_NOTIF_CONFIG_DATA,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_SR_IOV,
} from "../virtio-features.ts";
import { createVirtqueue } from "../virtqueue/create-virtqueue.ts";
import { type QueueAreas, queueLayout } from "./queue-areas.ts";

const INTERRUPT_USED_BUFFER = 1;
const INTERRUPT_CONFIG_CHANGE = 2;
const MAX_QUEUES = 1024;

/** What a driver may set. DEVICE_NEEDS_RESET is the device's own. */
const DRIVER_STATUS_BITS =
  VIRTIO_CONFIG_S_ACKNOWLEDGE |
  VIRTIO_CONFIG_S_DRIVER |
  VIRTIO_CONFIG_S_DRIVER_OK |
  VIRTIO_CONFIG_S_FEATURES_OK |
  VIRTIO_CONFIG_S_FAILED;

/** Reserved, or of other transports: §4.2.5, §6. */
const NOT_ON_MMIO = featureSet(30, VIRTIO_F_SR_IOV, VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_ADMIN_VQ);

const traceInterrupt = tracePoint("virtio_mmio_setting_irq");
const traceStatus = tracePoint("virtio_set_status");

/**
 * Between a register bank and its device.
 *
 *   reset ──negotiate──▶ features settled ──go──▶ running ──a broken ring, FAILED──▶ stopped
 *   any ──reset──▶ reset
 *
 * A queue is enabled and stopped in any of these; it is used only while running. The interrupt line follows InterruptStatus and
 * nothing else: raised while any bit is set. Whoever listens to it may come back within any call that changes it, so that such
 * a change is the last thing that a call does.
 */
export class MmioTransport implements VirtioTransport {
  readonly memory: GuestMemory;
  readonly legacy: boolean;
  readonly bigEndian: boolean;
  /** What this version offers of what the device does; the same between two resets. */
  readonly offeredFeatures: bigint;
  readonly #device: VirtioDevice;
  readonly #line: InterruptLine;
  readonly #enabled: boolean[];
  #status = 0;
  #interruptStatus = 0;
  #configGeneration = 0;
  /** A ring is broken: only a reset helps. */
  #broken = false;
  /** `go` was called, and nothing has stopped it: the one thing that a notification looks at. */
  #running = false;
  /** The bits of QueueNotify that name the queue. */
  #notifyMask = -1;

  constructor(options: {
    device: VirtioDevice;
    memory: GuestMemory;
    line: InterruptLine;
    legacy: boolean;
    bigEndian: boolean;
  }) {
    const { device, legacy } = options;
    this.memory = options.memory;
    this.legacy = legacy;
    this.bigEndian = options.bigEndian;
    this.#device = device;
    this.#line = options.line;
    device.attach(this);
    assert(device.queueSizesMax.length <= MAX_QUEUES, "virtio-mmio: more than 1024 queues");
    this.#enabled = device.queueSizesMax.map(() => false);
    this.offeredFeatures = legacy ? legacyFeatures(device.offeredFeatures) : device.offeredFeatures;
    assert((this.offeredFeatures & NOT_ON_MMIO) === 0n, "virtio-mmio: offers a feature of another transport");
  }

  get deviceId(): number {
    return this.#device.deviceId;
  }

  get queueSizesMax(): readonly number[] {
    return this.#device.queueSizesMax;
  }

  get status(): number {
    return this.#status;
  }

  get interruptStatus(): number {
    return this.#interruptStatus;
  }

  get configGeneration(): number {
    return this.#configGeneration;
  }

  /** The device takes no more buffers until it is reset. */
  get stopped(): boolean {
    return this.#broken || (this.#status & VIRTIO_CONFIG_S_FAILED) !== 0;
  }

  notifyUsedBuffers(): void {
    this.#setInterruptStatus(this.#interruptStatus | INTERRUPT_USED_BUFFER);
  }

  // @virtio INIT-DEV-003 MMIO-DEV-007 MMIO-DEV-027 BLK-DEV-036
  notifyConfigChange(): void {
    this.#configGeneration = (this.#configGeneration + 1) >>> 0;
    if (this.#driverOk) this.#setInterruptStatus(this.#interruptStatus | INTERRUPT_CONFIG_CHANGE);
  }

  // @virtio STAT-DEV-003 STAT-DEV-004 STAT-DEV-007
  requireReset(mistake: RingMistake, usedBuffers: boolean): void {
    traceGuestError(mistake, this.#status);
    this.#broken = true;
    this.#stopAll();
    const usedBuffer = usedBuffers ? INTERRUPT_USED_BUFFER : 0;
    let configChange = 0;
    // A legacy driver knows no DEVICE_NEEDS_RESET: its device falls silent.
    if (!this.legacy) {
      this.#status |= VIRTIO_CONFIG_S_NEEDS_RESET;
      if (this.#driverOk) configChange = INTERRUPT_CONFIG_CHANGE; // §2.1.2
    }
    this.#setInterruptStatus(this.#interruptStatus | configChange | usedBuffer);
  }

  /**
   * QueueNotify; false, and no effect, unless the device runs and the queue is enabled.
   *
   * What NOTIFICATION_DATA says besides, how far the ring has come, is a hint that may lie: the ring is looked at in RAM.
   */
  // @virtio MMIO-DEV-021 NOTIF-DEV-001 NOTIF-DEV-002 NOTIF-DEV-003 STAT-DEV-001 STAT-DEV-002 INIT-DEV-004
  notifyQueue(value: number): boolean {
    const index = value & this.#notifyMask; // negative where a queue of 2^31 or more is named, which is not there
    if (!this.#running || this.#enabled[index] !== true) return false;
    this.#device.notifyQueue(index);
    return true;
  }

  // @virtio MMIO-DEV-003 MMIO-DEV-022
  acknowledgeInterrupt(bits: number): void {
    this.#setInterruptStatus(this.#interruptStatus & ~bits);
  }

  /**
   * A write to Status, other than 0: bits are added, never taken back. ACKNOWLEDGE, DRIVER and FAILED take effect here; of the
   * others, those that were not set before are returned, and `setStatus` sets them.
   */
  // @virtio STAT-DEV-006 STAT-DEV-007
  writeStatus(value: number): number {
    if (traceStatus.enabled) traceStatus.emit({ value });
    if ((this.#status & ~value & DRIVER_STATUS_BITS) !== 0) this.misuse("StatusBitsCleared", value); // §2.1.1
    const foreign = ~(DRIVER_STATUS_BITS | VIRTIO_CONFIG_S_NEEDS_RESET);
    if ((value & foreign) !== 0) this.misuse("StatusBitsUnknown", value);
    const wanted = value & DRIVER_STATUS_BITS & ~this.#status;
    this.#status |= wanted & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FAILED);
    if ((wanted & VIRTIO_CONFIG_S_FAILED) !== 0) this.#stopAll();
    return wanted & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
  }

  setStatus(bits: number): void {
    this.#status |= bits;
  }

  /** The features are settled, until the reset; false when the device will not work with them. */
  negotiate(features: bigint): boolean {
    if (!this.#device.negotiate(features)) return false;
    this.#notifyMask = hasFeature(features, VIRTIO_F_NOTIFICATION_DATA) ? 0xffff : -1;
    return true;
  }

  /** The device may use its queues from now on. It looks at each of them: notifications before this were ignored. */
  go(): void {
    if (this.stopped) return;
    this.#running = true;
    this.#device.go();
  }

  isEnabled(queue: number): boolean {
    return this.#enabled[queue] === true;
  }

  /** Enables a queue, with its indices at 0; false, and it stays disabled, where its areas do not lie well in RAM. */
  enableQueue(queue: number, areas: QueueAreas, features: bigint): boolean {
    const virtqueue = createVirtqueue(this.memory, queueLayout(areas, features, this.bigEndian));
    if (typeof virtqueue === "string") return false;
    this.#enabled[queue] = true;
    this.#device.startQueue(queue, virtqueue);
    return true;
  }

  // @virtio MMIO-DEV-008
  /** When this returns nothing touches the ring or its buffers any more, and no request of it will be heard of. */
  disableQueue(queue: number): void {
    if (this.#enabled[queue] !== true) return;
    this.#device.stopQueue(queue);
    this.#enabled[queue] = false;
  }

  /** §2.4: when Status reads 0, which is when this returns, nothing touches rings, buffers or the line any more. */
  // @virtio STAT-DEV-008 STAT-DEV-009 STAT-DEV-010 MMIO-DEV-005 MMIO-DEV-006
  reset(): void {
    if (traceStatus.enabled) traceStatus.emit({ value: 0 });
    this.#stopAll();
    this.#enabled.fill(false);
    this.#device.reset();
    this.#broken = false;
    this.#notifyMask = -1;
    this.#status = 0;
    this.#setInterruptStatus(0);
  }

  readConfig(offset: number, width: AccessWidth): number {
    return this.#device.readConfig(offset, width);
  }

  /** Returns false when the write has no effect. */
  writeConfig(offset: number, width: AccessWidth, value: number): boolean {
    return !this.stopped && this.#device.writeConfig(offset, width, value);
  }

  /** Class D of docs/reference/virtio-errors.md: the access has no effect and reads as 0. */
  misuse(mistake: RegisterMistake, detail: number): number {
    traceGuestError(mistake, detail);
    return 0;
  }

  get #driverOk(): boolean {
    return (this.#status & VIRTIO_CONFIG_S_DRIVER_OK) !== 0;
  }

  /** Stops every queue; those that were enabled still read so. */
  #stopAll(): void {
    this.#running = false;
    for (let i = 0; i < this.#enabled.length; i++) if (this.#enabled[i] === true) this.#device.stopQueue(i);
  }

  // @virtio MMIO-DEV-003 MMIO-DEV-004 MMIO-DEV-022 MMIO-DEV-028
  #setInterruptStatus(value: number): void {
    if (value === this.#interruptStatus) return;
    this.#interruptStatus = value;
    if (traceInterrupt.enabled) traceInterrupt.emit({ interruptStatus: value });
    this.#line.set(this.#interruptStatus !== 0);
  }
}

// @virtio RSVD-DEV-009 RSVD-DEV-011 RSVD-DEV-012
/** A legacy driver sees the first 32 features, and two of its own: §6.3. */
function legacyFeatures(features: bigint): bigint {
  return (features & 0xffff_ffffn) | featureSet(VIRTIO_F_NOTIFY_ON_EMPTY, VIRTIO_F_ANY_LAYOUT);
}

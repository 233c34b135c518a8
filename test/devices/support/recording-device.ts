// A device with as many queues as a test likes that does nothing but remember what its transport told it.

import type { VirtioDevice, VirtioTransport } from "../../../devices/virtio-device.ts";
import type { Virtqueue } from "../../../devices/virtqueue/virtqueue.ts";
import type { AccessWidth } from "../../../src/memory/bus.ts";

export class RecordingDevice implements VirtioDevice {
  readonly deviceId: number = 0x7f;
  readonly offeredFeatures: bigint;
  readonly queueSizesMax: readonly number[];
  transport!: VirtioTransport;
  /** What was negotiated; undefined before. */
  features: bigint | undefined;
  /** Features that it refuses, each alone. */
  readonly refused: bigint;
  live = false;
  /** The queues that it may use. */
  readonly queues: Map<number, Virtqueue> = new Map();
  /** The queues that it was notified of. */
  readonly notified: number[] = [];
  resets = 0;
  readonly config: Uint8Array = new Uint8Array(16);

  constructor(options: { offeredFeatures: bigint; queueSizesMax: readonly number[]; refused?: bigint }) {
    this.offeredFeatures = options.offeredFeatures;
    this.queueSizesMax = options.queueSizesMax;
    this.refused = options.refused ?? 0n;
  }

  attach(transport: VirtioTransport): void {
    this.transport = transport;
  }

  negotiate(features: bigint): boolean {
    if ((features & this.refused) !== 0n) return false;
    this.features = features;
    return true;
  }

  go(): void {
    this.live = true;
  }

  startQueue(index: number, queue: Virtqueue): void {
    if (this.queues.has(index)) throw new Error(`queue ${index} was started twice`);
    this.queues.set(index, queue);
  }

  stopQueue(index: number): void {
    this.queues.delete(index);
  }

  notifyQueue(index: number): void {
    if (!this.live || !this.queues.has(index)) throw new Error(`notified of queue ${index}, which is not in use`);
    this.notified.push(index);
  }

  reset(): void {
    if (this.queues.size > 0) throw new Error("reset with queues in use");
    this.features = undefined;
    this.live = false;
    this.notified.length = 0;
    this.resets++;
  }

  readConfig(offset: number, width: AccessWidth): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.config[offset + i] ?? 0);
    return value;
  }

  writeConfig(offset: number, width: AccessWidth, value: number): boolean {
    if (offset + width > this.config.length) return false;
    for (let i = 0; i < width; i++) this.config[offset + i] = value / 256 ** i;
    return true;
  }
}

// Version 2 of virtio-mmio, for its driver: VIRTIO 1.4 §4.2.2 and §4.2.3.

import type { FeatureSet } from "./constants/features.ts";
import { VIRTIO_MMIO_VERSION_MODERN } from "./constants/mmio.ts";
import { GuestDriverError } from "./errors.ts";
import { CONFIG_READ_ATTEMPTS, type MmioInterface } from "./mmio-interface.ts";
import type { VirtioMmioRegisters } from "./registers.ts";
import type { Virtqueue } from "./virtqueue.ts";

/** Queues lie anywhere, features have 64 bits, and the configuration has a generation. */
export class ModernMmio implements MmioInterface {
  readonly version: number = VIRTIO_MMIO_VERSION_MODERN;
  readonly legacyAlignBytes: undefined = undefined;
  readonly #registers: VirtioMmioRegisters;

  constructor(registers: VirtioMmioRegisters) {
    this.#registers = registers;
  }

  // @virtio MMIO-DRV-012
  readOfferedFeatures(): FeatureSet {
    const registers = this.#registers;
    registers.deviceFeaturesSel = 1;
    const high = registers.deviceFeatures;
    registers.deviceFeaturesSel = 0;
    const low = registers.deviceFeatures;
    return (BigInt(high) << 32n) | BigInt(low);
  }

  // @virtio MMIO-DRV-013
  writeAcceptedFeatures(features: FeatureSet): void {
    const registers = this.#registers;
    registers.driverFeaturesSel = 1;
    registers.driverFeatures = Number(features >> 32n);
    registers.driverFeaturesSel = 0;
    registers.driverFeatures = Number(features & 0xffff_ffffn);
  }

  /** §4.2.3.2; the ring that `create` returns is zeroed and of at most that size. */
  // @virtio MMIO-DRV-014 MMIO-DRV-015 MMIO-DRV-030 VQR-DRV-003
  setUpQueue<Queue extends Virtqueue>(index: number, create: (sizeMax: number) => Queue): Queue {
    const registers = this.#registers;
    registers.queueSel = index;
    if (registers.queueReady !== 0) {
      throw new GuestDriverError("queue-in-use", `queue ${index}: QueueReady is not 0 after a reset`);
    }
    const sizeMax = registers.queueSizeMax;
    if (sizeMax === 0) {
      throw new GuestDriverError("queue-missing", `queue ${index}: QueueSizeMax is 0, there is no such queue`);
    }
    const queue = create(sizeMax);
    registers.queueSize = queue.size;
    registers.queueDesc = queue.descriptorArea;
    registers.queueDriver = queue.driverArea;
    registers.queueDevice = queue.deviceArea;
    registers.queueReady = 1;
    if (registers.queueReady !== 1) {
      throw new GuestDriverError(
        "queue-refused",
        `queue ${index}: QueueReady does not stay 1, the device refuses the ring`,
      );
    }
    return queue;
  }

  // @virtio MMIO-DRV-016 MMIO-DRV-017
  stopQueue(index: number): void {
    const registers = this.#registers;
    registers.queueSel = index;
    registers.queueReady = 0;
    if (registers.queueReady !== 0) {
      throw new GuestDriverError("queue-in-use", `queue ${index}: QueueReady does not become 0`);
    }
  }

  /** §2.5.1 */
  // @virtio CFG-DRV-001 CFG-DRV-002
  readConfigStable<Result>(read: () => Result): Result {
    for (let attempt = 0; attempt < CONFIG_READ_ATTEMPTS; attempt++) {
      const before = this.#registers.configGeneration;
      const result = read();
      if (this.#registers.configGeneration === before) return result;
    }
    throw new GuestDriverError(
      "config-unstable",
      `ConfigGeneration changed during each of ${CONFIG_READ_ATTEMPTS} readings of the configuration`,
    );
  }
}

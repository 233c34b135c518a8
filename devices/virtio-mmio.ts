// A virtio-mmio device on the bus, modern or legacy: VIRTIO 1.4 §4.2.2 and §4.2.4.

import { tracePoint } from "../src/base/trace.ts";
import type { AccessWidth, MmioRegion } from "../src/memory/bus.ts";
import type { GuestMemory } from "../src/memory/guest-memory.ts";
import type { InterruptLine } from "../src/memory/interrupt-line.ts";
import type { VirtioDevice } from "./virtio-device.ts";
import { LegacyBank } from "./virtio-mmio/legacy-bank.ts";
import { MmioTransport } from "./virtio-mmio/mmio-transport.ts";
import { ModernBank } from "./virtio-mmio/modern-bank.ts";
import type { RegisterBank } from "./virtio-mmio/register-bank.ts";
import { VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_QUEUE_NOTIFY } from "./virtio-mmio/registers.ts";

const REGION_BYTES = 0x200;

const traceRead = tracePoint("virtio_mmio_read");
const traceWrite = tracePoint("virtio_mmio_write_offset");

export interface VirtioMmioOptions {
  readonly device: VirtioDevice;
  readonly memory: GuestMemory;
  readonly line: InterruptLine;
  /** Version 1, the legacy registers, instead of version 2. A device has one of the two for good; false by default. */
  readonly legacy?: boolean;
  /**
   * The guest is big-endian, so that the rings and the configuration of a legacy device are too; false by default, and of no
   * account without `legacy`. Registers are little-endian always.
   */
  readonly bigEndian?: boolean;
}

/** The registers in front of `device`, 0x200 bytes: control registers of 32 bits, then the configuration in any width. */
export class VirtioMmio implements MmioRegion {
  readonly size: number = REGION_BYTES;
  readonly #transport: MmioTransport;
  readonly #bank: RegisterBank;

  constructor(options: VirtioMmioOptions) {
    const { device, memory, line, legacy = false, bigEndian = false } = options;
    this.#transport = new MmioTransport({ device, memory, line, legacy, bigEndian: bigEndian && legacy });
    this.#bank = legacy ? new LegacyBank(this.#transport) : new ModernBank(this.#transport);
  }

  // @virtio MMIO-DEV-026
  read(offset: number, width: AccessWidth): number {
    const value =
      offset >= VIRTIO_MMIO_CONFIG
        ? this.#transport.readConfig(offset - VIRTIO_MMIO_CONFIG, width)
        : width === 4
          ? this.#bank.read(offset)
          : this.#transport.misuse("RegisterWidth", offset); // §4.2.2.2
    if (traceRead.enabled) traceRead.emit({ offset, width, value });
    return value;
  }

  write(offset: number, width: AccessWidth, given: number): void {
    // Emulators hand over their registers as they hold them, often signed.
    const value = width === 4 ? given >>> 0 : given & (width === 2 ? 0xffff : 0xff);
    if (traceWrite.enabled) traceWrite.emit({ offset, width, value });
    if (offset === VIRTIO_MMIO_QUEUE_NOTIFY && width === 4 && this.#transport.notifyQueue(value)) return;
    if (offset >= VIRTIO_MMIO_CONFIG) this.#writeConfig(offset - VIRTIO_MMIO_CONFIG, width, value);
    else if (width === 4) this.#bank.write(offset, value);
    else this.#transport.misuse("RegisterWidth", offset); // §4.2.2.2
  }

  /** As after power-on: a driver's reset, and what outlives that. */
  reset(): void {
    this.#bank.powerOn();
  }

  #writeConfig(offset: number, width: AccessWidth, value: number): void {
    if (!this.#bank.configWritable || !this.#transport.writeConfig(offset, width, value)) {
      this.#transport.misuse("ConfigWrite", offset);
    }
  }
}

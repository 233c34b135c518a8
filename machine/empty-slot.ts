// A virtio-mmio slot without a device: registers whose DeviceID of 0 tells a driver to look further. VIRTIO 1.4 §4.2.2.

import type { AccessWidth, MmioRegion } from "../src/memory/bus.ts";

const MAGIC_VALUE = 0x7472_6976;
const VENDOR_ID = 0x554d_4551;

/** All that is there is what says that nothing is. */
export class EmptySlot implements MmioRegion {
  readonly size: number = 0x200;
  readonly #version: number;

  constructor(options: { legacy: boolean }) {
    this.#version = options.legacy ? 1 : 2;
  }

  read(offset: number, width: AccessWidth): number {
    if (width !== 4) return 0;
    if (offset === 0x000) return MAGIC_VALUE;
    if (offset === 0x004) return this.#version;
    return offset === 0x00c ? VENDOR_ID : 0; // DeviceID at 0x008
  }

  write(): void {}
}

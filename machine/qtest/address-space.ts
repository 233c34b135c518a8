// What a CPU's loads and stores of any length and alignment find on a board: RAM, register banks, and nothing. docs/reference/monitor.md §7.

import type { AccessWidth, Bus } from "../../src/memory/bus.ts";
import type { GuestMemory } from "../../src/memory/guest-memory.ts";

/**
 * Accesses are taken apart as QEMU does: RAM is copied, registers are accessed by aligned words of four, two or one bytes, the widest
 * that fits, and what is not mapped reads zero. Addresses from 2^53 on, which may be rounded, are never mapped.
 */
export class AddressSpace {
  readonly #bus: Bus;
  readonly #memory: GuestMemory;

  constructor(options: { bus: Bus; memory: GuestMemory }) {
    this.#bus = options.bus;
    this.#memory = options.memory;
  }

  /** A little-endian value of `width` bytes. */
  load(address: number, width: AccessWidth): number {
    if (address % width === 0) return this.#bus.read(address, width) >>> 0;
    const bytes = new Uint8Array(4);
    this.read(address, bytes.subarray(0, width));
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  store(address: number, width: AccessWidth, value: number): void {
    if (address % width === 0) {
      this.#bus.write(address, width, width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff));
      return;
    }
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    this.write(address, bytes.subarray(0, width));
  }

  /** Fills `into` with what stands from `address` on. */
  read(address: number, into: Uint8Array): void {
    for (let at = 0; at < into.length; ) {
      const here = address + at;
      const left = into.length - at;
      const ram = this.#ramBytes(here, left);
      const gap = ram > 0 ? 0 : this.#gapBytes(here, left);
      if (ram > 0) into.set(this.#memory.viewOf(here, ram), at);
      else if (gap > 0) into.fill(0, at, at + gap);
      at += ram + gap;
      if (ram + gap > 0) continue;
      const width = wordAt(here, left);
      const value = this.#bus.read(here, width);
      for (let i = 0; i < width; i++) into[at + i] = value >>> (8 * i);
      at += width;
    }
  }

  write(address: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const here = address + at;
      const left = bytes.length - at;
      const ram = this.#ramBytes(here, left);
      if (ram > 0) this.#memory.viewOf(here, ram).set(bytes.subarray(at, at + ram));
      const passed = ram > 0 ? ram : this.#gapBytes(here, left);
      at += passed;
      if (passed > 0) continue;
      const width = wordAt(here, left);
      let value = 0;
      for (let i = 0; i < width; i++) value |= bytes[at + i]! << (8 * i);
      this.#bus.write(here, width, value >>> 0);
      at += width;
    }
  }

  /** Writes `lengthBytes` bytes of `byte`. Takes time for what is mapped alone, however long the range. */
  fill(address: number, lengthBytes: number, byte: number): void {
    const word = (byte * 0x0101_0101) >>> 0;
    for (let at = 0; at < lengthBytes; ) {
      const here = address + at;
      const left = lengthBytes - at;
      const ram = this.#ramBytes(here, left);
      if (ram > 0) this.#memory.viewOf(here, ram).fill(byte);
      const passed = ram > 0 ? ram : this.#gapBytes(here, left);
      at += passed;
      if (passed > 0) continue;
      const width = wordAt(here, left);
      this.#bus.write(here, width, width === 4 ? word : word & (width === 2 ? 0xffff : 0xff));
      at += width;
    }
  }

  /** How many of `left` bytes from `address` on are RAM, up to the first that is not. */
  #ramBytes(address: number, left: number): number {
    const { baseAddress, sizeBytes } = this.#memory;
    const offset = address - baseAddress;
    return offset >= 0 && offset < sizeBytes ? Math.min(left, sizeBytes - offset) : 0;
  }

  /** How many are nothing, up to the first that is something. */
  #gapBytes(address: number, left: number): number {
    return Math.min(left, this.#bus.nextMapped(address) - address);
  }
}

/** The widest aligned word at `address` within `left` bytes. */
function wordAt(address: number, left: number): AccessWidth {
  if (address % 4 === 0 && left >= 4) return 4;
  return address % 2 === 0 && left >= 2 ? 2 : 1;
}

// RAM as a big-endian guest sees it: the byte order of rings and requests of a legacy device is the guest's own. VIRTIO 1.4 §2.7.3.

import type { Clock } from "../../src/base/clock.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import type { GuestTarget } from "../target.ts";

/** `inner`, whose values of more than a byte in RAM are big-endian. Registers and blocks of bytes are as they were. */
export class BigEndianRam implements GuestTarget {
  readonly ramBase: number;
  readonly ramSizeBytes: number;
  readonly clock: Clock;
  readonly #inner: GuestTarget;

  constructor(inner: GuestTarget) {
    this.#inner = inner;
    this.ramBase = inner.ramBase;
    this.ramSizeBytes = inner.ramSizeBytes;
    this.clock = inner.clock;
  }

  readRegister(offset: number, width?: AccessWidth): number {
    return this.#inner.readRegister(offset, width);
  }
  writeRegister(offset: number, value: number, width?: AccessWidth): void {
    this.#inner.writeRegister(offset, value, width);
  }

  readRam8(address: number): number {
    return this.#inner.readRam8(address);
  }
  readRam16(address: number): number {
    return swap16(this.#inner.readRam16(address));
  }
  readRam32(address: number): number {
    return swap32(this.#inner.readRam32(address));
  }
  readRam64(address: number): bigint {
    return swap64(this.#inner.readRam64(address));
  }
  writeRam8(address: number, value: number): void {
    this.#inner.writeRam8(address, value);
  }
  writeRam16(address: number, value: number): void {
    this.#inner.writeRam16(address, swap16(value));
  }
  writeRam32(address: number, value: number): void {
    this.#inner.writeRam32(address, swap32(value));
  }
  writeRam64(address: number, value: bigint): void {
    this.#inner.writeRam64(address, swap64(value));
  }
  readRam(address: number, into: Uint8Array): void {
    this.#inner.readRam(address, into);
  }
  writeRam(address: number, bytes: Uint8Array): void {
    this.#inner.writeRam(address, bytes);
  }
  fillRam(address: number, byte: number, lengthBytes: number): void {
    this.#inner.fillRam(address, byte, lengthBytes);
  }

  get interruptRaised(): boolean {
    return this.#inner.interruptRaised;
  }
  waitForInterrupt(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<boolean> {
    return this.#inner.waitForInterrupt(options);
  }
  onInterrupt(listener: () => void): () => void {
    return this.#inner.onInterrupt(listener);
  }
}

function swap16(value: number): number {
  return ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
}

function swap32(value: number): number {
  return (swap16(value & 0xffff) * 2 ** 16 + swap16(value >>> 16)) >>> 0;
}

function swap64(value: bigint): bigint {
  const low = swap32(Number(value & 0xffff_ffffn));
  const high = swap32(Number((value >> 32n) & 0xffff_ffffn));
  return (BigInt(low) << 32n) | BigInt(high);
}

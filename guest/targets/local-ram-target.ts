// What targets have in common whose RAM lies in this process: accesses to it, and the wait for the interrupt.

import { type Clock, Pacer, systemClock } from "../../src/base/clock.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import { type GuestMemory, GuestMemoryError } from "../../src/memory/guest-memory.ts";
import type { GuestTarget } from "../target.ts";

/** Accesses outside RAM throw a `GuestMemoryError`, those outside the register bank a `RangeError`. */
export abstract class LocalRamTarget implements GuestTarget {
  readonly ramBase: number;
  readonly clock: Clock;
  readonly #memory: GuestMemory;
  readonly #pacer: Pacer;

  protected constructor(memory: GuestMemory, clock: Clock = systemClock) {
    this.#memory = memory;
    this.clock = clock;
    this.#pacer = new Pacer(clock);
    this.ramBase = memory.baseAddress;
  }

  get ramSizeBytes(): number {
    return this.#memory.sizeBytes;
  }

  abstract readRegister(offset: number, width?: AccessWidth): number;
  abstract writeRegister(offset: number, value: number, width?: AccessWidth): void;
  abstract readonly interruptRaised: boolean;
  abstract onInterrupt(listener: () => void): () => void;

  readRam8(address: number): number {
    return this.#memory.readU8(address);
  }

  // An aligned 16-bit access is atomic and ordered, as ring indices shared with another thread need it (§2.7.13.3).
  readRam16(address: number): number {
    if (address % 2 !== 0) return this.#memory.readU16(address);
    return Atomics.load(this.#memory.u16, this.#offset(address, 2) / 2);
  }

  readRam32(address: number): number {
    return this.#memory.readU32(address);
  }

  readRam64(address: number): bigint {
    return this.#memory.readU64(address);
  }

  writeRam8(address: number, value: number): void {
    this.#memory.writeU8(address, value);
  }

  writeRam16(address: number, value: number): void {
    if (address % 2 !== 0) this.#memory.writeU16(address, value);
    else Atomics.store(this.#memory.u16, this.#offset(address, 2) / 2, value);
  }

  writeRam32(address: number, value: number): void {
    this.#memory.writeU32(address, value);
  }

  writeRam64(address: number, value: bigint): void {
    this.#memory.writeU64(address, value);
  }

  readRam(address: number, into: Uint8Array): void {
    into.set(this.#memory.viewOf(address, into.length));
  }

  writeRam(address: number, bytes: Uint8Array): void {
    this.#memory.bytes.set(bytes, this.#offset(address, bytes.length));
  }

  fillRam(address: number, byte: number, lengthBytes: number): void {
    const offset = this.#offset(address, lengthBytes);
    this.#memory.bytes.fill(byte, offset, offset + lengthBytes);
  }

  async waitForInterrupt(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<boolean> {
    const { timeoutMs, signal } = options;
    signal?.throwIfAborted();
    if (this.interruptRaised) {
      // A loop around a line that stays raised must leave room for timers and sockets all the same.
      if (this.#pacer.step()) await this.#pacer.yield();
      return true;
    }
    return await new Promise<boolean>((resolve, reject) => {
      const end = (): void => {
        unsubscribe();
        cancelTimer?.();
        signal?.removeEventListener("abort", onAbort);
      };
      const onAbort = (): void => {
        end();
        reject(signal?.reason);
      };
      const unsubscribe = this.onInterrupt(() => {
        end();
        resolve(true);
      });
      const cancelTimer =
        timeoutMs === undefined || timeoutMs === Number.POSITIVE_INFINITY
          ? undefined
          : this.clock.setTimer(timeoutMs, () => {
              end();
              resolve(false);
            });
      signal?.addEventListener("abort", onAbort);
    });
  }

  #offset(address: number, lengthBytes: number): number {
    const offset = this.#memory.offsetOf(address, lengthBytes);
    if (offset < 0 || !Number.isInteger(address)) throw new GuestMemoryError(address, lengthBytes);
    return offset;
  }
}

/** Throws a `RangeError` for an access that does not lie within a bank of `bankBytes` bytes: no bus here could answer for it. */
export function checkRegister(offset: number, width: AccessWidth, bankBytes: number): void {
  if (offset >= 0 && offset + width <= bankBytes && Number.isInteger(offset)) return;
  throw new RangeError(`register 0x${offset.toString(16)} of ${width} bytes: the bank has ${bankBytes} bytes`);
}

/** What of `value` fits `width` bytes, without sign. */
export function cutToWidth(value: number, width: AccessWidth): number {
  return width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff);
}

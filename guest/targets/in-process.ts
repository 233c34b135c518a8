// A guest target in the same process as its device: registers and RAM are a call away, the interrupt a listener.

import { type Clock, Pacer, systemClock } from "../../src/base/clock.ts";
import type { AccessWidth, MmioRegion } from "../../src/memory/bus.ts";
import { type GuestMemory, GuestMemoryError } from "../../src/memory/guest-memory.ts";
import type { InterruptLine } from "../../src/memory/interrupt-line.ts";
import type { GuestTarget } from "../target.ts";

/** What an `InProcessTarget` stands on. */
export interface InProcessTargetOptions {
  /** RAM of the guest. */
  readonly memory: GuestMemory;
  /** The register bank of the one device. */
  readonly region: MmioRegion;
  /** The interrupt line of that device. */
  readonly line: InterruptLine;
  /** Time; the system's by default. */
  readonly clock?: Clock;
}

/**
 * A device of this process. Accesses outside RAM throw a `GuestMemoryError`, those outside the register bank a `RangeError`:
 * there is no bus here that could answer for what is not there.
 */
export class InProcessTarget implements GuestTarget {
  readonly ramBase: number;
  readonly clock: Clock;
  readonly #memory: GuestMemory;
  readonly #region: MmioRegion;
  readonly #line: InterruptLine;
  readonly #pacer: Pacer;

  constructor(options: InProcessTargetOptions) {
    this.#memory = options.memory;
    this.#region = options.region;
    this.#line = options.line;
    this.clock = options.clock ?? systemClock;
    this.#pacer = new Pacer(this.clock);
    this.ramBase = options.memory.baseAddress;
  }

  get ramSizeBytes(): number {
    return this.#memory.sizeBytes;
  }

  readRegister(offset: number, width: AccessWidth = 4): number {
    this.#checkRegister(offset, width);
    return this.#region.read(offset, width);
  }

  writeRegister(offset: number, value: number, width: AccessWidth = 4): void {
    this.#checkRegister(offset, width);
    this.#region.write(offset, width, width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff));
  }

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

  get interruptRaised(): boolean {
    return this.#line.raised;
  }

  async waitForInterrupt(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<boolean> {
    const { timeoutMs, signal } = options;
    signal?.throwIfAborted();
    if (this.#line.raised) {
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

  onInterrupt(listener: () => void): () => void {
    return this.#line.onChange((raised) => {
      if (raised) listener();
    });
  }

  #checkRegister(offset: number, width: AccessWidth): void {
    if (offset >= 0 && offset + width <= this.#region.size && Number.isInteger(offset)) return;
    throw new RangeError(
      `register 0x${offset.toString(16)} of ${width} bytes: the bank has ${this.#region.size} bytes`,
    );
  }

  #offset(address: number, lengthBytes: number): number {
    const offset = this.#memory.offsetOf(address, lengthBytes);
    if (offset < 0 || !Number.isInteger(address)) throw new GuestMemoryError(address, lengthBytes);
    return offset;
  }
}

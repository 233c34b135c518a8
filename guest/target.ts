// What a driver, a script or the suite holds of the machine it runs on: registers, RAM and the interrupt, nothing else.

import type { Clock } from "../src/base/clock.ts";
import type { AccessWidth } from "../src/memory/bus.ts";

/**
 * One virtio-mmio device and the RAM around it. Registers and RAM are reached synchronously; RAM need not be local (it may
 * be a QEMU's, behind a socket), so nobody keeps a buffer of it. Addresses are guest-physical, in bytes.
 *
 * RAM accesses outside [ramBase, ramBase + ramSizeBytes) throw: a guest's own mistake in its own memory. Values are
 * little-endian. A script that shares RAM with a device in another thread relies on `readRam16` and `writeRam16` of an
 * aligned address being atomic and ordered.
 */
export interface GuestTarget {
  readonly ramBase: number;
  readonly ramSizeBytes: number;
  readonly clock: Clock;

  /** Reads `width` bytes of the register bank at `offset`. */
  readRegister(offset: number, width?: AccessWidth): number;
  writeRegister(offset: number, value: number, width?: AccessWidth): void;

  readRam8(address: number): number;
  readRam16(address: number): number;
  readRam32(address: number): number;
  readRam64(address: number): bigint;
  writeRam8(address: number, value: number): void;
  writeRam16(address: number, value: number): void;
  writeRam32(address: number, value: number): void;
  writeRam64(address: number, value: bigint): void;
  /** Fills `into` with the bytes at `address`. */
  readRam(address: number, into: Uint8Array): void;
  writeRam(address: number, bytes: Uint8Array): void;
  fillRam(address: number, byte: number, lengthBytes: number): void;

  /** The level of the device's interrupt line, now. */
  readonly interruptRaised: boolean;
  /**
   * Resolves true once the line is raised (at once if it is), false after `timeoutMs` without that. Rejects with the
   * signal's reason when `signal` is aborted.
   */
  waitForInterrupt(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<boolean>;
  /** Calls `listener` at each rising edge; the function returned ends that. */
  onInterrupt(listener: () => void): () => void;
}

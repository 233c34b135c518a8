// A guest target in another process: a QEMU, or this project's machine, at the end of a qtest socket. docs/reference/monitor.md §7, §8.

import { type Clock, systemClock } from "../../src/base/clock.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import type { GuestTarget } from "../target.ts";
import type { QtestChannel } from "./qtest-channel.ts";

/** Where things lie on the board. */
export interface QtestTargetOptions {
  /** Connected, with the interrupt controller's inputs intercepted. */
  readonly channel: QtestChannel;
  readonly ramBase: number;
  readonly ramSizeBytes: number;
  /** The register bank of the one device. */
  readonly registerBase: number;
  /** The number of its interrupt, as IRQ lines tell it. */
  readonly interrupt: number;
}

const WIDTH_LETTERS: Readonly<Record<AccessWidth, string>> = { 1: "b", 2: "w", 4: "l" };
/** Bytes in one command: a line of text holds twice as many characters. */
const MAX_BLOCK_BYTES = 256 << 10;

/**
 * Accesses throw a `TargetLostError` when the other end is gone or hangs. Writes to RAM are sent with the next access that is
 * waited for, in order, so that a ring is filled at the cost of one round trip.
 */
export class QtestTarget implements GuestTarget {
  readonly ramBase: number;
  readonly ramSizeBytes: number;
  readonly clock: Clock = systemClock;
  readonly #channel: QtestChannel;
  readonly #registerBase: number;

  constructor(options: QtestTargetOptions) {
    this.#channel = options.channel;
    this.ramBase = options.ramBase;
    this.ramSizeBytes = options.ramSizeBytes;
    this.#registerBase = options.registerBase;
    this.#channel.watchInterrupt(options.interrupt);
  }

  readRegister(offset: number, width: AccessWidth = 4): number {
    return Number(this.#askForValue(`read${WIDTH_LETTERS[width]} ${hex(this.#registerBase + offset)}`, width));
  }

  writeRegister(offset: number, value: number, width: AccessWidth = 4): void {
    const bits = width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff);
    this.#channel.ask(`write${WIDTH_LETTERS[width]} ${hex(this.#registerBase + offset)} ${hex(bits)}`);
  }

  readRam8(address: number): number {
    return this.#readRam("b", address, 1);
  }
  readRam16(address: number): number {
    return this.#readRam("w", address, 2);
  }
  readRam32(address: number): number {
    return this.#readRam("l", address, 4);
  }
  readRam64(address: number): bigint {
    this.#checkRam(address, 8);
    return this.#askForValue(`readq ${hex(address)}`, 8);
  }

  writeRam8(address: number, value: number): void {
    this.#writeRam("b", address, value & 0xff, 1);
  }
  writeRam16(address: number, value: number): void {
    this.#writeRam("w", address, value & 0xffff, 2);
  }
  writeRam32(address: number, value: number): void {
    this.#writeRam("l", address, value >>> 0, 4);
  }
  writeRam64(address: number, value: bigint): void {
    this.#writeRam("q", address, BigInt.asUintN(64, value), 8);
  }

  readRam(address: number, into: Uint8Array): void {
    this.#checkRam(address, into.length);
    for (let done = 0; done < into.length; done += MAX_BLOCK_BYTES) {
      const bytes = Math.min(MAX_BLOCK_BYTES, into.length - done);
      const command = `b64read ${hex(address + done)} ${bytes}`;
      const answer = this.#channel.ask(command);
      const block = Buffer.from(answer, "base64");
      if (block.length !== bytes) this.#channel.misunderstood(command, answer);
      into.set(block, done);
    }
  }

  writeRam(address: number, bytes: Uint8Array): void {
    this.#checkRam(address, bytes.length);
    for (let done = 0; done < bytes.length; done += MAX_BLOCK_BYTES) {
      const block = bytes.subarray(done, done + MAX_BLOCK_BYTES);
      const base64 = Buffer.from(block.buffer, block.byteOffset, block.length).toString("base64");
      this.#channel.send(`b64write ${hex(address + done)} ${block.length} ${base64}`);
    }
  }

  fillRam(address: number, byte: number, lengthBytes: number): void {
    this.#checkRam(address, lengthBytes);
    if (lengthBytes > 0) this.#channel.send(`memset ${hex(address)} ${lengthBytes} ${byte & 0xff}`);
  }

  get interruptRaised(): boolean {
    this.#channel.flush();
    return this.#channel.interruptRaised;
  }

  async waitForInterrupt(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<boolean> {
    const { timeoutMs, signal } = options;
    signal?.throwIfAborted();
    // Also where the line stays raised: a loop around this must leave room for others.
    await this.clock.yield();
    if (this.interruptRaised) return true;
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
      const finish = (raised: boolean): void => {
        end();
        resolve(raised);
      };
      const unsubscribe = this.onInterrupt(() => finish(true));
      const limited = timeoutMs !== undefined && timeoutMs !== Number.POSITIVE_INFINITY;
      const cancelTimer = limited ? this.clock.setTimer(timeoutMs, () => finish(false)) : undefined;
      signal?.addEventListener("abort", onAbort);
    });
  }

  onInterrupt(listener: () => void): () => void {
    return this.#channel.onRaised(listener);
  }

  #readRam(letter: string, address: number, bytes: number): number {
    this.#checkRam(address, bytes);
    return Number(this.#askForValue(`read${letter} ${hex(address)}`, bytes));
  }

  /** Reads are answered in hexadecimal, with as many digits as a register of 64 bits has, whatever their width. */
  #askForValue(command: string, bytes: number): bigint {
    const answer = this.#channel.ask(command);
    const value = /^0x[0-9a-f]{1,16}$/i.test(answer) ? BigInt(answer) : undefined;
    if (value === undefined || value >> BigInt(8 * bytes) !== 0n) return this.#channel.misunderstood(command, answer);
    return value;
  }

  #writeRam(letter: string, address: number, value: number | bigint, bytes: number): void {
    this.#checkRam(address, bytes);
    this.#channel.send(`write${letter} ${hex(address)} ${hex(value)}`);
  }

  #checkRam(address: number, lengthBytes: number): void {
    const offset = address - this.ramBase;
    if (Number.isSafeInteger(address) && offset >= 0 && offset + lengthBytes <= this.ramSizeBytes) return;
    throw new RangeError(`guest address ${hex(address)}, ${lengthBytes} bytes: not in RAM`);
  }
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

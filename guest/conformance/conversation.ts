// What a case and a device said to each other, kept for the report of a failure: register accesses, interrupts, and what the ring was given.

import type { Clock } from "../../src/base/clock.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import { VIRTIO_MMIO_CONFIG } from "../constants/mmio.ts";
import type { GuestTarget } from "../target.ts";
import { registerName } from "./register-names.ts";

/** Lines that are kept; older ones are forgotten. */
const MAX_LINES = 64;

/** The last lines of a conversation, oldest first. A line that repeats the one before is counted, not kept. */
export class Conversation {
  readonly #lines: string[] = [];
  #repeats = 0;
  #forgotten = 0;

  /** Adds a line. */
  note(line: string): void {
    if (line === this.#lines.at(-1)) {
      this.#repeats++;
      return;
    }
    this.#endRepeats();
    this.#push(line);
  }

  /** A copy, with a first line that says how many are missing. */
  lines(): readonly string[] {
    this.#endRepeats();
    return this.#forgotten === 0 ? [...this.#lines] : [`(${this.#forgotten} lines before)`, ...this.#lines];
  }

  #endRepeats(): void {
    const repeats = this.#repeats;
    this.#repeats = 0;
    if (repeats > 0) this.#push(`  (the same ${repeats} more time${repeats === 1 ? "" : "s"})`);
  }

  #push(line: string): void {
    if (this.#lines.length === MAX_LINES) {
      this.#lines.shift();
      this.#forgotten++;
    }
    this.#lines.push(line);
  }
}

/** `inner`, with every register access noted in `conversation`. RAM is passed on: what matters of it the rings note. */
export class RecordedTarget implements GuestTarget {
  readonly ramBase: number;
  readonly ramSizeBytes: number;
  readonly clock: Clock;
  readonly #inner: GuestTarget;
  readonly #conversation: Conversation;

  constructor(inner: GuestTarget, conversation: Conversation) {
    this.#inner = inner;
    this.#conversation = conversation;
    this.ramBase = inner.ramBase;
    this.ramSizeBytes = inner.ramSizeBytes;
    this.clock = inner.clock;
  }

  readRegister(offset: number, width: AccessWidth = 4): number {
    const value = this.#inner.readRegister(offset, width);
    this.#conversation.note(`R${widthMark(offset, width)} ${registerName(offset)} = ${hex(value)}`);
    return value;
  }

  writeRegister(offset: number, value: number, width: AccessWidth = 4): void {
    this.#conversation.note(`W${widthMark(offset, width)} ${registerName(offset)} = ${hex(value >>> 0)}`);
    this.#inner.writeRegister(offset, value, width);
  }

  readRam8(address: number): number {
    return this.#inner.readRam8(address);
  }
  readRam16(address: number): number {
    return this.#inner.readRam16(address);
  }
  readRam32(address: number): number {
    return this.#inner.readRam32(address);
  }
  readRam64(address: number): bigint {
    return this.#inner.readRam64(address);
  }
  writeRam8(address: number, value: number): void {
    this.#inner.writeRam8(address, value);
  }
  writeRam16(address: number, value: number): void {
    this.#inner.writeRam16(address, value);
  }
  writeRam32(address: number, value: number): void {
    this.#inner.writeRam32(address, value);
  }
  writeRam64(address: number, value: bigint): void {
    this.#inner.writeRam64(address, value);
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
    const raised = this.#inner.interruptRaised;
    this.#conversation.note(`interrupt line ${raised ? "raised" : "low"}`);
    return raised;
  }

  waitForInterrupt(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<boolean> {
    return this.#inner.waitForInterrupt(options);
  }

  onInterrupt(listener: () => void): () => void {
    return this.#inner.onInterrupt(listener);
  }
}

function widthMark(offset: number, width: AccessWidth): string {
  return width === 4 && offset < VIRTIO_MMIO_CONFIG ? "" : String(8 * width);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

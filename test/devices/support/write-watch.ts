// Which bytes of RAM a device may have written, by what the guest had told it, and whether it wrote any other.

import type { TestMachine } from "./machine.ts";

const WRITE = 2;
const INDIRECT = 4;
const TWO_TO_32 = 2 ** 32;
/** Entries of an indirect table that are looked at: more than the RAM of a fuzzed machine has room for. */
const MAX_ENTRIES = 4096;

/**
 * Around each thing that the device may act upon: `begin` before, `end` after. A byte may change when it belongs to the used
 * ring of the queue that is ready, or to a writable descriptor that the table or one of its indirect tables has had since the
 * queue was started: an upper bound that needs no second model of the device. Once the queue is stopped, nothing may.
 *
 * Where the guest has the device write over its own descriptors, there is no such bound until the next reset.
 */
export class WriteWatch {
  readonly #machine: TestMachine;
  readonly #base: number;
  readonly #before: Uint8Array;
  /** 1 for each byte that may change. */
  readonly #allowed: Uint8Array;
  /** 1 for each byte that the device takes orders from. */
  readonly #orders: Uint8Array;
  #unbounded = false;
  #stopped = false;
  readonly #registers = new Map<number, number>();

  constructor(machine: TestMachine) {
    this.#machine = machine;
    this.#base = machine.memory.baseAddress;
    this.#before = new Uint8Array(machine.memory.sizeBytes);
    this.#allowed = new Uint8Array(machine.memory.sizeBytes);
    this.#orders = new Uint8Array(machine.memory.sizeBytes);
  }

  /** What the guest is about to write, so that the queue's place is known. */
  noteRegisterWrite(offset: number, value: number, width: number): void {
    if (width !== 4) return;
    if (offset === 0x070 && value === 0) this.#registers.clear();
    else if (offset === 0x030) this.#registers.set(offset, value);
    else if (offset === 0x038 || (offset >= 0x080 && offset <= 0x0a4)) this.#noteQueueRegister(offset, value);
  }

  begin(): void {
    this.#before.set(this.#machine.memory.bytes);
    this.#stopped = (this.#machine.registers.status & 0xc0) !== 0;
    if (this.#live()) this.#allow();
  }

  /** The number of bytes that changed. Throws if one did that was not the device's to change. */
  end(): number {
    // A queue that went live with this action may have been used at once, and have broken over it.
    if (!this.#stopped && (this.#machine.registers.status & 4) !== 0 && this.#ready()) this.#allow();
    const { bytes } = this.#machine.memory;
    let changed = 0;
    if (Buffer.compare(bytes, this.#before) !== 0) {
      for (let i = 0; i < bytes.length; i++) {
        if (bytes[i] === this.#before[i]) continue;
        changed++;
        if (this.#allowed[i] === 0 && !this.#unbounded) {
          throw new Error(
            `RAM changed at 0x${i.toString(16)}: 0x${this.#before[i]!.toString(16)} to 0x${bytes[i]!.toString(16)}`,
          );
        }
      }
    }
    if (!this.#live()) {
      this.#allowed.fill(0);
      this.#orders.fill(0);
      this.#unbounded = false;
    }
    return changed;
  }

  #noteQueueRegister(offset: number, value: number): void {
    if ((this.#registers.get(0x030) ?? 0) !== 0 || this.#ready()) return;
    const sizeMax = this.#machine.registers.queueSizeMax;
    const badSize = value === 0 || value > sizeMax || (value & (value - 1)) !== 0;
    if (offset !== 0x038 || !badSize) this.#registers.set(offset, value);
  }

  /** QueueReady of queue 0, whatever is selected. */
  #ready(): boolean {
    const { registers } = this.#machine;
    const selected = this.#registers.get(0x030) ?? 0;
    if (selected !== 0) registers.queueSel = 0;
    const ready = registers.queueReady === 1;
    if (selected !== 0) registers.queueSel = selected;
    return ready;
  }

  #live(): boolean {
    return (this.#machine.registers.status & 0xc4) === 4 && this.#ready();
  }

  #allow(): void {
    const size = this.#registers.get(0x038) ?? 0;
    const table = this.#areaAt(0x080);
    this.#order(table, 16 * size);
    this.#order(this.#areaAt(0x090), 6 + 2 * size);
    for (let slot = 0; slot < size; slot++) this.#allowDescriptor(table + 16 * slot, true);
    this.#allowRange(this.#areaAt(0x0a0), 4 + 8 * size + 2);
  }

  /** An offset in RAM. */
  #areaAt(offset: number): number {
    const low = this.#registers.get(offset) ?? 0;
    return low + (this.#registers.get(offset + 4) ?? 0) * TWO_TO_32 - this.#base;
  }

  #allowDescriptor(at: number, inRing: boolean): void {
    const view = new DataView(this.#before.buffer);
    const address = view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_TO_32;
    const length = view.getUint32(at + 8, true);
    const flags = view.getUint16(at + 12, true);
    if ((flags & WRITE) !== 0) this.#allowRange(address - this.#base, length);
    if (!inRing || (flags & INDIRECT) === 0) return;
    const first = address - this.#base;
    for (let i = 0; i < Math.min(MAX_ENTRIES, length / 16); i++) {
      const entry = first + 16 * i;
      if (entry < 0 || entry + 16 > this.#before.length) break;
      this.#order(entry, 16);
      this.#allowDescriptor(entry, false);
    }
  }

  #order(from: number, length: number): void {
    this.#orders.fill(1, clamp(from, this.#orders.length), clamp(from + length, this.#orders.length));
    if (!this.#unbounded) this.#unbounded = this.#overlap(from, length, this.#allowed);
  }

  #allowRange(from: number, length: number): void {
    this.#allowed.fill(1, clamp(from, this.#allowed.length), clamp(from + length, this.#allowed.length));
    if (!this.#unbounded) this.#unbounded = this.#overlap(from, length, this.#orders);
  }

  #overlap(from: number, length: number, marks: Uint8Array): boolean {
    return marks.subarray(clamp(from, marks.length), clamp(from + length, marks.length)).includes(1);
  }
}

function clamp(value: number, limit: number): number {
  return Math.max(0, Math.min(value, limit));
}

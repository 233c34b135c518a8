// A second copy of guest RAM: which bytes the device may write, by what the guest has told it, and whether it wrote any other.

import type { FuzzMemory } from "./fuzz-memory.ts";
import type { QueuePlace } from "./queue-places.ts";

const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 0x80;
const USED = 0x8000;
const TWO_TO_32 = 2 ** 32;

/**
 * A byte may change when it is the device's part of a ring that is in use, or lies in a writable descriptor that a ring or one
 * of its indirect tables has had since it was last stopped: an upper bound that needs no second model of the device. Where the
 * guest has the device write over its own orders there is no such bound, until everything is stopped.
 */
export class ShadowRam {
  readonly #memory: FuzzMemory;
  readonly #packed: boolean;
  readonly #little: boolean;
  readonly #copy: Uint8Array;
  readonly #view: DataView;
  /** 1 for each byte that may change; that may and is no descriptor of a packed ring; that is an order; that was said to be written. */
  readonly #allowed: Uint8Array;
  readonly #permitted: Uint8Array;
  readonly #orders: Uint8Array;
  readonly #noted: Uint8Array;
  #unbounded = false;
  #watched = false;
  changedBytes = 0;

  constructor(memory: FuzzMemory, packed: boolean, bigEndian: boolean) {
    this.#memory = memory;
    this.#packed = packed;
    this.#little = !bigEndian;
    this.#copy = Uint8Array.from(memory.bytes);
    this.#view = new DataView(this.#copy.buffer);
    this.#allowed = new Uint8Array(memory.sizeBytes);
    this.#permitted = new Uint8Array(memory.sizeBytes);
    this.#orders = new Uint8Array(memory.sizeBytes);
    this.#noted = new Uint8Array(memory.sizeBytes);
  }

  /** From now on, what the device writes it must say it writes. */
  watch(): void {
    this.#watched = true;
    this.#memory.onDeviceWrite((address, lengthBytes) => {
      const from = address - this.#memory.baseAddress;
      if (from < 0 || from + lengthBytes > this.#noted.length)
        throw new Error(`tells of a write at ${from}+${lengthBytes}`);
      this.#noted.fill(1, from, from + lengthBytes);
    });
  }

  /** The guest has written RAM, and says nothing of the device's writes: those were checked before. */
  adopt(): void {
    this.#copy.set(this.#memory.atRest(() => this.#memory.bytes));
  }

  /** Nothing may be written from now on. */
  forbid(): void {
    this.#allowed.fill(0);
    this.#permitted.fill(0);
    this.#orders.fill(0);
    this.#unbounded = false;
  }

  /** What the queues in use say by now may be written as well. */
  allow(places: readonly QueuePlace[]): void {
    for (const place of places) {
      const { size } = place;
      const [ring, driver, device] = [place.descriptorArea, place.driverArea, place.deviceArea].map(
        (area) => area - this.#memory.baseAddress,
      );
      this.#order(driver!, this.#packed ? 4 : 6 + 2 * size);
      this.#permit(device!, this.#packed ? 4 : 6 + 8 * size);
      this.#order(ring!, 16 * size);
      for (let slot = 0; slot < size; slot++) this.#permitDescriptor(ring! + 16 * slot, true);
      // A used descriptor's length, id and flags, §2.8.8: where orders stood that have been read.
      if (this.#packed) for (let slot = 0; slot < size; slot++) this.#mark(this.#allowed, ring! + 16 * slot + 8, 8);
    }
  }

  /** Throws if a byte changed that was not the device's to change, or (`told`) that it did not say it wrote. */
  check(told: boolean): void {
    const bytes = this.#memory.atRest(() => this.#memory.bytes);
    if (Buffer.compare(bytes, this.#copy) !== 0) {
      for (let i = 0; i < bytes.length; i++) if (bytes[i] !== this.#copy[i]) this.#checkByte(bytes, i, told);
      this.#copy.set(bytes);
    }
    if (told && this.#watched) this.#noted.fill(0);
  }

  #checkByte(bytes: Uint8Array, i: number, told: boolean): void {
    this.changedBytes++;
    const change = `RAM + 0x${i.toString(16)} changed from 0x${this.#copy[i]!.toString(16)} to 0x${bytes[i]!.toString(16)}`;
    if (this.#allowed[i] === 0 && !this.#unbounded) throw new Error(change);
    if (told && this.#watched && this.#noted[i] === 0) throw new Error(`${change}, which no listener heard of`);
  }

  #permitDescriptor(at: number, inRing: boolean): void {
    if (at < 0 || at + 16 > this.#copy.length) return;
    const word = (offset: number): number => this.#view.getUint32(at + offset, this.#little);
    const address = this.#little ? word(0) + word(4) * TWO_TO_32 : word(4) + word(0) * TWO_TO_32;
    const lengthBytes = word(8);
    const flags = this.#view.getUint16(at + (this.#packed ? 14 : 12), this.#little);
    // §2.8.1: one whose two bits are equal is used, or nothing yet.
    if (this.#packed && inRing && ((flags & AVAIL) !== 0) === ((flags & USED) !== 0)) return;
    const first = address - this.#memory.baseAddress;
    if ((flags & WRITE) !== 0) this.#permit(first, lengthBytes);
    if (!inRing || (flags & INDIRECT) === 0) return;
    const end = Math.min(first + lengthBytes, this.#copy.length);
    this.#order(first, end - first);
    for (let entry = first; entry >= 0 && entry + 16 <= end; entry += 16) this.#permitDescriptor(entry, false);
  }

  #order(from: number, lengthBytes: number): void {
    this.#mark(this.#orders, from, lengthBytes);
    this.#unbounded ||= overlaps(this.#permitted, from, lengthBytes);
  }

  #permit(from: number, lengthBytes: number): void {
    this.#mark(this.#allowed, from, lengthBytes);
    this.#mark(this.#permitted, from, lengthBytes);
    this.#unbounded ||= overlaps(this.#orders, from, lengthBytes);
  }

  #mark(marks: Uint8Array, from: number, lengthBytes: number): void {
    marks.fill(1, clamp(from, marks.length), clamp(from + lengthBytes, marks.length));
  }
}

function overlaps(marks: Uint8Array, from: number, lengthBytes: number): boolean {
  return marks.subarray(clamp(from, marks.length), clamp(from + lengthBytes, marks.length)).includes(1);
}

function clamp(value: number, limit: number): number {
  return Math.max(0, Math.min(value, limit));
}

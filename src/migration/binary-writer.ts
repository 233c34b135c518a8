// Big-endian numbers and counted strings one after another, as migration streams have them.

import { assert } from "../base/assert.ts";

const FIRST_BYTES = 256;
const UINT32_RANGE = 2 ** 32;
const encoder = new TextEncoder();

/** Grows with what is written, until it is taken. */
export class BinaryWriter {
  #bytes: Uint8Array = new Uint8Array(FIRST_BYTES);
  #view: DataView = new DataView(this.#bytes.buffer);
  #length = 0;

  /** Bytes written since the last `take`. */
  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#grow(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  u16(value: number): this {
    this.#grow(2);
    this.#view.setUint16(this.#length, value);
    this.#length += 2;
    return this;
  }

  u32(value: number): this {
    this.#grow(4);
    this.#view.setUint32(this.#length, value);
    this.#length += 4;
    return this;
  }

  /** An integer up to 2^53. */
  u64(value: number): this {
    return this.u32(Math.floor(value / UINT32_RANGE)).u32(value % UINT32_RANGE);
  }

  /** One byte of length and the UTF-8 of a text, which has 255 bytes at most. */
  counted(text: string): this {
    const bytes = encoder.encode(text);
    assert(bytes.length <= 255, "counted string of more than 255 bytes");
    return this.u8(bytes.length).bytes(bytes);
  }

  bytes(bytes: Uint8Array): this {
    this.#grow(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** `count` bytes of zero. */
  zeroes(count: number): this {
    this.#grow(count);
    this.#bytes.fill(0, this.#length, this.#length + count);
    this.#length += count;
    return this;
  }

  /** What was written, which is the caller's now; the writer begins anew. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#bytes = new Uint8Array(FIRST_BYTES);
    this.#view = new DataView(this.#bytes.buffer);
    this.#length = 0;
    return taken;
  }

  #grow(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

// The bytes of an incoming migration, waited for only when they are not there yet.

import { assert } from "../base/assert.ts";
import type { BlockError } from "../base/errors.ts";
import type { ByteStreamListener } from "../transport/byte-stream.ts";
import { EndOfStreamError, StreamError } from "./stream-error.ts";

/** More than this waits in the sender's socket. */
const MAX_WAITING_BYTES = 65536;
/** The most that is asked for at once: a chunk of bits. */
const MAX_NEEDED_BYTES = 65536;
const UINT32_RANGE = 2 ** 32;
const NOTHING = new Uint8Array(0);

/** What holds a sender back. */
export interface Flow {
  pause(): void;
  resume(): void;
}

/**
 * Reads in order. `need(n)` first, and an `await` of what it returns, if that is a promise; then up to n bytes by `u8` and so on, which
 * never wait. A stream that ends before fails `need` with `EndOfStreamError`.
 *
 * Memory: 64 KiB and whatever arrives at once, whatever the sender claims.
 */
export class StreamSource implements ByteStreamListener {
  readonly #flow: Flow;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #paused = false;
  #ended = false;
  #wake: (() => void) | undefined;
  #current: Uint8Array = NOTHING;
  #view: DataView = new DataView(NOTHING.buffer);
  #at = 0;
  /** Bytes that stood before those of `#current`. */
  #consumed = 0;
  #limit = Number.POSITIVE_INFINITY;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#consumed + this.#at;
  }

  /** Nothing can be read past this position: that of the end of a package. Infinity outside of one. */
  get limit(): number {
    return this.#limit;
  }

  set limit(position: number) {
    this.#limit = position;
  }

  onData(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes > MAX_WAITING_BYTES && !this.#paused) {
      this.#paused = true;
      this.#flow.pause();
    }
    this.#wake?.();
  }

  onEnd(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** Why it was closed does not matter: what is missing is. */
  onClose(_error?: BlockError): void {
    this.onEnd();
  }

  /** True where `need(count)` would not wait nor fail. */
  has(count: number): boolean {
    return this.#current.length - this.#at >= count && this.position + count <= this.#limit;
  }

  /** Resolves when `count` bytes can be read; undefined where they can be now. */
  need(count: number): Promise<void> | undefined {
    if (this.position + count > this.#limit) throw new StreamError("EINVAL", "Packaged data end within an item");
    return this.#current.length - this.#at >= count ? undefined : this.#gather(count);
  }

  /** True where no byte is left. Waits until that is known. */
  async atEnd(): Promise<boolean> {
    try {
      await this.need(1);
      return false;
    } catch (error) {
      if (error instanceof EndOfStreamError) return true;
      throw error;
    }
  }

  /** The next byte, which stays. */
  peek(): number {
    return this.#view.getUint8(this.#at);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4));
  }

  /** Exact up to 2^53; a greater one is near enough to be refused. */
  u64(): number {
    const high = this.u32();
    return high * UINT32_RANGE + this.u32();
  }

  /** A view that is right until the next `need`. */
  bytes(count: number): Uint8Array {
    const at = this.#advance(count);
    return this.#current.subarray(at, at + count);
  }

  /** One byte of length, and a text in UTF-8 of that many bytes. */
  async counted(): Promise<string> {
    await this.need(1);
    return this.text(this.u8());
  }

  /** A text of so many bytes. What is no UTF-8 becomes something that names nothing. */
  async text(lengthBytes: number): Promise<string> {
    await this.need(lengthBytes);
    return new TextDecoder().decode(this.bytes(lengthBytes));
  }

  /** Leaves out any number of bytes. */
  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; ) {
      const step = Math.min(left, MAX_NEEDED_BYTES);
      await this.need(step);
      this.bytes(step);
      left -= step;
    }
  }

  #advance(count: number): number {
    const at = this.#at;
    this.#at = at + count;
    return at;
  }

  async #gather(count: number): Promise<void> {
    assert(count <= MAX_NEEDED_BYTES, "more of the stream needed at once than is ever kept");
    while (this.#current.length - this.#at + this.#waitingBytes < count) {
      if (this.#ended) throw new EndOfStreamError();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const parts = [this.#current.subarray(this.#at)];
    let length = parts[0]!.length;
    for (let next = 0; length < count || next === 0; next++) {
      const part = this.#waiting.shift()!;
      parts.push(part);
      length += part.length;
      this.#waitingBytes -= part.length;
    }
    this.#consumed += this.#at;
    this.#at = 0;
    this.#current = parts[0]!.length === 0 && parts.length === 2 ? parts[1]! : concatenate(parts, length);
    const { buffer, byteOffset, byteLength } = this.#current;
    this.#view = new DataView(buffer, byteOffset, byteLength);
    if (this.#paused && this.#waitingBytes <= MAX_WAITING_BYTES) {
      this.#paused = false;
      this.#flow.resume();
    }
  }
}

function concatenate(parts: readonly Uint8Array[], length: number): Uint8Array {
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

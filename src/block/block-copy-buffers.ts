// The memory of a block copy: a few pieces that all of its tasks share.

import { assert } from "../base/assert.ts";
import { IoVector } from "../base/io-vector.ts";
import { isZero } from "../base/zero.ts";

/** One piece of the memory. I/O of this size costs the least: what is read is still in the processor's cache when it is written. */
export const COPY_PIECE_BYTES: number = 256 * 1024;
/** 4 MiB in all. */
const PIECES = 16;
/** The most that one task can hold, so that others can go on beside it. */
export const MAX_COPY_BUFFER_BYTES: number = 4 * COPY_PIECE_BYTES;

/** Some of the pieces in the hands of one task: data of up to as many bytes as they have. */
export class CopyBuffer {
  /** All of the data. */
  readonly whole: IoVector;
  /** Numbers of the pieces, in the order of the data. */
  readonly pieces: number[] = [];
  readonly #part: IoVector;

  constructor(memory: Uint8Array) {
    this.whole = new IoVector(memory);
    this.#part = new IoVector(memory);
  }

  /** Makes it hold data of `lengthBytes`. */
  resize(lengthBytes: number): void {
    assert(lengthBytes <= this.pieces.length * COPY_PIECE_BYTES, "copy buffer: too small");
    this.whole.clear();
    for (let i = 0, left = lengthBytes; left > 0; i++, left -= COPY_PIECE_BYTES)
      this.whole.push(this.pieces[i]! * COPY_PIECE_BYTES, Math.min(left, COPY_PIECE_BYTES));
  }

  /** The data from `from` on. The vector is good until the next call. */
  part(from: number, lengthBytes: number): IoVector {
    if (lengthBytes === this.whole.byteLength) return this.whole;
    return this.#part.slice(this.whole, from, lengthBytes);
  }

  /** True when the data from `from` on are zeroes. They lie in one piece. */
  isZero(from: number, lengthBytes: number): boolean {
    const piece = Math.floor(from / COPY_PIECE_BYTES);
    const offset = this.pieces[piece]! * COPY_PIECE_BYTES + (from - piece * COPY_PIECE_BYTES);
    return isZero(this.whole.bytes, offset, lengthBytes);
  }
}

interface Waiter {
  readonly pieces: number;
  readonly take: (buffer: CopyBuffer) => void;
}

/**
 * Hands out buffers. Whoever finds none waits in line; those in a hurry (a guest's write waits for them) have a line of
 * their own, which goes first. A task holds one buffer and waits for no second one, so the wait always ends.
 */
export class CopyBuffers {
  readonly #memory = new Uint8Array(PIECES * COPY_PIECE_BYTES);
  /** Last given back is first taken: a lone task stays within one piece, which stays in the cache. */
  readonly #free: number[] = [];
  readonly #idle: CopyBuffer[] = [];
  readonly #urgent: Waiter[] = [];
  readonly #ordinary: Waiter[] = [];

  constructor() {
    for (let piece = PIECES - 1; piece >= 0; piece--) this.#free.push(piece);
  }

  /** A buffer for `lengthBytes`, at most `MAX_COPY_BUFFER_BYTES`; a promise where others have to give theirs back first. */
  take(lengthBytes: number, urgent: boolean): CopyBuffer | Promise<CopyBuffer> {
    assert(lengthBytes > 0 && lengthBytes <= MAX_COPY_BUFFER_BYTES, "copy buffer: of a wrong size");
    const pieces = Math.ceil(lengthBytes / COPY_PIECE_BYTES);
    const mayGo = this.#urgent.length === 0 && (urgent || this.#ordinary.length === 0);
    if (mayGo && pieces <= this.#free.length) return this.#make(pieces);
    const line = urgent ? this.#urgent : this.#ordinary;
    return new Promise((take) => line.push({ pieces, take }));
  }

  give(buffer: CopyBuffer): void {
    for (const piece of buffer.pieces) this.#free.push(piece);
    buffer.pieces.length = 0;
    this.#idle.push(buffer);
    this.#serve(this.#urgent);
    if (this.#urgent.length === 0) this.#serve(this.#ordinary);
  }

  #serve(line: Waiter[]): void {
    while (line.length > 0 && line[0]!.pieces <= this.#free.length) {
      const { pieces, take } = line.shift()!;
      take(this.#make(pieces));
    }
  }

  #make(pieces: number): CopyBuffer {
    const buffer = this.#idle.pop() ?? new CopyBuffer(this.#memory);
    for (let i = 0; i < pieces; i++) buffer.pieces.push(this.#free.pop()!);
    return buffer;
  }
}

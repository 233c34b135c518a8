// A disk of any size in memory that takes room only for what was written: the content of conformance subjects.

import type { IoVector } from "../../src/base/io-vector.ts";

const CHUNK_BYTES = 64 << 10;

/** Zeroes, until something is written. */
export class SparseDisk {
  lengthBytes: number;
  readonly #chunks = new Map<number, Uint8Array>();

  constructor(lengthBytes: number) {
    this.lengthBytes = lengthBytes;
  }

  read(offsetBytes: number, vector: IoVector): void {
    const bytes = new Uint8Array(vector.byteLength);
    this.#forEachPart(offsetBytes, bytes.length, (index, within, from, length) => {
      const chunk = this.#chunks.get(index);
      if (chunk !== undefined) bytes.set(chunk.subarray(within, within + length), from);
    });
    vector.copyFrom(bytes, 0);
  }

  write(offsetBytes: number, vector: IoVector): void {
    const bytes = new Uint8Array(vector.byteLength);
    vector.copyTo(bytes, 0);
    this.#forEachPart(offsetBytes, bytes.length, (index, within, from, length) => {
      let chunk = this.#chunks.get(index);
      if (chunk === undefined) {
        chunk = new Uint8Array(CHUNK_BYTES);
        this.#chunks.set(index, chunk);
      }
      chunk.set(bytes.subarray(from, from + length), within);
    });
  }

  writeZeroes(offsetBytes: number, lengthBytes: number): void {
    const end = offsetBytes + lengthBytes;
    for (const [index, chunk] of this.#chunks) {
      const from = Math.max(offsetBytes - index * CHUNK_BYTES, 0);
      const to = Math.min(end - index * CHUNK_BYTES, CHUNK_BYTES);
      if (from < to) chunk.fill(0, from, to);
    }
  }

  resize(lengthBytes: number): void {
    if (lengthBytes < this.lengthBytes) this.writeZeroes(lengthBytes, this.lengthBytes - lengthBytes);
    this.lengthBytes = lengthBytes;
  }

  #forEachPart(
    offsetBytes: number,
    lengthBytes: number,
    visit: (index: number, within: number, from: number, length: number) => void,
  ): void {
    for (let done = 0; done < lengthBytes; ) {
      const at = offsetBytes + done;
      const within = at % CHUNK_BYTES;
      const length = Math.min(CHUNK_BYTES - within, lengthBytes - done);
      visit(Math.floor(at / CHUNK_BYTES), within, done, length);
      done += length;
    }
  }
}

// A driver whose image is an array: exact, fast and gone at the end. For tests, benchmarks and embedders.

import { assert } from "../../base/assert.ts";
import { BlockError } from "../../base/errors.ts";
import { fillZeroes, type IoVector } from "../../base/io-vector.ts";
import { type BlockDriver, type BlockStatus, type DriverChild, SECTOR_SIZE_BYTES } from "../driver.ts";

/** What an array may hold, and more than tests need. */
export const MAX_MEMORY_BYTES: number = 2 ** 32;

/** An image in memory. Nothing outlives the process: `flush` has nothing to do. */
export class MemoryDriver implements BlockDriver {
  readonly driverName: string = "memory";
  readonly readOnly: boolean;
  readonly clusterSizeBytes: undefined;
  readonly children: readonly DriverChild[] = [];
  #bytes: Uint8Array;

  /** An image of `lengthBytes` zeroes, a multiple of 512; or `bytes` themselves, not a copy of them. */
  constructor(options: { lengthBytes: number; readOnly?: boolean } | { bytes: Uint8Array; readOnly?: boolean }) {
    this.#bytes = "bytes" in options ? options.bytes : new Uint8Array(options.lengthBytes);
    this.readOnly = options.readOnly ?? false;
    assert(this.#bytes.length % SECTOR_SIZE_BYTES === 0, "memory driver: length is no multiple of 512");
  }

  get lengthBytes(): number {
    return this.#bytes.length;
  }

  /** The image itself. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  read(offsetBytes: number, vector: IoVector): void {
    vector.copyFrom(this.#bytes, offsetBytes);
  }

  write(offsetBytes: number, vector: IoVector): void {
    vector.copyTo(this.#bytes, offsetBytes);
  }

  writeZeroes(offsetBytes: number, lengthBytes: number): void {
    fillZeroes(this.#bytes, offsetBytes, lengthBytes);
  }

  discard(offsetBytes: number, lengthBytes: number): void {
    fillZeroes(this.#bytes, offsetBytes, lengthBytes);
  }

  flush(): void {}

  blockStatus(_offsetBytes: number, lengthBytes: number): BlockStatus {
    return { lengthBytes, allocated: true, data: true, zero: false };
  }

  resize(lengthBytes: number): void {
    if (lengthBytes > MAX_MEMORY_BYTES) throw new BlockError("ENOMEM");
    const bytes = new Uint8Array(Math.ceil(lengthBytes / SECTOR_SIZE_BYTES) * SECTOR_SIZE_BYTES);
    bytes.set(this.#bytes.subarray(0, Math.min(lengthBytes, this.#bytes.length)));
    this.#bytes = bytes;
  }

  async close(): Promise<void> {}
}

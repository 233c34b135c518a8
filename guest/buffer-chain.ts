// The buffers of one request as a driver hands them to a virtqueue: device-readable ones first, VIRTIO 1.4 §2.7.4.2.

import { assert } from "../src/base/assert.ts";

const INITIAL_BUFFERS = 4;
/** The total length of a chain must not exceed 2^32. §2.7.5.2 */
const MAX_CHAIN_BYTES = 2 ** 32;

/** A list of buffers by guest address and length. Made once and refilled: it grows its tables as needed and never shrinks them. */
export class BufferChain {
  addresses: Float64Array = new Float64Array(INITIAL_BUFFERS);
  lengths: Float64Array = new Float64Array(INITIAL_BUFFERS);
  /** Buffers in all. */
  count = 0;
  /** How many of them, from the first on, the device reads; it writes the rest. */
  readableCount = 0;
  /** Sum of the lengths. */
  byteLength = 0;

  clear(): void {
    this.count = 0;
    this.readableCount = 0;
    this.byteLength = 0;
  }

  /** Appends a buffer that the device reads. */
  // @virtio SPLIT-DRV-006
  readable(address: number, lengthBytes: number): void {
    assert(this.readableCount === this.count, "buffer chain: readable after writable");
    this.#push(address, lengthBytes);
    this.readableCount++;
  }

  /** Appends a buffer that the device writes. */
  writable(address: number, lengthBytes: number): void {
    this.#push(address, lengthBytes);
  }

  #push(address: number, lengthBytes: number): void {
    this.byteLength += lengthBytes;
    // @virtio SPLIT-DRV-009
    assert(lengthBytes > 0 && this.byteLength <= MAX_CHAIN_BYTES, "buffer chain: length out of range");
    if (this.count === this.addresses.length) this.#grow();
    this.addresses[this.count] = address;
    this.lengths[this.count] = lengthBytes;
    this.count++;
  }

  #grow(): void {
    const addresses = new Float64Array(this.count * 2);
    const lengths = new Float64Array(this.count * 2);
    addresses.set(this.addresses);
    lengths.set(this.lengths);
    this.addresses = addresses;
    this.lengths = lengths;
  }
}

// Guest RAM: one shared buffer at one base address, read and written little-endian, every access checked.

import { assert } from "../base/assert.ts";

/** RAM begins at this guest address and is this long: what an access that misses it is told. */
export class GuestMemoryError extends Error {
  override readonly name: string = "GuestMemoryError";
  readonly address: number;
  readonly lengthBytes: number;

  constructor(address: number, lengthBytes: number) {
    super(`guest address 0x${address.toString(16)}, length ${lengthBytes}: not in RAM`);
    this.address = address;
    this.lengthBytes = lengthBytes;
  }
}

/** Told which bytes of guest RAM the device has written, as an emulator that caches translated code wants to know. */
export type WriteListener = (address: number, lengthBytes: number) => void;

const MAX_ADDRESS = Number.MAX_SAFE_INTEGER;

/**
 * RAM of a guest, over one buffer for good. Addresses are guest-physical, as `number`: one that came as 64 bits may be
 * rounded above 2^53, where no RAM is. The accessors throw a `GuestMemoryError` outside RAM; a device that must not throw
 * asks `offsetOf` first and then uses the views, whose index is the offset from `baseAddress`.
 *
 * The guest may run in another thread: use Atomics, on `u16` and `u32`, for what both sides touch without a lock.
 */
export class GuestMemory {
  readonly baseAddress: number;
  #sizeBytes = 0;
  #bytes!: Uint8Array;
  #view!: DataView;
  #u16!: Uint16Array;
  #u32!: Uint32Array;
  readonly #writeListeners: WriteListener[] = [];
  readonly #rebindListeners: (() => void)[] = [];

  /**
   * RAM of `sizeBytes` zeroes at `baseAddress`; or over `buffer`, an emulator's own, from `byteOffset` on.
   */
  constructor(options: {
    baseAddress?: number;
    sizeBytes: number;
    buffer?: ArrayBufferLike;
    byteOffset?: number;
  }) {
    const { baseAddress = 0, sizeBytes, buffer = new SharedArrayBuffer(sizeBytes), byteOffset = 0 } = options;
    assert(
      Number.isSafeInteger(baseAddress) && baseAddress >= 0 && baseAddress % 16 === 0,
      "RAM base: not aligned to 16",
    );
    assert(Number.isSafeInteger(sizeBytes) && sizeBytes > 0, "RAM size: not a positive integer");
    this.baseAddress = baseAddress;
    this.rebind(buffer, byteOffset, sizeBytes);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** All of RAM. Replaced by `rebind`, so fetch it anew after `onRebind`. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** RAM as 16-bit words of the host's order, which is little-endian wherever JavaScript runs today. */
  get u16(): Uint16Array {
    return this.#u16;
  }

  get u32(): Uint32Array {
    return this.#u32;
  }

  get view(): DataView {
    return this.#view;
  }

  /**
   * Puts RAM over another buffer, as an emulator does whose memory has grown. Contents are the buffer's. RAM never shrinks:
   * what a device was given lies within it for good.
   */
  rebind(buffer: ArrayBufferLike, byteOffset: number, sizeBytes: number): void {
    assert(byteOffset % 4 === 0, "RAM: offset in its buffer not aligned to 4");
    assert(sizeBytes >= this.#sizeBytes, "RAM: made smaller");
    assert(this.baseAddress + sizeBytes <= MAX_ADDRESS, "RAM: ends above 2^53");
    this.#sizeBytes = sizeBytes;
    this.#bytes = new Uint8Array(buffer, byteOffset, sizeBytes);
    this.#view = new DataView(buffer, byteOffset, sizeBytes);
    this.#u16 = new Uint16Array(buffer, byteOffset, sizeBytes >>> 1);
    this.#u32 = new Uint32Array(buffer, byteOffset, sizeBytes >>> 2);
    for (const listener of this.#rebindListeners) listener();
  }

  /** Calls `listener` after each `rebind`. */
  onRebind(listener: () => void): void {
    this.#rebindListeners.push(listener);
  }

  /** Calls `listener` for every range that a device writes. */
  onDeviceWrite(listener: WriteListener): void {
    this.#writeListeners.push(listener);
  }

  /** True while somebody wants to know what devices write. */
  get hasWriteListeners(): boolean {
    return this.#writeListeners.length > 0;
  }

  /** A device wrote `lengthBytes` from `offset` (not address) on. */
  noteDeviceWrite(offset: number, lengthBytes: number): void {
    for (const listener of this.#writeListeners) listener(this.baseAddress + offset, lengthBytes);
  }

  /** Where [address, address + lengthBytes) lies in the views, or -1 when any of it is outside RAM. */
  offsetOf(address: number, lengthBytes: number): number {
    const offset = address - this.baseAddress;
    return offset >= 0 && lengthBytes >= 0 && offset <= this.#sizeBytes - lengthBytes ? offset : -1;
  }

  readU8(address: number): number {
    return this.#view.getUint8(this.#checked(address, 1));
  }

  readU16(address: number): number {
    return this.#view.getUint16(this.#checked(address, 2), true);
  }

  readU32(address: number): number {
    return this.#view.getUint32(this.#checked(address, 4), true);
  }

  readU64(address: number): bigint {
    return this.#view.getBigUint64(this.#checked(address, 8), true);
  }

  writeU8(address: number, value: number): void {
    this.#view.setUint8(this.#checked(address, 1), value);
  }

  writeU16(address: number, value: number): void {
    this.#view.setUint16(this.#checked(address, 2), value, true);
  }

  writeU32(address: number, value: number): void {
    this.#view.setUint32(this.#checked(address, 4), value, true);
  }

  writeU64(address: number, value: bigint): void {
    this.#view.setBigUint64(this.#checked(address, 8), value, true);
  }

  /** A view, not a copy, of `lengthBytes` bytes at `address`. */
  viewOf(address: number, lengthBytes: number): Uint8Array {
    const offset = this.#checked(address, lengthBytes);
    return this.#bytes.subarray(offset, offset + lengthBytes);
  }

  #checked(address: number, lengthBytes: number): number {
    const offset = this.offsetOf(address, lengthBytes);
    if (offset < 0 || !Number.isInteger(address)) throw new GuestMemoryError(address, lengthBytes);
    return offset;
  }
}

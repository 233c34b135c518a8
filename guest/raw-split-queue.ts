// A split virtqueue for scripts that place every bit themselves: VIRTIO 1.4 §2.7, without any rule about what may be written.

import { VIRTQ_DESC_BYTES } from "./constants/ring.ts";
import type { VirtioMmioRegisters } from "./registers.ts";
import {
  availableRingBytes,
  RING_ENTRIES,
  RING_IDX,
  type SplitRingLayout,
  splitRingBytes,
  splitRingLayout,
} from "./split-ring-layout.ts";
import type { GuestTarget } from "./target.ts";

/** One descriptor as it stands in RAM. `address` may be any 64 bits. */
export interface RawDescriptor {
  readonly address: bigint;
  readonly lengthBytes: number;
  /** VIRTQ_DESC_F_… */
  readonly flags: number;
  readonly next: number;
}

/** What to write into a descriptor; what is left out is 0. Numbers beyond a field's width are cut. */
export interface DescriptorFields {
  readonly address?: number | bigint;
  readonly lengthBytes?: number;
  readonly flags?: number;
  readonly next?: number;
}

/** One element of the used ring: the head of the chain and the bytes that the device says it wrote. */
export interface UsedElement {
  readonly id: number;
  readonly length: number;
}

/**
 * Descriptors, available ring and used ring as plain memory. It remembers no index and checks nothing, so that every mistake
 * can be made. Slots are given modulo nothing: slot `size` is the word behind the ring.
 */
export class RawSplitQueue {
  /** Where the parts lie. */
  readonly layout: SplitRingLayout;
  readonly #target: GuestTarget;

  /** A queue with its parts anywhere, also badly aligned, overlapping or outside RAM. */
  constructor(target: GuestTarget, layout: SplitRingLayout) {
    this.#target = target;
    this.layout = layout;
  }

  /** A zeroed queue of `size` descriptors with its parts one after another at `address`; it takes `RawSplitQueue.bytesFor(size)`. */
  static at(target: GuestTarget, address: number, size: number): RawSplitQueue {
    target.fillRam(address, 0, splitRingBytes(size));
    return new RawSplitQueue(target, splitRingLayout(address, size));
  }

  /** Bytes of RAM that `RawSplitQueue.at` needs. */
  static bytesFor(size: number): number {
    return splitRingBytes(size);
  }

  get size(): number {
    return this.layout.size;
  }

  /** Writes queue `index`'s size and addresses to the registers and makes it ready. */
  enable(registers: VirtioMmioRegisters, index = 0): void {
    registers.queueSel = index;
    registers.queueSize = this.layout.size;
    registers.queueDesc = this.layout.descriptorTable;
    registers.queueDriver = this.layout.availableRing;
    registers.queueDevice = this.layout.usedRing;
    registers.queueReady = 1;
  }

  /** Writes descriptor `slot` of the table. */
  writeDescriptor(slot: number, descriptor: DescriptorFields): void {
    writeDescriptorAt(this.#target, this.layout.descriptorTable + VIRTQ_DESC_BYTES * slot, descriptor);
  }

  /** Writes entry `slot` of an indirect table at `table`. */
  writeIndirect(table: number, slot: number, descriptor: DescriptorFields): void {
    writeDescriptorAt(this.#target, table + VIRTQ_DESC_BYTES * slot, descriptor);
  }

  readDescriptor(slot: number): RawDescriptor {
    const at = this.layout.descriptorTable + VIRTQ_DESC_BYTES * slot;
    return {
      address: this.#target.readRam64(at),
      lengthBytes: this.#target.readRam32(at + 8),
      flags: this.#target.readRam16(at + 12),
      next: this.#target.readRam16(at + 14),
    };
  }

  get availFlags(): number {
    return this.#target.readRam16(this.layout.availableRing);
  }

  set availFlags(flags: number) {
    this.#target.writeRam16(this.layout.availableRing, flags);
  }

  get availIdx(): number {
    return this.#target.readRam16(this.layout.availableRing + RING_IDX);
  }

  set availIdx(idx: number) {
    this.#target.writeRam16(this.layout.availableRing + RING_IDX, idx & 0xffff);
  }

  readAvailable(slot: number): number {
    return this.#target.readRam16(this.layout.availableRing + RING_ENTRIES + 2 * slot);
  }

  writeAvailable(slot: number, head: number): void {
    this.#target.writeRam16(this.layout.availableRing + RING_ENTRIES + 2 * slot, head);
  }

  get usedEvent(): number {
    return this.#target.readRam16(this.layout.availableRing + availableRingBytes(this.layout.size) - 2);
  }

  set usedEvent(idx: number) {
    this.#target.writeRam16(this.layout.availableRing + availableRingBytes(this.layout.size) - 2, idx & 0xffff);
  }

  get usedFlags(): number {
    return this.#target.readRam16(this.layout.usedRing);
  }

  set usedFlags(flags: number) {
    this.#target.writeRam16(this.layout.usedRing, flags);
  }

  get usedIdx(): number {
    return this.#target.readRam16(this.layout.usedRing + RING_IDX);
  }

  set usedIdx(idx: number) {
    this.#target.writeRam16(this.layout.usedRing + RING_IDX, idx & 0xffff);
  }

  readUsed(slot: number): UsedElement {
    const at = this.layout.usedRing + RING_ENTRIES + 8 * slot;
    return { id: this.#target.readRam32(at), length: this.#target.readRam32(at + 4) };
  }

  get availEvent(): number {
    return this.#target.readRam16(this.layout.usedRing + RING_ENTRIES + 8 * this.layout.size);
  }

  set availEvent(idx: number) {
    this.#target.writeRam16(this.layout.usedRing + RING_ENTRIES + 8 * this.layout.size, idx & 0xffff);
  }

  /** Puts `head` into the next slot of the available ring and moves idx on: the plain way to make one chain available. */
  publish(head: number): void {
    const idx = this.availIdx;
    this.writeAvailable(idx % this.layout.size, head);
    this.availIdx = idx + 1;
  }
}

function writeDescriptorAt(target: GuestTarget, at: number, fields: DescriptorFields): void {
  target.writeRam64(at, BigInt.asUintN(64, BigInt(fields.address ?? 0)));
  target.writeRam32(at + 8, (fields.lengthBytes ?? 0) >>> 0);
  target.writeRam16(at + 12, (fields.flags ?? 0) & 0xffff);
  target.writeRam16(at + 14, (fields.next ?? 0) & 0xffff);
}

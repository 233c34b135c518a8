// A block driver for tests that place every descriptor themselves: one queue, one request at a time or many, no rule kept.

import { RawSplitQueue, type UsedElement, type VirtioMmioRegisters } from "../../../guest/index.ts";
import type { TestMachine } from "./machine.ts";

/** A buffer in guest RAM, or where the test says that there is one. */
export interface Segment {
  readonly address: number | bigint;
  readonly lengthBytes: number;
  /** The device may write it. */
  readonly writable?: boolean;
}

export interface RawDiskOptions {
  /** Numbers of the features to accept; VERSION_1 alone by default. */
  readonly features?: readonly number[];
  readonly queueSize?: number;
  /** False to stop before DRIVER_OK. */
  readonly driverOk?: boolean;
}

/** What came back of a request. */
export interface Outcome {
  /** The status byte; 0xee where nobody wrote one. */
  readonly status: number;
  /** What the used element says was written. */
  readonly length: number;
  readonly data: Uint8Array;
}

const POISON = 0xee;
const NEXT = 1;
const WRITE = 2;
export const INDIRECT = 4;

const GUEST_PAGE_SIZE = 0x028;
const QUEUE_ALIGN = 0x03c;
const QUEUE_PFN = 0x040;

/** Zeroed RAM from a page of 4096 bytes on, laid out as §2.7.2 says. */
export function legacyLayout(machine: TestMachine, size: number, alignBytes: number): RawSplitQueue["layout"] {
  const driverBytes = 16 * size + 2 * (3 + size);
  const usedOffset = Math.ceil(driverBytes / alignBytes) * alignBytes;
  const bytes = usedOffset + 6 + 8 * size;
  const descriptorTable = machine.guest.allocator.allocate(bytes, 4096);
  machine.target.fillRam(descriptorTable, 0, bytes);
  return {
    size,
    descriptorTable,
    availableRing: descriptorTable + 16 * size,
    usedRing: descriptorTable + usedOffset,
  };
}

/** Queue `index` of a legacy device where `layout` says; what QueuePFN then reads. */
export function placeLegacyQueue(
  registers: VirtioMmioRegisters,
  index: number,
  layout: RawSplitQueue["layout"],
  pageBytes: number,
  alignBytes: number,
): number {
  registers.queueSel = index;
  registers.queueSize = layout.size;
  registers.write(QUEUE_ALIGN, alignBytes);
  registers.write(QUEUE_PFN, layout.descriptorTable / pageBytes);
  return registers.read(QUEUE_PFN);
}

/** Features to the device, word 1 first. */
export function acceptFeatures(registers: VirtioMmioRegisters, features: readonly number[]): void {
  let low = 0;
  let high = 0;
  for (const bit of features) {
    if (bit < 32) low |= 1 << bit;
    else high |= 1 << (bit - 32);
  }
  registers.driverFeaturesSel = 1;
  registers.driverFeatures = high >>> 0;
  registers.driverFeaturesSel = 0;
  registers.driverFeatures = low >>> 0;
}

/**
 * A reset device brought up to DRIVER_OK by hand, with queue 0 in fresh RAM. Nothing is ever given back: a test has RAM
 * enough.
 */
export class RawDisk {
  readonly machine: TestMachine;
  readonly registers: VirtioMmioRegisters;
  readonly queue: RawSplitQueue;
  #nextSlot = 0;
  #usedSeen = 0;

  private constructor(machine: TestMachine, queue: RawSplitQueue) {
    this.machine = machine;
    this.registers = machine.registers;
    this.queue = queue;
  }

  /** §3.1.1, with no check on the way but that FEATURES_OK sticks. */
  static start(machine: TestMachine, options: RawDiskOptions = {}): RawDisk {
    if (machine.registers.version === 1) return RawDisk.#startLegacy(machine, options);
    const { features = [32], queueSize = 8, driverOk = true } = options;
    const { registers } = machine;
    registers.status = 0;
    registers.status = 1;
    registers.status = 3;
    acceptFeatures(registers, features);
    registers.status = 0x0b;
    if ((registers.status & 8) === 0) throw new Error("FEATURES_OK did not stick");
    const disk = new RawDisk(machine, machine.guest.rawSplitQueue(queueSize));
    disk.queue.enable(registers);
    if (driverOk) registers.status = 0x0f;
    return disk;
  }

  /** §3.1.2, with pages of 4096 bytes. VERSION_1 goes where no feature is. */
  static #startLegacy(machine: TestMachine, options: RawDiskOptions): RawDisk {
    const { features = [], queueSize = 8, driverOk = true } = options;
    const { registers } = machine;
    registers.status = 0;
    registers.status = 1;
    registers.status = 3;
    acceptFeatures(registers, features);
    registers.write(GUEST_PAGE_SIZE, 4096);
    const layout = legacyLayout(machine, queueSize, 4096);
    placeLegacyQueue(registers, 0, layout, 4096, 4096);
    const disk = new RawDisk(machine, new RawSplitQueue(machine.target, layout));
    if (driverOk) registers.status = 7;
    return disk;
  }

  /** RAM with `bytes` in it, for the device to read. */
  readable(bytes: Uint8Array): Segment {
    const address = this.machine.guest.allocator.allocate(bytes.length + 1);
    this.machine.target.writeRam(address, bytes);
    return { address, lengthBytes: bytes.length };
  }

  /** Poisoned RAM for the device to write. */
  writable(lengthBytes: number, poison: number = POISON): Segment {
    const address = this.machine.guest.allocator.allocate(lengthBytes + 1);
    this.machine.target.fillRam(address, poison, lengthBytes + 1);
    return { address, lengthBytes, writable: true };
  }

  /** A request header: type, reserved, sector. */
  header(type: number, sector: number | bigint = 0): Segment {
    return this.readable(headerBytes(type, sector));
  }

  /** What stands in the segment now. */
  bytesOf(segment: Segment): Uint8Array {
    const bytes = new Uint8Array(segment.lengthBytes);
    this.machine.target.readRam(Number(segment.address), bytes);
    return bytes;
  }

  /** Links the segments as a chain in the descriptor table, from `slot` on; returns the head. */
  chain(segments: readonly Segment[], slot: number = this.#take(segments.length)): number {
    for (const [i, { address, lengthBytes, writable }] of segments.entries()) {
      const last = i === segments.length - 1;
      const flags = (writable === true ? WRITE : 0) | (last ? 0 : NEXT);
      const next = last ? 0 : (slot + i + 1) % this.queue.size;
      this.queue.writeDescriptor((slot + i) % this.queue.size, { address, lengthBytes, flags, next });
    }
    return slot;
  }

  /** An indirect table of the segments, entry after entry; returns the segment that it fills, for an INDIRECT descriptor. */
  table(segments: readonly Segment[], address: number = this.#allocate(16 * segments.length)): Segment {
    for (const [i, { address: at, lengthBytes, writable }] of segments.entries()) {
      const last = i === segments.length - 1;
      const flags = (writable === true ? WRITE : 0) | (last ? 0 : NEXT);
      this.queue.writeIndirect(address, i, { address: at, lengthBytes, flags, next: last ? 0 : i + 1 });
    }
    return { address, lengthBytes: 16 * segments.length };
  }

  /** A chain of `prefix` direct descriptors and one INDIRECT that holds the rest; returns the head. */
  indirectChain(segments: readonly Segment[], prefix = 0): number {
    const head = this.chain([...segments.slice(0, prefix), this.table(segments.slice(prefix))]);
    const slot = (head + prefix) % this.queue.size;
    const { address, lengthBytes } = this.queue.readDescriptor(slot);
    this.queue.writeDescriptor(slot, { address, lengthBytes, flags: INDIRECT });
    return head;
  }

  notify(): void {
    this.registers.queueNotify = 0;
  }

  /** Makes the chain available and notifies. */
  submit(head: number): void {
    this.queue.publish(head);
    this.notify();
  }

  /** Used elements since the last call. */
  takeUsed(): UsedElement[] {
    const taken: UsedElement[] = [];
    for (const idx = this.queue.usedIdx; this.#usedSeen !== idx; this.#usedSeen = (this.#usedSeen + 1) & 0xffff)
      taken.push(this.queue.readUsed(this.#usedSeen % this.queue.size));
    return taken;
  }

  /** Submits one chain that completes at once; its last writable segment ends in the status byte. */
  perform(segments: readonly Segment[], head: number = this.chain(segments)): Outcome {
    this.takeUsed();
    this.submit(head);
    const used = this.takeUsed();
    if (used.length !== 1 || used[0]!.id !== head) {
      throw new Error(
        `used ${JSON.stringify(used)} instead of ${head}, Status 0x${this.registers.status.toString(16)}`,
      );
    }
    return this.outcome(segments, used[0]!.length);
  }

  /** What the device wrote into the segments of a request. */
  outcome(segments: readonly Segment[], length: number): Outcome {
    const writable = segments.filter((segment) => segment.writable === true && segment.lengthBytes > 0);
    const bytes = Buffer.concat(writable.map((segment) => this.bytesOf(segment)));
    return { status: bytes.at(-1) ?? POISON, length, data: new Uint8Array(bytes.subarray(0, -1)) };
  }

  /** Segments of a plain read: header, data, status. */
  readRequest(sector: number | bigint, lengthBytes: number): Segment[] {
    return [this.header(0, sector), this.writable(lengthBytes), this.writable(1)];
  }

  writeRequest(sector: number | bigint, bytes: Uint8Array): Segment[] {
    return [this.header(1, sector), this.readable(bytes), this.writable(1)];
  }

  read(sector: number | bigint, lengthBytes = 512): Outcome {
    return this.perform(this.readRequest(sector, lengthBytes));
  }

  write(sector: number | bigint, bytes: Uint8Array): Outcome {
    return this.perform(this.writeRequest(sector, bytes));
  }

  flush(): Outcome {
    return this.perform([this.header(4), this.writable(1)]);
  }

  #take(count: number): number {
    const slot = this.#nextSlot;
    this.#nextSlot = (slot + count) % this.queue.size;
    return slot;
  }

  #allocate(lengthBytes: number): number {
    return this.machine.guest.allocator.allocate(lengthBytes);
  }
}

export function headerBytes(type: number, sector: number | bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, 0xdead_beef, true); // reserved: the device does not look
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

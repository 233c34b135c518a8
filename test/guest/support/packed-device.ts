// The device's end of a packed virtqueue, for tests of the driver's: VIRTIO 1.4 §2.8 with literal numbers, looking at RAM alone.

import { GuestAllocator, InProcessTarget, PackedVirtqueue } from "../../../guest/index.ts";
import type { FakeBuffer } from "./fake-device.ts";
import { FakeDevice } from "./fake-device.ts";

export const BASE = 0x4000_0000;

export interface PackedList {
  readonly id: number;
  readonly slots: number;
  readonly indirect: boolean;
  readonly buffers: readonly FakeBuffer[];
}

/** A queue at the start of RAM; slots, event structures and what a device would do to them are within reach. */
export class PackedFixture {
  readonly device: FakeDevice;
  readonly allocator: GuestAllocator;
  readonly queue: PackedVirtqueue;
  /** What was notified: queue, and where the driver goes on. */
  readonly notified: [number, number][] = [];
  next = 0;
  nextWrap = true;
  used = 0;
  usedWrap = true;

  constructor(options: {
    size: number;
    eventIndex?: boolean;
    indirect?: boolean;
    inOrder?: boolean;
    ramBytes?: number;
  }) {
    const { size, eventIndex = false, indirect = false, inOrder = false, ramBytes = 1 << 16 } = options;
    this.device = new FakeDevice({ ramBytes });
    this.device.memory.bytes.fill(0xee);
    const { memory, line } = this.device;
    this.allocator = new GuestAllocator(BASE, ramBytes);
    this.queue = new PackedVirtqueue({
      target: new InProcessTarget({ memory, region: this.device, line }),
      allocator: this.allocator,
      notifier: { notify: (index, position) => void this.notified.push([index, position]) },
      index: 3,
      size,
      eventIndex,
      indirect,
      inOrder,
    });
  }

  /** One descriptor: address, length, id, flags. */
  slot(index: number): [number, number, number, number] {
    return this.descriptor(this.queue.descriptorArea + 16 * index);
  }

  descriptor(at: number): [number, number, number, number] {
    const { memory } = this.device;
    return [Number(memory.readU64(at)), memory.readU32(at + 8), memory.readU16(at + 12), memory.readU16(at + 14)];
  }

  /** What the driver wants to be interrupted for: offset and wrap counter, and flags. */
  get driverEvent(): [number, number] {
    const at = this.queue.driverArea;
    return [this.device.memory.readU16(at), this.device.memory.readU16(at + 2)];
  }

  /** What the device wants to be notified of. */
  wantNotifications(offsetAndWrap: number, flags: number): void {
    this.device.memory.writeU16(this.queue.deviceArea, offsetAndWrap);
    this.device.memory.writeU16(this.queue.deviceArea + 2, flags);
  }

  /** The next list that is available, or undefined. */
  take(): PackedList | undefined {
    const buffers: FakeBuffer[] = [];
    let indirect = false;
    for (let slots = 1; ; slots++) {
      const [address, length, id, flags] = this.slot(this.next);
      const available = ((flags & 0x80) !== 0) === this.nextWrap && ((flags & 0x8000) !== 0) !== this.nextWrap;
      if (!available && slots === 1) return undefined;
      if (!available) throw new Error("a list of which the first descriptor is available and another is not");
      if ((flags & 4) !== 0) {
        indirect = true;
        for (let at = address; at < address + length; at += 16) {
          const [entry, bytes, , entryFlags] = this.descriptor(at);
          buffers.push({ address: entry, length: bytes, writable: (entryFlags & 2) !== 0 });
        }
      } else {
        buffers.push({ address, length, writable: (flags & 2) !== 0 });
      }
      if (++this.next === this.queue.size) {
        this.next = 0;
        this.nextWrap = !this.nextWrap;
      }
      if ((flags & 1) === 0) return { id, slots, indirect, buffers };
    }
  }

  /** Writes a used descriptor, whatever it says, and goes on by `slots`. */
  use(id: number, length: number, slots: number, write = true): void {
    const { memory } = this.device;
    const at = this.queue.descriptorArea + 16 * this.used;
    memory.writeU32(at + 8, length);
    memory.writeU16(at + 12, id);
    memory.writeU16(at + 14, (this.usedWrap ? 0x8080 : 0) | (write ? 2 : 0));
    this.used += slots;
    if (this.used < this.queue.size) return;
    this.used -= this.queue.size;
    this.usedWrap = !this.usedWrap;
  }
}

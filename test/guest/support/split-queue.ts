// A driver's split virtqueue at the start of RAM, with nothing behind it but a fake device that looks at RAM alone.

import { BufferChain, GuestAllocator, InProcessTarget, SplitVirtqueue } from "../../../guest/index.ts";
import { FakeDevice } from "./fake-device.ts";

/** Where RAM begins. */
export const BASE: number = 0x4000_0000;

export interface QueueFixture {
  readonly device: FakeDevice;
  readonly allocator: GuestAllocator;
  readonly queue: SplitVirtqueue;
  /** Queue indices that were notified. */
  readonly notified: number[];
  read16(offset: number): number;
  read32(offset: number): number;
  write16(offset: number, value: number): void;
}

/** A queue at the start of RAM, seen by a fake device that looks at RAM alone. */
export function makeQueue(options: {
  size: number;
  eventIndex?: boolean;
  indirect?: boolean;
  ramBytes?: number;
}): QueueFixture {
  const { size, eventIndex = false, indirect = false, ramBytes = 1 << 16 } = options;
  const device = new FakeDevice({ ramBytes });
  device.memory.bytes.fill(0xee);
  const target = new InProcessTarget({ memory: device.memory, region: device, line: device.line });
  const allocator = new GuestAllocator(BASE, ramBytes);
  const notified: number[] = [];
  const queue = new SplitVirtqueue({
    target,
    allocator,
    notifier: { notify: (index) => notified.push(index) },
    index: 3,
    size,
    eventIndex,
    indirect,
  });
  device.queue = { size, ready: 1, desc: queue.descriptorArea, driver: queue.driverArea, device: queue.deviceArea };
  device.accepted = eventIndex ? 1n << 29n : 0n;
  return {
    device,
    allocator,
    queue,
    notified,
    read16: (offset) => device.memory.readU16(BASE + offset),
    read32: (offset) => device.memory.readU32(BASE + offset),
    write16: (offset, value) => device.memory.writeU16(BASE + offset, value),
  };
}

/** Buffers as address and length. */
export function chainOf(
  readable: readonly [number, number][],
  writable: readonly [number, number][] = [],
): BufferChain {
  const chain = new BufferChain();
  for (const [address, length] of readable) chain.readable(address, length);
  for (const [address, length] of writable) chain.writable(address, length);
  return chain;
}

/** A chain of one writable buffer of 100 bytes. */
export const one: BufferChain = chainOf([], [[BASE + 0x8000, 100]]);

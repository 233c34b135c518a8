// A machine with a legacy device, and a queue of it that a test sets up by hand.

import { expect } from "vitest";
import { RawSplitQueue } from "../../../guest/index.ts";
import { type MachineOptions, makeMachine, type TestMachine } from "./machine.ts";
import { legacyLayout, placeLegacyQueue } from "./raw-disk.ts";

export function legacy(options: MachineOptions = {}): TestMachine {
  return makeMachine({ ...options, legacy: true });
}

/** A read of sector 1, at descriptors 0 to 2 of the queue, published but not notified of. */
export function publishRead(machine: TestMachine, queue: RawSplitQueue): { status: number; data: number } {
  const { allocator } = machine.guest;
  const [header, data, status] = [allocator.allocate(16), allocator.allocate(512), allocator.allocate(1)];
  machine.target.fillRam(header, 0, 16);
  machine.target.writeRam64(header + 8, 1n);
  machine.target.fillRam(status, 0xee, 1);
  queue.writeDescriptor(0, { address: header, lengthBytes: 16, flags: 1, next: 1 });
  queue.writeDescriptor(1, { address: data, lengthBytes: 512, flags: 3, next: 2 });
  queue.writeDescriptor(2, { address: status, lengthBytes: 1, flags: 2 });
  queue.publish(0);
  return { status, data };
}

/** A queue of `size` that has its place, with the device wherever it is. */
export function placed(machine: TestMachine, size = 8, alignBytes = 4096): RawSplitQueue {
  machine.registers.write(0x028, 4096);
  const layout = legacyLayout(machine, size, alignBytes);
  expect(placeLegacyQueue(machine.registers, 0, layout, 4096, alignBytes)).toBe(layout.descriptorTable / 4096);
  return new RawSplitQueue(machine.target, layout);
}

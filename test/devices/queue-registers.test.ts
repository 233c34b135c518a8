// Setting a queue up and stopping it: VIRTIO 1.4 §4.2.2, §4.2.3.2; docs/reference/virtio-errors.md §3.
import { describe, expect, it } from "vitest";
import { RawSplitQueue, type SplitRingLayout, splitRingLayout } from "../../guest/index.ts";
import { makeMachine, RAM_BASE, type TestMachine } from "./support/machine.ts";
import { RawDisk } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

/** A device before its queue is set up. */
function negotiated(options: Parameters<typeof makeMachine>[0] = {}): TestMachine {
  const machine = makeMachine(options);
  machine.registers.status = 3;
  machine.registers.status = 0x0b;
  machine.registers.queueSel = 0;
  return machine;
}

/** Tries to enable queue 0 with this layout; what QueueReady then reads. */
function enable(machine: TestMachine, layout: SplitRingLayout): number {
  new RawSplitQueue(machine.target, layout).enable(machine.registers);
  return machine.registers.queueReady;
}

describe("QueueSel", () => {
  it("MMIO-DEV-019 selects among queues that are there; of the others QueueSizeMax and QueueReady read 0", () => {
    const machine = negotiated();
    const { registers } = machine;
    for (const index of [1, 2, 1023, 1024, 0xffff, 0x1_0000, 0x8000_0000, 0xffff_ffff]) {
      registers.queueSel = 0;
      expect(registers.queueSizeMax).toBe(256);
      registers.queueSel = index;
      expect([registers.queueSizeMax, registers.queueReady], `queue ${index}`).toEqual([0, 0]);
    }
  });

  it("leaves queue 0 alone when another one is selected", () => {
    const machine = negotiated();
    const { registers } = machine;
    const layout = splitRingLayout(machine.guest.allocator.allocate(4096), 8);
    expect(enable(machine, layout)).toBe(1);
    registers.queueSel = 1;
    for (const offset of [0x38, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4]) registers.write(offset, 0);
    registers.queueReady = 0;
    registers.queueReady = 1;
    expect(registers.queueReady).toBe(0);
    registers.queueSel = 0;
    expect(registers.queueReady).toBe(1);
    expectRecovery(machine);
  });
});

describe("QueueSizeMax", () => {
  it("is what the board chose", () => {
    for (const queueSizeMax of [1, 2, 128, 1024, 32768]) {
      const { registers } = makeMachine({ device: { queueSizeMax } });
      expect(registers.queueSizeMax).toBe(queueSizeMax);
    }
  });
});

describe("QueueSize", () => {
  it("keeps its value when 0, a size above the maximum or no power of two is written, in all of 32 bits", () => {
    const machine = negotiated();
    const { registers } = machine;
    const at = machine.guest.allocator.allocate(8192);
    const layout = splitRingLayout(at, 4);
    for (const size of [0, 3, 100, 255, 257, 512, 1024, 0x1_0008, 0x8000_0000, 0xffff_ffff]) {
      machine.target.fillRam(at, 0, 8192);
      registers.queueSize = 4;
      registers.queueSize = size;
      registers.queueDesc = layout.descriptorTable;
      registers.queueDriver = layout.availableRing;
      registers.queueDevice = layout.usedRing;
      registers.queueReady = 1;
      expect(registers.queueReady, String(size)).toBe(1);
      registers.status = 0x0f;
      const queue = new RawSplitQueue(machine.target, layout);
      queue.writeDescriptor(0, { address: at + 4096, lengthBytes: 1, flags: 2 });
      for (let i = 0; i < 5; i++) {
        queue.publish(0);
        registers.queueNotify = 0;
      }
      expect(queue.usedIdx).toBe(5);
      expect(queue.readUsed(0), `wraps after 4 with ${size}`).toEqual({ id: 0, length: 1 });
      registers.status = 0;
      registers.status = 3;
      registers.status = 0x0b;
    }
  });

  it("has no default: a queue whose size was never written, or only badly, is not enabled", () => {
    const machine = negotiated();
    const layout = splitRingLayout(machine.guest.allocator.allocate(8192), 8);
    expect(enable(machine, { ...layout, size: 0 })).toBe(0);
    expect(enable(machine, { ...layout, size: 7 })).toBe(0);
    expect(enable(machine, layout)).toBe(1);
  });

  it("may be every power of two up to the maximum", () => {
    const machine = makeMachine({ device: { queueSizeMax: 32768 }, ramBytes: 4 << 20 });
    for (let size = 1; size <= 32768; size *= 2) {
      machine.guest.allocator.reset();
      const disk = RawDisk.start(machine, { queueSize: size, features: [28, 32] });
      const request = disk.readRequest(0, 512);
      expect(disk.perform(request, disk.indirectChain(request)), `size ${size}`).toMatchObject({
        status: 0,
        length: 513,
      });
    }
  });
});

describe("QueueReady", () => {
  it("MMIO-DEV-020 enables a queue and stops it, and reads as what was written", () => {
    const machine = negotiated();
    const { registers } = machine;
    const layout = splitRingLayout(machine.guest.allocator.allocate(4096), 8);
    expect(registers.queueReady).toBe(0);
    expect(enable(machine, layout)).toBe(1);
    registers.queueReady = 0;
    expect(registers.queueReady).toBe(0);
    registers.queueReady = 1;
    expect(registers.queueReady).toBe(1);
  });

  it("a second 1 changes nothing: indices go on", () => {
    const disk = RawDisk.start(makeMachine());
    for (let i = 0; i < 3; i++) disk.read(i);
    disk.registers.interruptAck = 1;
    disk.registers.queueReady = 1;
    expect([disk.queue.usedIdx, disk.registers.interruptStatus]).toEqual([3, 0]); // nothing was used again
    expect(disk.read(4).status).toBe(0);
    expect(disk.queue.usedIdx).toBe(4);
  });

  it("MMIO-DEV-008 stops access to the ring at 0, and starts from index 0 when it is 1 again", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    const { registers } = machine;
    disk.read(0);
    registers.queueReady = 0;
    registers.interruptAck = 1;
    disk.submit(disk.chain(disk.readRequest(0, 512)));
    expect(disk.takeUsed()).toEqual([]);
    expect(registers.interruptStatus).toBe(0);
    disk.queue.availIdx = 0;
    disk.queue.usedIdx = 0;
    registers.queueReady = 1;
    expect(registers.queueReady).toBe(1);
    disk.takeUsed(); // its count starts over as well
    const request = disk.readRequest(5, 512);
    disk.submit(disk.chain(request, 0));
    expect(disk.queue.usedIdx).toBe(1);
    expect(disk.queue.readUsed(0)).toEqual({ id: 0, length: 513 });
  });

  it("writes to size and addresses are ignored while it is 1", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    for (const offset of [0x38, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4]) machine.registers.write(offset, 16);
    for (let i = 0; i < 20; i++) expect(disk.read(i).status).toBe(0);
    machine.registers.queueReady = 0;
    machine.registers.queueReady = 1;
    expect(machine.registers.queueReady).toBe(1); // with the addresses that it had
  });

  it("stays 0 where an area is not aligned to 16, 2 and 4 bytes", () => {
    const machine = negotiated();
    const at = machine.guest.allocator.allocate(4096);
    const layout = splitRingLayout(at, 8);
    for (const off of [1, 2, 4, 8, 15])
      expect(enable(machine, { ...layout, descriptorTable: layout.descriptorTable + 256 + off }), `table ${off}`).toBe(
        0,
      );
    expect(enable(machine, { ...layout, availableRing: layout.availableRing + 1 })).toBe(0);
    for (const off of [1, 2, 3])
      expect(enable(machine, { ...layout, usedRing: layout.usedRing + 256 + off }), `used ring ${off}`).toBe(0);
    expect(enable(machine, { ...layout, availableRing: layout.availableRing + 1024 + 2 })).toBe(1);
    expectRecovery(machine);
  });

  it("stays 0 where an area leaves RAM by one byte, lies outside it, or reaches beyond 2^64", () => {
    const machine = negotiated({ ramBytes: 64 << 10 });
    const end = RAM_BASE + (64 << 10);
    const good = splitRingLayout(RAM_BASE, 8);
    const bytes = { descriptorTable: 128, availableRing: 20, usedRing: 68 } as const;
    for (const area of ["descriptorTable", "availableRing", "usedRing"] as const) {
      for (const address of [end - bytes[area] + 16, end, RAM_BASE - 16, 0, 2 ** 32, 2 ** 52]) {
        expect(enable(machine, { ...good, [area]: address }), `${area} at ${address}`).toBe(0);
      }
      for (const address of [0xffff_ffff_ffff_fff0n, 1n << 53n, (1n << 32n) + BigInt(RAM_BASE), 1n << 63n]) {
        machine.registers.queueReady = 0;
        new RawSplitQueue(machine.target, good).enable(machine.registers);
        machine.registers.queueReady = 0;
        if (area === "descriptorTable") machine.registers.queueDesc = address;
        else if (area === "availableRing") machine.registers.queueDriver = address;
        else machine.registers.queueDevice = address;
        machine.registers.queueReady = 1;
        expect(machine.registers.queueReady, `${area} at ${address}`).toBe(0);
      }
      const last = end - bytes[area] - (bytes[area] % 16 === 0 ? 0 : 16 - (bytes[area] % 16));
      expect(enable(machine, { ...good, [area]: last }), `${area} at the very end`).toBe(1);
      machine.registers.queueReady = 0;
    }
    expectRecovery(machine);
  });

  it("needs the two bytes of the event fields only where EVENT_IDX was accepted", () => {
    const machine = makeMachine({ ramBytes: 64 << 10 });
    const { registers } = machine;
    const end = RAM_BASE + (64 << 10);
    const good = splitRingLayout(RAM_BASE, 8);
    const layouts = [
      { ...good, availableRing: end - 20 },
      { ...good, usedRing: end - 68 },
    ];
    for (const eventIndex of [false, true]) {
      registers.status = 0;
      registers.status = 3;
      registers.driverFeatures = eventIndex ? 0x2000_0000 : 0;
      registers.status = 0x0b;
      for (const layout of layouts) expect(enable(machine, layout)).toBe(eventIndex ? 0 : 1);
      registers.queueReady = 0;
    }
  });

  it("takes address 0 as any other where RAM begins there", () => {
    const machine = makeMachine({ ramBase: 0 });
    machine.registers.status = 0x0f;
    const layout = splitRingLayout(0, 8);
    expect(enable(machine, layout)).toBe(1);
    const queue = new RawSplitQueue(machine.target, layout);
    queue.writeDescriptor(0, { address: 0x1000, lengthBytes: 1, flags: 2 });
    queue.publish(0);
    machine.registers.queueNotify = 0;
    expect(queue.usedIdx).toBe(1);
  });

  it("stays 0 with addresses that were never written, where RAM is elsewhere", () => {
    const machine = negotiated();
    machine.registers.queueSize = 8;
    machine.registers.queueReady = 1;
    expect(machine.registers.queueReady).toBe(0);
    machine.registers.status = 0x0f;
    machine.registers.queueNotify = 0;
    expect(machine.registers.status).toBe(0x0f);
    expectRecovery(machine);
  });

  it("MMIO-DEV-024 takes the halves of an address in any order, and rings above 4 GiB", () => {
    const machine = makeMachine({ ramBase: 2 ** 36 });
    const { registers } = machine;
    registers.status = 0x0b;
    const layout = splitRingLayout(machine.guest.allocator.allocate(4096), 8);
    expect(layout.descriptorTable).toBeGreaterThan(2 ** 32);
    const halves: [number, number][] = [];
    for (const [low, address] of [
      [0x80, layout.descriptorTable],
      [0x90, layout.availableRing],
      [0xa0, layout.usedRing],
    ] as const) {
      halves.push([low, address % 2 ** 32], [low + 4, Math.floor(address / 2 ** 32)]);
    }
    for (const order of [halves, [...halves].reverse()]) {
      for (const offset of [0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4]) registers.write(offset, 0xffff_fff0);
      for (const [offset, value] of order) registers.write(offset, value);
      registers.queueSize = 8;
      registers.queueReady = 1;
      expect(registers.queueReady).toBe(1);
      registers.queueReady = 0;
    }
    expectRecovery(machine);
  });
});

describe("QueueNotify", () => {
  it("NOTIF-DEV-001 names the queue with all of its bits: it is ignored for one that is not there or not ready, without interrupt or DEVICE_NEEDS_RESET", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    const { registers } = machine;
    disk.queue.publish(disk.chain(disk.readRequest(0, 512)));
    for (const index of [1, 0xffff, 0x1_0000, 0x8000_0000, 0xffff_ffff]) registers.queueNotify = index;
    expect(disk.takeUsed()).toEqual([]);
    registers.queueReady = 0;
    disk.notify();
    expect([registers.status, registers.interruptStatus]).toEqual([0x0f, 0]);
    expect(disk.takeUsed()).toEqual([]);
    expectRecovery(machine);
  });

  it("SPLIT-DEV-031 for nothing does nothing", () => {
    const disk = RawDisk.start(makeMachine());
    for (let i = 0; i < 100; i++) disk.notify();
    expect([disk.registers.status, disk.registers.interruptStatus, disk.queue.usedIdx]).toEqual([0x0f, 0, 0]);
  });
});

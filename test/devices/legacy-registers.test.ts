// The legacy register bank row by row: VIRTIO 1.4 §4.2.4, docs/reference/virtio-registers.md §1.
import { describe, expect, it } from "vitest";
import { RawSplitQueue } from "../../guest/index.ts";
import { legacy, placed, publishRead } from "./support/legacy-machine.ts";
import { RAM_BASE } from "./support/machine.ts";
import { legacyLayout, placeLegacyQueue, RawDisk } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

describe("the legacy register bank", () => {
  it("BLK-DEV-006 offers word 0 alone, whatever the device has beyond it", () => {
    const { registers } = legacy({
      device: { offeredFeatures: { packed: true, inOrder: true, notificationData: true, ringReset: true } },
    });
    for (const word of [1, 2, 32, 0xffff_ffff]) {
      registers.deviceFeaturesSel = word;
      expect(registers.deviceFeatures, `word ${word}`).toBe(0);
    }
    registers.deviceFeaturesSel = 0;
    expect(registers.deviceFeatures).toBe(0x3900_6e46);
  });
});

describe("a legacy queue", () => {
  it("MMIO-DEV-032 MMIO-DEV-033 SPLIT-DEV-004 FEAT-DEV-009 lies where page number, page size and alignment say", () => {
    for (const pageBytes of [16, 512, 4096, 65536]) {
      for (const alignBytes of [4, 64, 4096]) {
        const machine = legacy();
        const { registers } = machine;
        registers.status = 3;
        registers.write(0x028, pageBytes);
        machine.guest.allocator.allocate(65536 - 16);
        const layout = { ...legacyLayout(machine, 8, alignBytes) };
        const descriptorTable = Math.ceil(layout.descriptorTable / 65536) * 65536;
        const moved = {
          size: 8,
          descriptorTable,
          availableRing: descriptorTable + 128,
          usedRing: descriptorTable + Math.ceil((128 + 22) / alignBytes) * alignBytes,
        };
        machine.target.fillRam(descriptorTable, 0, 8192);
        expect(placeLegacyQueue(registers, 0, moved, pageBytes, alignBytes)).toBe(descriptorTable / pageBytes);
        registers.status = 7;
        const queue = new RawSplitQueue(machine.target, moved);
        const { status } = publishRead(machine, queue);
        registers.queueNotify = 0;
        expect([queue.usedIdx, queue.readUsed(0)], `${pageBytes}, ${alignBytes}`).toEqual([1, { id: 0, length: 513 }]);
        expect(machine.target.readRam8(status)).toBe(0);
      }
    }
  });

  it("MMIO-DEV-034 has an alignment of 4096 bytes, and the size that QueueNumMax says, where the driver writes none", () => {
    const machine = legacy({ device: { queueSizeMax: 16 } });
    const { registers } = machine;
    const layout = legacyLayout(machine, 16, 4096);
    registers.write(0x028, 4096);
    registers.write(0x040, layout.descriptorTable / 4096);
    registers.status = 7;
    const queue = new RawSplitQueue(machine.target, layout);
    publishRead(machine, queue);
    registers.queueNotify = 0;
    expect(queue.usedIdx).toBe(1);
  });

  it("MMIO-DEV-033 stops at QueuePFN = 0, without a reset, and starts from index 0 when it has a place again", () => {
    const machine = legacy();
    const disk = RawDisk.start(machine);
    const { registers } = machine;
    expect(disk.read(1).status).toBe(0);
    registers.write(0x040, 0);
    expect([registers.read(0x040), registers.status, registers.interruptStatus]).toEqual([0, 7, 1]);
    disk.submit(disk.chain(disk.readRequest(2, 512)));
    expect(disk.queue.usedIdx).toBe(1);
    const queue = placed(machine);
    publishRead(machine, queue);
    registers.queueNotify = 0;
    expect([queue.usedIdx, queue.readUsed(0)]).toEqual([1, { id: 0, length: 513 }]);
    expectRecovery(machine);
  });

  it("MMIO-DEV-035 has no place after a reset", () => {
    const machine = legacy();
    RawDisk.start(machine);
    const { registers } = machine;
    registers.status = 0;
    expect([registers.status, registers.read(0x040)]).toEqual([0, 0]);
    expectRecovery(machine);
  });

  it("takes no other place, size or alignment while it has one", () => {
    const machine = legacy();
    const disk = RawDisk.start(machine);
    const { registers } = machine;
    const page = registers.read(0x040);
    registers.write(0x040, page + 1);
    registers.queueSize = 16;
    registers.write(0x03c, 64);
    expect(registers.read(0x040)).toBe(page);
    for (let i = 0; i < 20; i++) expect(disk.read(i).status).toBe(0);
  });

  it("gets no place where its ring, event fields included, does not lie in RAM, or is not aligned", () => {
    const machine = legacy();
    const { registers } = machine;
    const end = RAM_BASE + machine.memory.sizeBytes;
    const attempt = (pageNumber: number, size: number, alignBytes: number): number => {
      registers.queueSize = size;
      registers.write(0x03c, alignBytes);
      registers.write(0x040, pageNumber);
      const reads = registers.read(0x040);
      registers.write(0x040, 0);
      return reads;
    };
    expect(attempt(RAM_BASE / 4096, 8, 4096), "without GuestPageSize").toBe(0);
    registers.write(0x028, 4096);
    expect(attempt(1, 8, 4096)).toBe(0);
    expect(attempt(0xffff_ffff, 8, 4096)).toBe(0);
    expect(attempt(end / 4096, 8, 4096)).toBe(0);
    expect(attempt(end / 4096 - 1, 8, 4096), "the used ring would be outside").toBe(0);
    expect(attempt(end / 4096 - 1, 8, 64)).toBe(end / 4096 - 1);
    registers.write(0x028, 2);
    // 16 · 8 + 22 bytes, then 70 for the used ring: the last place is at `end - 222`, aligned to 16 below.
    expect(attempt((end - 224) / 2, 8, 4)).toBe((end - 224) / 2);
    expect(attempt((end - 208) / 2, 8, 4)).toBe(0);
    expect(attempt(RAM_BASE / 2 + 4, 8, 4), "descriptors not aligned").toBe(0);
    expect(attempt(RAM_BASE / 2, 2, 2), "used ring not aligned").toBe(0);
    expectRecovery(machine);
  });

  it("keeps size, alignment and page size when a value that cannot be is written", () => {
    const machine = legacy();
    const { registers } = machine;
    registers.write(0x028, 4096);
    registers.queueSize = 8;
    registers.write(0x03c, 64);
    for (const bad of [0, 3, 4097, 0x8000_0001, 0xffff_ffff]) {
      registers.write(0x028, bad);
      registers.write(0x03c, bad);
      registers.queueSize = bad;
    }
    for (const bad of [512, 0x1_0008]) registers.queueSize = bad;
    const layout = legacyLayout(machine, 8, 64);
    registers.write(0x040, layout.descriptorTable / 4096);
    registers.status = 7;
    const queue = new RawSplitQueue(machine.target, layout);
    for (let i = 0; i < 9; i++) {
      publishRead(machine, queue);
      registers.queueNotify = 0;
    }
    expect([queue.usedIdx, registers.status]).toEqual([9, 7]);
  });

  it("MMIO-DEV-019 that is not there reads as 0 and takes nothing", () => {
    const machine = legacy();
    const disk = RawDisk.start(machine);
    const { registers } = machine;
    for (const index of [1, 1023, 1024, 0xffff, 0x1_0000, 0xffff_ffff]) {
      registers.queueSel = index;
      expect([registers.queueSizeMax, registers.read(0x040)]).toEqual([0, 0]);
      registers.write(0x040, 0);
      registers.write(0x040, 1);
      registers.queueNotify = index;
    }
    expect(disk.read(1).status).toBe(0);
  });

  it("keeps its place when GuestPageSize changes afterwards", () => {
    const machine = legacy();
    const { registers } = machine;
    const queue = placed(machine);
    registers.write(0x028, 512);
    registers.status = 7;
    publishRead(machine, queue);
    registers.queueNotify = 0;
    expect(queue.usedIdx).toBe(1);
  });
});

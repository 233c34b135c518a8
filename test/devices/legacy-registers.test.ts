// The legacy register bank row by row: VIRTIO 1.4 §4.2.4, docs/reference/virtio-registers.md §1.
import { describe, expect, it } from "vitest";
import { RawSplitQueue } from "../../guest/index.ts";
import { legacy, placed, publishRead } from "./support/legacy-machine.ts";
import { RAM_BASE, type TestMachine } from "./support/machine.ts";
import { legacyLayout, placeLegacyQueue, RawDisk } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

const READ_ONLY = [
  { offset: 0x000, name: "MagicValue", value: 0x7472_6976 },
  { offset: 0x004, name: "Version", value: 1 },
  { offset: 0x008, name: "DeviceID", value: 2 },
  { offset: 0x00c, name: "VendorID", value: 0x554d_4551 },
  // SIZE_MAX 1, SEG_MAX 2, BLK_SIZE 6, FLUSH 9, TOPOLOGY 10, CONFIG_WCE 11, NOTIFY_ON_EMPTY 24, ANY_LAYOUT 27,
  // INDIRECT_DESC 28, EVENT_IDX 29
  { offset: 0x010, name: "HostFeatures", value: 0x3900_6e46 },
  { offset: 0x034, name: "QueueNumMax", value: 256 },
  { offset: 0x060, name: "InterruptStatus", value: 0 },
] as const;
const WRITE_ONLY = [
  { offset: 0x014, name: "HostFeaturesSel" },
  { offset: 0x020, name: "GuestFeatures" },
  { offset: 0x024, name: "GuestFeaturesSel" },
  { offset: 0x028, name: "GuestPageSize" },
  { offset: 0x030, name: "QueueSel" },
  { offset: 0x038, name: "QueueNum" },
  { offset: 0x03c, name: "QueueAlign" },
  { offset: 0x050, name: "QueueNotify" },
  { offset: 0x064, name: "InterruptACK" },
] as const;
const READ_WRITE = [
  { offset: 0x040, name: "QueuePFN" },
  { offset: 0x070, name: "Status" },
] as const;

const LISTED = new Set<number>([...READ_ONLY, ...WRITE_ONLY, ...READ_WRITE].map(({ offset }) => offset));
const UNLISTED = Array.from({ length: 0x40 }, (_, i) => 4 * i).filter((offset) => !LISTED.has(offset));

function snapshot({ registers }: TestMachine): number[] {
  return Array.from({ length: 0x80 }, (_, i) => registers.read(4 * i));
}

describe("the legacy register bank", () => {
  it("MMIO-DEV-001 MMIO-DEV-015 MMIO-DEV-031 BLK-DEV-006 RSVD-DEV-009 RSVD-DEV-011 STAT-DEV-005 reads as the table says after power-on", () => {
    const { registers } = legacy();
    for (const { offset, name, value } of READ_ONLY) expect(registers.read(offset), name).toBe(value);
    for (const { offset, name } of READ_WRITE) expect(registers.read(offset), name).toBe(0);
  });

  it("reads the same in every state of the driver", () => {
    const machine = legacy();
    const { registers } = machine;
    for (const status of [0, 1, 3, 7, 0x87]) {
      if (status === 7) RawDisk.start(machine);
      else registers.status = status;
      registers.queueSel = 0;
      expect(registers.status).toBe(status);
      for (const { offset, name, value } of READ_ONLY)
        expect(registers.read(offset), `${name} at ${status}`).toBe(value);
    }
  });

  for (const { offset, name } of WRITE_ONLY) {
    it(`reads 0 from ${name}, which is for writing`, () => {
      const { registers } = legacy();
      registers.write(offset, 1);
      expect(registers.read(offset)).toBe(0);
    });
  }

  for (const { offset, name } of READ_ONLY) {
    it(`ignores a write to ${name}, which is for reading`, () => {
      const machine = legacy();
      RawDisk.start(machine).read(0);
      const before = snapshot(machine);
      for (const value of [0, 1, 0xffff_ffff]) machine.registers.write(offset, value);
      expect(snapshot(machine)).toEqual(before);
      expect(before[0x60 / 4]).toBe(1);
    });
  }

  it("MMIO-DEV-031 reads 0 from every offset that is no register, modern ones included, and ignores writes", () => {
    const machine = legacy();
    const disk = RawDisk.start(machine);
    const before = snapshot(machine);
    for (const modern of [0x044, 0x080, 0x0a4, 0x0ac, 0x0b0, 0x0bc, 0x0c0, 0x0fc]) expect(UNLISTED).toContain(modern);
    for (const offset of UNLISTED) {
      expect(machine.registers.read(offset), offset.toString(16)).toBe(0);
      for (const value of [0, 1, 0xffff_ffff]) machine.registers.write(offset, value);
    }
    expect(snapshot(machine)).toEqual(before);
    expect(disk.read(1).status).toBe(0);
  });

  it("gives 0 for 8 and 16 bits and for misaligned accesses of a control register, and changes nothing when they are written", () => {
    const machine = legacy();
    RawDisk.start(machine);
    const before = snapshot(machine);
    for (const width of [1, 2, 4] as const) {
      for (let offset = 0; offset + width <= 0x100; offset++) {
        if (width === 4 && offset % 4 === 0) continue;
        expect(machine.registers.read(offset, width), `${width} at ${offset.toString(16)}`).toBe(0);
        machine.registers.write(offset, 0, width);
        machine.registers.write(offset, 0xffff_ffff, width);
      }
    }
    expect(snapshot(machine)).toEqual(before);
  });

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

// The register banks of both versions, row by row: VIRTIO 1.4 §4.2.2 and §4.2.4, docs/reference/virtio-registers.md §1.
import { describe, expect, it } from "vitest";
import { legacy } from "./support/legacy-machine.ts";
import { makeMachine, snapshot, type TestMachine } from "./support/machine.ts";
import { RawDisk } from "./support/raw-disk.ts";

interface Row {
  readonly offset: number;
  readonly name: string;
}

interface BankTable {
  readonly title: string;
  /** Ids of the rows of the standard that the values after power-on and the unknown offsets prove. */
  readonly powerOnRows: string;
  readonly unlistedRows: string;
  readonly make: () => TestMachine;
  readonly readOnly: readonly (Row & { readonly value: number })[];
  readonly writeOnly: readonly Row[];
  readonly readWrite: readonly Row[];
  /** Offsets of the other version's registers, or of such as have to be asked for: none of this bank's. */
  readonly foreign: readonly number[];
  /** What Status reads on a driver's way; it has started at `started`. */
  readonly statuses: readonly number[];
  readonly started: number;
}

const MODERN: BankTable = {
  title: "the register bank",
  powerOnRows: "MMIO-DEV-001 MMIO-DEV-002 MMIO-DEV-014 MMIO-DEV-015 STAT-DEV-005",
  unlistedRows: "",
  make: makeMachine,
  readOnly: [
    { offset: 0x000, name: "MagicValue", value: 0x7472_6976 },
    { offset: 0x004, name: "Version", value: 2 },
    { offset: 0x008, name: "DeviceID", value: 2 },
    { offset: 0x00c, name: "VendorID", value: 0x554d_4551 },
    // SIZE_MAX 1, SEG_MAX 2, BLK_SIZE 6, FLUSH 9, TOPOLOGY 10, CONFIG_WCE 11, INDIRECT_DESC 28, EVENT_IDX 29
    { offset: 0x010, name: "DeviceFeatures", value: 0x3000_6e46 },
    { offset: 0x034, name: "QueueSizeMax", value: 256 },
    { offset: 0x060, name: "InterruptStatus", value: 0 },
    { offset: 0x0b0, name: "SHMLenLow", value: 0xffff_ffff },
    { offset: 0x0b4, name: "SHMLenHigh", value: 0xffff_ffff },
    { offset: 0x0b8, name: "SHMBaseLow", value: 0xffff_ffff },
    { offset: 0x0bc, name: "SHMBaseHigh", value: 0xffff_ffff },
    { offset: 0x0fc, name: "ConfigGeneration", value: 0 },
  ],
  writeOnly: [
    { offset: 0x014, name: "DeviceFeaturesSel" },
    { offset: 0x020, name: "DriverFeatures" },
    { offset: 0x024, name: "DriverFeaturesSel" },
    { offset: 0x030, name: "QueueSel" },
    { offset: 0x038, name: "QueueSize" },
    { offset: 0x050, name: "QueueNotify" },
    { offset: 0x064, name: "InterruptACK" },
    { offset: 0x080, name: "QueueDescLow" },
    { offset: 0x084, name: "QueueDescHigh" },
    { offset: 0x090, name: "QueueDriverLow" },
    { offset: 0x094, name: "QueueDriverHigh" },
    { offset: 0x0a0, name: "QueueDeviceLow" },
    { offset: 0x0a4, name: "QueueDeviceHigh" },
    { offset: 0x0ac, name: "SHMSel" },
  ],
  readWrite: [
    { offset: 0x044, name: "QueueReady" },
    { offset: 0x070, name: "Status" },
  ],
  foreign: [0x028, 0x03c, 0x040, 0x0c0], // GuestPageSize, QueueAlign, QueuePFN, QueueReset
  statuses: [0, 1, 3, 0x0b, 0x0f, 0x8f],
  started: 0x0f,
};

const LEGACY: BankTable = {
  title: "the legacy register bank",
  powerOnRows: "MMIO-DEV-001 MMIO-DEV-015 MMIO-DEV-031 BLK-DEV-006 RSVD-DEV-009 RSVD-DEV-011 STAT-DEV-005",
  unlistedRows: "MMIO-DEV-031 ",
  make: legacy,
  readOnly: [
    { offset: 0x000, name: "MagicValue", value: 0x7472_6976 },
    { offset: 0x004, name: "Version", value: 1 },
    { offset: 0x008, name: "DeviceID", value: 2 },
    { offset: 0x00c, name: "VendorID", value: 0x554d_4551 },
    // SIZE_MAX 1, SEG_MAX 2, BLK_SIZE 6, FLUSH 9, TOPOLOGY 10, CONFIG_WCE 11, NOTIFY_ON_EMPTY 24, ANY_LAYOUT 27,
    // INDIRECT_DESC 28, EVENT_IDX 29
    { offset: 0x010, name: "HostFeatures", value: 0x3900_6e46 },
    { offset: 0x034, name: "QueueNumMax", value: 256 },
    { offset: 0x060, name: "InterruptStatus", value: 0 },
  ],
  writeOnly: [
    { offset: 0x014, name: "HostFeaturesSel" },
    { offset: 0x020, name: "GuestFeatures" },
    { offset: 0x024, name: "GuestFeaturesSel" },
    { offset: 0x028, name: "GuestPageSize" },
    { offset: 0x030, name: "QueueSel" },
    { offset: 0x038, name: "QueueNum" },
    { offset: 0x03c, name: "QueueAlign" },
    { offset: 0x050, name: "QueueNotify" },
    { offset: 0x064, name: "InterruptACK" },
  ],
  readWrite: [
    { offset: 0x040, name: "QueuePFN" },
    { offset: 0x070, name: "Status" },
  ],
  foreign: [0x044, 0x080, 0x0a4, 0x0ac, 0x0b0, 0x0bc, 0x0c0, 0x0fc],
  statuses: [0, 1, 3, 7, 0x87],
  started: 7,
};

for (const table of [MODERN, LEGACY]) {
  const { make, readOnly, writeOnly, readWrite } = table;
  const listed = new Set([...readOnly, ...writeOnly, ...readWrite].map(({ offset }) => offset));
  const unlisted = Array.from({ length: 0x40 }, (_, i) => 4 * i).filter((offset) => !listed.has(offset));

  describe(table.title, () => {
    it(`${table.powerOnRows} reads as the table says after power-on`, () => {
      const { registers } = make();
      for (const { offset, name, value } of readOnly) expect(registers.read(offset), name).toBe(value);
      for (const { offset, name } of readWrite) expect(registers.read(offset), name).toBe(0);
    });

    it("reads the same in every state of the driver", () => {
      const machine = make();
      const { registers } = machine;
      for (const status of table.statuses) {
        if (status === table.started) RawDisk.start(machine);
        else registers.status = status;
        registers.queueSel = 0;
        expect(registers.status).toBe(status);
        for (const { offset, name, value } of readOnly) {
          expect(registers.read(offset), `${name} at ${status}`).toBe(value);
        }
      }
    });

    for (const { offset, name } of writeOnly) {
      it(`reads 0 from ${name}, which is for writing`, () => {
        const { registers } = make();
        registers.write(offset, 1);
        expect(registers.read(offset)).toBe(0);
      });
    }

    for (const { offset, name } of readOnly) {
      it(`ignores a write to ${name}, which is for reading`, () => {
        const machine = make();
        RawDisk.start(machine).read(0);
        const before = snapshot(machine);
        for (const value of [0, 1, 0xffff_ffff]) machine.registers.write(offset, value);
        expect(snapshot(machine)).toEqual(before);
        expect(before[0x60 / 4]).toBe(1); // InterruptStatus was not cleared
      });
    }

    it(`${table.unlistedRows}reads 0 from every offset that is no register, those of the other version included, and ignores writes`, () => {
      const machine = make();
      const disk = RawDisk.start(machine);
      const before = snapshot(machine);
      for (const offset of table.foreign) expect(unlisted).toContain(offset);
      for (const offset of unlisted) {
        expect(machine.registers.read(offset), offset.toString(16)).toBe(0);
        for (const value of [0, 1, 0xffff_ffff]) machine.registers.write(offset, value);
      }
      expect(snapshot(machine)).toEqual(before);
      expect(disk.read(1).status).toBe(0);
    });

    it("gives 0 for 8 and 16 bits and for misaligned accesses of a control register, and changes nothing when they are written", () => {
      const machine = make();
      const disk = RawDisk.start(machine);
      const before = snapshot(machine);
      disk.queue.publish(disk.chain(disk.readRequest(0, 512)));
      for (const width of [1, 2, 4] as const) {
        for (let offset = 0; offset + width <= 0x100; offset++) {
          if (width === 4 && offset % 4 === 0) continue;
          expect(machine.registers.read(offset, width), `${width} at ${offset.toString(16)}`).toBe(0);
          machine.registers.write(offset, 0, width);
          machine.registers.write(offset, 0xffff_ffff, width);
        }
      }
      expect(snapshot(machine)).toEqual(before);
      expect(disk.takeUsed()).toEqual([]); // QueueNotify among them
    });
  });
}

// The register bank row by row: VIRTIO 1.4 §4.2.2, docs/reference/virtio-registers.md §1.
import { describe, expect, it } from "vitest";
import { NullDriver } from "../../src/block/drivers/null.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import { makeMachine, snapshot, type TestMachine } from "./support/machine.ts";
import { RawDisk } from "./support/raw-disk.ts";

describe("the register bank", () => {
  it("takes the low bits of what an emulator hands over, be it negative or too wide", () => {
    const { bank, registers } = makeMachine();
    bank.write(0x070, 4, 3 + 2 ** 32);
    expect(registers.status).toBe(3);
    bank.write(0x014, 4, -1);
    expect(registers.deviceFeatures).toBe(0);
    bank.write(0x014, 4, 2 ** 32 + 1);
    expect(registers.deviceFeatures).toBe(0x101);
    for (const value of [Number.NaN, 0.5, Number.POSITIVE_INFINITY]) bank.write(0x020, 4, value);
    bank.write(0x030, 4, -0x8000_0000);
    expect(registers.queueSizeMax).toBe(0);
    for (const offset of [-4, 0.5, Number.NaN, 0x200, 2 ** 40]) {
      expect(bank.read(offset, 4), String(offset)).toBe(0);
      bank.write(offset, 4, 1);
    }
    expect(registers.status).toBe(3);
  });
});

describe("DeviceFeatures", () => {
  it("MMIO-DEV-016 RSVD-DEV-001 gives the word that the whole of DeviceFeaturesSel names, and 0 for words that are not there", () => {
    const { registers } = makeMachine();
    const words: [number, number][] = [
      [0, 0x3000_6e46],
      [1, 0x0000_0101], // VERSION_1, feature 32, and RING_RESET, feature 40
      [2, 0],
      [3, 0],
      [32, 0], // a shift by 32 · 32 would be one by 0
      [0x8000_0000, 0],
      [0x8000_0001, 0],
      [0xffff_ffff, 0],
    ];
    for (const [sel, word] of words) {
      registers.deviceFeaturesSel = sel;
      expect(registers.deviceFeatures, `word ${sel}`).toBe(word);
    }
  });

  it("FEAT-DEV-001 FEAT-DEV-004 MMIO-DEV-030 RSVD-DEV-008 BLK-DEV-001 BLK-DEV-002 BLK-DEV-005 BLK-DEV-052 offers FLUSH, which CONFIG_WCE needs, and nothing that it does not have", () => {
    const { registers } = makeMachine();
    registers.deviceFeaturesSel = 0;
    const low = registers.deviceFeatures;
    const bits = Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => ((low >>> bit) & 1) === 1);
    expect(bits).toEqual([1, 2, 6, 9, 10, 11, 13, 14, 28, 29]);
    registers.deviceFeaturesSel = 1;
    expect(registers.deviceFeatures).toBe(0x101); // no SR_IOV, ADMIN_VQ, RING_PACKED, …
  });

  it("offers RO for a drive that cannot be written to", () => {
    const { registers } = makeMachine({ readOnly: true });
    registers.deviceFeaturesSel = 0;
    expect(registers.deviceFeatures).toBe(0x3000_6e66);
  });
});

describe("InterruptStatus and InterruptACK", () => {
  it("MMIO-DEV-003 MMIO-DEV-021 VQ-DEV-001 hold bit 0 from a used buffer until it is acknowledged, and no other bit does that", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    const { registers, line } = machine;
    expect(disk.read(0)).toMatchObject({ status: 0, length: 513 });
    for (let i = 0; i < 10; i++) expect(registers.interruptStatus).toBe(1);
    for (const others of [0, 2, 4, 0xffff_fffe]) {
      registers.interruptAck = others;
      expect(registers.interruptStatus, others.toString(16)).toBe(1);
      expect(line.raised).toBe(true);
    }
    registers.interruptAck = 1;
    expect(registers.interruptStatus).toBe(0);
    expect(line.raised).toBe(false);
  });

  it("MMIO-DEV-004 INIT-DEV-003 BLK-DEV-036 set bit 1, and that alone, when the capacity changes", async () => {
    const { registers, node, line } = RawDisk.start(makeMachine()).machine;
    await node.resize(512 * 200);
    expect(registers.interruptStatus).toBe(2);
    expect(line.raised).toBe(true);
  });

  it("MMIO-DEV-022 MMIO-DEV-028 clear exactly the bits that are written, and lower the line with the last one", async () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    const { registers, line } = machine;
    disk.read(0);
    await machine.node.resize(512 * 200);
    expect(registers.interruptStatus).toBe(3);
    registers.interruptAck = 1;
    expect([registers.interruptStatus, line.raised]).toEqual([2, true]);
    disk.read(0);
    expect([registers.interruptStatus, line.raised]).toEqual([3, true]);
    registers.interruptAck = 0xffff_ffff;
    expect([registers.interruptStatus, line.raised]).toEqual([0, false]);
  });

  it("MMIO-DEV-005 MMIO-DEV-006 STAT-DEV-008 are cleared by a reset, with QueueReady, the line and Status", () => {
    const machine = makeMachine();
    RawDisk.start(machine).read(0);
    const { registers, line } = machine;
    expect(line.raised).toBe(true);
    registers.status = 0;
    expect([registers.status, registers.interruptStatus, line.raised]).toEqual([0, 0, false]);
    registers.queueSel = 0;
    expect(registers.queueReady).toBe(0);
  });

  it("may be acknowledged in any state", () => {
    const machine = makeMachine();
    const { registers, line } = machine;
    RawDisk.start(machine).read(0);
    registers.status = 0x8f; // FAILED
    registers.interruptAck = 1;
    expect([registers.interruptStatus, line.raised]).toEqual([0, false]);
  });
});

describe("the configuration space", () => {
  /** A disk of 0x1_0000_0203 sectors, too large for RAM. */
  function largeDisk(): TestMachine {
    return makeMachine({
      driver: new NullDriver({ lengthBytes: 512 * 0x1_0000_0203 }),
      device: {
        topology: {
          blockSizeBytes: 4096,
          physicalBlockExp: 1,
          alignmentOffsetBlocks: 2,
          minIoBlocks: 0x0304,
          optIoBlocks: 0x0506_0708,
        },
      },
    });
  }

  const FIELDS: readonly (readonly [string, number, AccessWidth, number])[] = [
    ["capacity, low", 0x100, 4, 0x0000_0203],
    ["capacity, high", 0x104, 4, 1],
    ["size_max", 0x108, 4, 1 << 20],
    ["seg_max", 0x10c, 4, 254],
    ["geometry, not offered", 0x110, 4, 0],
    ["blk_size", 0x114, 4, 4096],
    ["physical_block_exp", 0x118, 1, 1],
    ["alignment_offset", 0x119, 1, 2],
    ["min_io_size", 0x11a, 2, 0x0304],
    ["opt_io_size", 0x11c, 4, 0x0506_0708],
    ["unused0", 0x121, 1, 0],
    ["num_queues, not offered", 0x122, 2, 0],
    ["max_discard_sectors", 0x124, 4, 1 << 21],
    ["max_secure_erase_sectors, not offered", 0x13c, 4, 0],
    ["unused1", 0x139, 1, 0],
    ["unused1", 0x13a, 2, 0],
    ["zoned.model, not offered", 0x15c, 1, 0],
  ];

  it("CFG-DEV-001 CFG-DEV-002 MMIO-DEV-026 BLK-DEV-004 BLK-DEV-019 BLK-DEV-024 has its fields at their offsets, little-endian, before FEATURES_OK and after DRIVER_OK", () => {
    const machine = largeDisk();
    const { registers } = machine;
    registers.status = 3;
    for (const [name, offset, width, value] of FIELDS) expect(registers.read(offset, width), name).toBe(value);
    RawDisk.start(machine);
    for (const [name, offset, width, value] of FIELDS) expect(registers.read(offset, width), name).toBe(value);
  });

  it("can be read byte by byte, in pairs and at any offset", () => {
    const { registers } = largeDisk();
    const bytes = Array.from({ length: 0x100 }, (_, i) => registers.read(0x100 + i, 1));
    expect(bytes.slice(0, 12)).toEqual([3, 2, 0, 0, 1, 0, 0, 0, 0, 0, 16, 0]);
    for (let i = 0; i < 0xfc; i++) {
      expect(registers.read(0x100 + i, 2), `16 bits at ${i}`).toBe(bytes[i]! + 256 * bytes[i + 1]!);
      const [a, b, c, d] = bytes.slice(i, i + 4) as [number, number, number, number];
      expect(registers.read(0x100 + i, 4), `32 bits at ${i}`).toBe(a + 256 * (b + 256 * (c + 256 * d)));
    }
  });

  it("gives 0 for bytes past its 96, also where an access reaches beyond the bank", () => {
    const { bank } = makeMachine();
    for (let offset = 0x160; offset < 0x240; offset++)
      for (const width of [1, 2, 4] as const) expect(bank.read(offset, width), offset.toString(16)).toBe(0);
  });

  it("MMIO-DEV-007 MMIO-DEV-027 changes ConfigGeneration with the capacity, at DRIVER_OK and before, and with nothing else", async () => {
    const machine = makeMachine();
    const { registers, node } = machine;
    registers.status = 3;
    const before = registers.configGeneration;
    expect(registers.configGeneration).toBe(before);
    await node.resize(512 * 64);
    const after = registers.configGeneration;
    expect(after).not.toBe(before);
    expect(registers.readConfig(0, 4)).toBe(64);
    expect(registers.interruptStatus).toBe(0); // nobody to tell before DRIVER_OK
    const disk = RawDisk.start(machine);
    disk.read(1);
    expect(registers.configGeneration).toBe(after);
    await node.resize(512 * 65);
    expect(registers.configGeneration).not.toBe(after);
    expect(registers.readConfig(0, 4)).toBe(65);
  });

  it("ignores every write but the one byte of writeback", () => {
    const machine = makeMachine();
    const { registers } = RawDisk.start(machine, { features: [9, 11, 32] }).machine;
    const before = snapshot(machine);
    for (let offset = 0x100; offset < 0x1fd; offset++) {
      for (const width of [1, 2, 4] as const) {
        if (offset === 0x120 && width === 1) continue;
        registers.write(offset, 0, width);
        registers.write(offset, 0xffff_ffff, width);
        expect(snapshot(machine), `${width} at ${offset.toString(16)}`).toEqual(before);
      }
    }
    registers.write(0x120, 0, 1);
    expect(registers.read(0x120, 1)).toBe(0);
  });
});

describe("shared memory registers", () => {
  it("MMIO-DEV-025 say that no region exists, whatever its number", () => {
    const { registers } = makeMachine();
    for (const id of [0, 1, 255, 0xffff_ffff]) {
      registers.write(0x0ac, id);
      for (const offset of [0x0b0, 0x0b4, 0x0b8, 0x0bc]) expect(registers.read(offset)).toBe(0xffff_ffff);
    }
  });
});

// What a device offers, its queues, and what legacy drivers get: VIRTIO 1.4 §5.2.2 to §5.2.6.
import { describe, expect, it } from "vitest";
import type { BlockFeatures } from "../../../devices/index.ts";
import { HeldDriver } from "../support/held-driver.ts";
import { type MachineOptions, makeMachine } from "../support/machine.ts";
import { headerBytes, RawDisk, type Segment } from "../support/raw-disk.ts";

function offered(options: MachineOptions): number[] {
  const { registers } = makeMachine(options);
  registers.deviceFeaturesSel = 0;
  const low = registers.deviceFeatures & 0xf_ffff;
  return Array.from({ length: 20 }, (_, bit) => bit).filter((bit) => ((low >>> bit) & 1) === 1);
}

const DEFAULTS = [1, 2, 6, 9, 10, 11, 13, 14];

describe("features of the block device", () => {
  it("BLK-DEV-001 BLK-DEV-002 BLK-DEV-005 BLK-DEV-052 are offered or withheld one by one", () => {
    const bits: [keyof BlockFeatures, number[]][] = [
      ["sizeMax", [1]],
      ["segMax", [2]],
      ["blockSize", [6]],
      ["flush", [9, 11]],
      ["topology", [10]],
      ["configWce", [11]],
      ["discard", [13]],
      ["writeZeroes", [14]],
    ];
    for (const [name, gone] of bits) {
      const expected = DEFAULTS.filter((bit) => !gone.includes(bit));
      expect(offered({ device: { blockFeatures: { [name]: false } } }), name).toEqual(expected);
    }
    expect(offered({ device: { blockFeatures: { geometry: true } } })).toEqual([1, 2, 4, 6, 9, 10, 11, 13, 14]);
    const wishes = { lifetime: true, secureErase: true, zoned: true, readOnly: true, multiQueue: true };
    expect(offered({ device: { blockFeatures: wishes } }), "what the disk has not").toEqual(DEFAULTS);
    expect(offered({ readOnly: true, device: { blockFeatures: { readOnly: false } } })).toEqual(DEFAULTS);
    expect(offered({ device: { blockFeatures: { barrier: true, scsi: true } } }), "modern").toEqual(DEFAULTS);
    const legacy = offered({ legacy: true, device: { blockFeatures: { barrier: true, scsi: true } } });
    expect(legacy).toEqual([0, 1, 2, 6, 7, 9, 10, 11, 13, 14]);
  });

  it("BLK-DEV-002 need each other: CONFIG_WCE without FLUSH is a mistake of whoever makes the device", () => {
    expect(() => makeMachine({ device: { blockFeatures: { flush: false, configWce: true } } })).toThrow("CONFIG_WCE");
  });

  it("have limits that the configuration tells, and none where they are withheld", () => {
    const limits = {
      sizeMaxBytes: 4096,
      segMax: 3,
      discard: { maxSectors: 7, maxSegments: 2, alignmentSectors: 4 },
      writeZeroes: { maxSectors: 9, maxSegments: 5 },
    };
    const geometry = { cylinders: 300, heads: 7, sectors: 9 };
    const { registers } = makeMachine({ device: { limits, geometry, blockFeatures: { geometry: true } } });
    const fields = [0x08, 0x0c, 0x10, 0x24, 0x28, 0x2c, 0x30, 0x34].map((at) => registers.readConfig(at, 4));
    expect(fields).toEqual([4096, 3, 300 + (7 << 16) + (9 << 24), 7, 2, 4, 9, 5]);
    const none = {
      sizeMax: false,
      segMax: false,
      blockSize: false,
      topology: false,
      discard: false,
      writeZeroes: false,
    };
    const bare = makeMachine({ discard: "unmap", device: { limits, geometry, blockFeatures: none } });
    for (const at of [0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x38, 0x3c])
      expect(bare.registers.readConfig(at, 4), `0x${at.toString(16)}`).toBe(0);
  });

  it("bound a request by seg_max segments of size_max", () => {
    const disk = RawDisk.start(makeMachine({ device: { limits: { sizeMaxBytes: 1024, segMax: 2 } } }));
    expect([disk.read(0, 2048).status, disk.read(0, 2560).status]).toEqual([0, 1]);
  });
});

describe("several queues", () => {
  it("BLK-DEV-026 BLK-DEV-027 are as many as num_queues says, and each takes requests", () => {
    const machine = makeMachine({ device: { queues: 3, queueSizeMax: 16 } });
    const { registers } = machine;
    const sizes = [0, 1, 2, 3, 0xffff].map((queue) => {
      registers.queueSel = queue;
      return registers.read(0x034);
    });
    expect([registers.readConfig(0x22, 2), sizes]).toEqual([3, [16, 16, 16, 0, 0]]);
    const disk = RawDisk.start(machine, { features: [9, 12, 32] });
    const third = machine.guest.rawSplitQueue(8);
    third.enable(registers, 2);
    const data = disk.writable(512);
    third.writeDescriptor(0, { ...disk.header(0, 5), flags: 1, next: 1 });
    third.writeDescriptor(1, { ...data, flags: 3, next: 2 });
    third.writeDescriptor(2, { ...disk.writable(1), flags: 2 });
    third.publish(0);
    registers.queueNotify = 2;
    expect(third.usedIdx).toBe(1);
    expect(disk.bytesOf(data)).toEqual(disk.read(5).data);
  });

  it("wait after a reset for what any of them had under way", async () => {
    const driver = new HeldDriver();
    const machine = makeMachine({ driver, device: { queues: 2 } });
    const first = RawDisk.start(machine, { features: [9, 12, 32] });
    first.submit(first.chain(first.writeRequest(0, new Uint8Array(512))));
    machine.registers.status = 0;
    driver.log.length = 0;
    const again = RawDisk.start(machine, { features: [9, 12, 32], driverOk: false });
    const other = machine.guest.rawSplitQueue(8);
    other.enable(machine.registers, 1);
    machine.registers.status = 0x0f;
    other.writeDescriptor(0, { ...again.header(4), flags: 1, next: 1 });
    other.writeDescriptor(1, { ...again.writable(1), flags: 2 });
    other.publish(0);
    machine.registers.queueNotify = 1;
    expect(driver.log).toEqual([]);
    driver.holding = false;
    driver.endAll();
    await new Promise(setImmediate);
    expect([driver.log, other.usedIdx]).toEqual([["flush"], 1]);
  });
});

describe("a legacy driver", () => {
  const BARRIER = 0x8000_0000;

  function start(driver: HeldDriver, barrier: boolean): RawDisk {
    const machine = makeMachine({ driver, legacy: true, device: { blockFeatures: { barrier } } });
    return RawDisk.start(machine, { features: barrier ? [0, 9] : [9], queueSize: 16 });
  }

  it("BLK-DEV-102 BLK-DEV-103 has barriers wait for all before them, and all after them for the barrier", async () => {
    const driver = new HeldDriver();
    const disk = start(driver, true);
    const write = (sector: number, type = 1): Segment[] => [
      disk.header(type, sector),
      disk.readable(new Uint8Array(512)),
      disk.writable(1),
    ];
    const heads = [write(0), write(1), write(2, BARRIER + 1), write(3)].map((segments) => disk.chain(segments));
    for (const head of heads) disk.submit(head);
    expect(driver.log).toEqual(["write 0+512", "write 512+512"]);
    driver.held[1]!.end();
    await new Promise(setImmediate);
    expect(driver.log.length).toBe(2);
    driver.held[0]!.end();
    await new Promise(setImmediate);
    expect(driver.log).toEqual(["write 0+512", "write 512+512", "write 1024+512"]);
    driver.held[0]!.end();
    await new Promise(setImmediate);
    expect(driver.log.at(-1)).toBe("write 1536+512");
    driver.endAll();
    await new Promise(setImmediate);
    expect(disk.takeUsed().map(({ id }) => id)).toEqual([heads[1], heads[0], heads[2], heads[3]]);
  });

  it("gets nothing of a barrier that a reset took back", async () => {
    const driver = new HeldDriver();
    const disk = start(driver, true);
    disk.submit(disk.chain(disk.writeRequest(0, new Uint8Array(512))));
    disk.submit(disk.chain([disk.header(BARRIER + 4), disk.writable(1)]));
    disk.registers.status = 0;
    driver.holding = false;
    driver.endAll();
    await new Promise(setImmediate);
    expect(driver.log).toEqual(["write 0+512"]);
  });

  it("BLK-DEV-081 BLK-DEV-101 BLK-DEV-104 may flush by FLUSH_OUT, and has no SCSI, nor barriers that are not offered", () => {
    const driver = new HeldDriver();
    driver.holding = false;
    const disk = start(driver, false);
    const status = (type: number): number => disk.perform([disk.header(type), disk.writable(1)]).status;
    expect([status(5), status(2), status(3), status(BARRIER + 4), status(BARRIER)]).toEqual([0, 2, 2, 2, 2]);
    const modern = RawDisk.start(makeMachine({ driver }));
    expect(modern.perform([modern.header(5), modern.writable(1)]).status).toBe(2);
  });

  it("BLK-DEV-031 reads the configuration in its own order", () => {
    const { registers } = makeMachine({ legacy: true, bigEndian: true, device: { queues: 2 } });
    const bytes = (at: number, count: number): number[] =>
      Array.from({ length: count }, (_, i) => registers.read(0x100 + at + i, 1));
    expect([bytes(0, 8), bytes(0x14, 4), bytes(0x22, 2)]).toEqual([
      [0, 0, 0, 0, 0, 0, 0, 128],
      [0, 0, 2, 0],
      [0, 2],
    ]);
  });
});

describe("headers", () => {
  it("differ in no bit that the device leaves out: every type that is not known is unsupported", () => {
    const disk = RawDisk.start(makeMachine());
    for (const type of [2, 3, 6, 7, 9, 12, 17, 19, 21, 23, 25, 27, 0x77, 0x8000_0000, 0x8000_0001, 0xffff_ffff]) {
      const outcome = disk.perform([disk.readable(headerBytes(type, 0)), disk.writable(1)]);
      expect(outcome, String(type)).toMatchObject({ status: 2, length: 1 });
    }
  });
});

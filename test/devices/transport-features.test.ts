// Queue reset, notification data, many queues, and which features there are: VIRTIO 1.4 §2.6.1, §2.9, §4.2.2, §6.
import { describe, expect, it } from "vitest";
import { VirtioMmio } from "../../devices/index.ts";
import { ringFeatureSet } from "../../devices/virtio-features.ts";
import { DescriptorChain } from "../../devices/virtqueue/descriptor-chain.ts";
import { Guest, InProcessTarget, type VirtioMmioRegisters } from "../../guest/index.ts";
import { GuestMemory } from "../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../src/memory/interrupt-line.ts";
import { makeMachine, type TestMachine } from "./support/machine.ts";
import { acceptFeatures, RawDisk } from "./support/raw-disk.ts";
import { RecordingDevice } from "./support/recording-device.ts";
import { expectRecovery } from "./support/recovery.ts";

const RAM_BASE = 0x4000_0000;

interface Rig {
  readonly device: RecordingDevice;
  readonly memory: GuestMemory;
  readonly registers: VirtioMmioRegisters;
}

/** A recording device behind a bank. */
function makeRig(options: {
  offered: readonly number[];
  queues?: number;
  sizeMax?: number;
  legacy?: boolean;
  bigEndian?: boolean;
}): Rig {
  const { queues = 1, sizeMax = 8, legacy = false, bigEndian = false } = options;
  const offeredFeatures = options.offered.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);
  const device = new RecordingDevice({ offeredFeatures, queueSizesMax: new Array(queues).fill(sizeMax) });
  const memory = new GuestMemory({ baseAddress: RAM_BASE, sizeBytes: 1 << 20 });
  const line = new InterruptLine();
  const bank = new VirtioMmio({ device, memory, line, legacy, bigEndian });
  const { registers } = new Guest(new InProcessTarget({ memory, region: bank, line }));
  return { device, memory, registers };
}

/** FEATURES_OK with these features; queues and DRIVER_OK are the test's. */
function negotiate({ registers }: Rig, features: readonly number[]): void {
  registers.status = 3;
  acceptFeatures(registers, features);
  registers.status = 0x0b;
  expect(registers.status).toBe(0x0b);
}

/** Queue `index` at a page of its own; what QueueReady then reads. */
function enable({ registers }: Rig, index: number, size: number, address = RAM_BASE + 1024 * index): number {
  registers.queueSel = index;
  registers.queueSize = size;
  registers.queueDesc = address;
  registers.queueDriver = address + 512;
  registers.queueDevice = address + 768;
  registers.queueReady = 1;
  return registers.queueReady;
}

function bitsOf(machine: TestMachine): number[] {
  const { registers } = machine;
  const words = [0, 1].map((word) => {
    registers.deviceFeaturesSel = word;
    return registers.deviceFeatures;
  });
  return Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => ((words[bit >>> 5]! >>> (bit & 31)) & 1) === 1);
}

describe("ring features", () => {
  it("RSVD-DEV-001 RSVD-DEV-008 MMIO-DEV-030 FEAT-DEV-004 are offered or withheld one by one", () => {
    const names = {
      indirect: 28,
      eventIndex: 29,
      ringReset: 40,
      packed: 34,
      inOrder: 35,
      notificationData: 38,
      accessPlatform: 33,
      orderPlatform: 36,
    } as const;
    const block = [1, 2, 6, 9, 10, 11, 13, 14];
    for (const [name, bit] of Object.entries(names)) {
      const rest = [28, 29, 40].filter((other) => other !== bit);
      const sorted = (...bits: number[]): number[] => [...block, ...rest, 32, ...bits].sort((a, b) => a - b);
      expect(bitsOf(makeMachine({ device: { offeredFeatures: { [name]: true } } })), name).toEqual(sorted(bit));
      expect(bitsOf(makeMachine({ device: { offeredFeatures: { [name]: false } } })), name).toEqual(sorted());
    }
  });

  it("RSVD-DEV-003 RSVD-DEV-004 RSVD-DEV-006 RSVD-DEV-007 work with the platform's features accepted and not", () => {
    const machine = makeMachine({ device: { offeredFeatures: { accessPlatform: true, orderPlatform: true } } });
    for (const features of [[32], [32, 33], [32, 36], [32, 33, 36]])
      expect(RawDisk.start(machine, { features }).read(1)).toMatchObject({ status: 0, length: 513 });
  });

  it("FEAT-DEV-004 that this transport cannot have are a mistake of whoever offers them", () => {
    for (const bit of [30, 37, 39, 41])
      expect(() => makeRig({ offered: [32, bit] }), `feature ${bit}`).toThrow(/feature/);
  });

  it("choose the layout of a queue", () => {
    const rig = makeRig({ offered: [28, 29, 32, 34, 35] });
    negotiate(rig, [32, 34]);
    expect(enable(rig, 0, 5), "any size in a packed ring").toBe(1);
    expect(rig.device.queues.get(0)?.size).toBe(5);
    rig.registers.status = 0x0f;
    // An available descriptor, as only a packed ring has one: AVAIL set, USED clear, in the first lap.
    rig.memory.writeU64(RAM_BASE, BigInt(RAM_BASE + 0x8000));
    rig.memory.writeU32(RAM_BASE + 8, 16);
    rig.memory.writeU16(RAM_BASE + 12, 0x1234);
    rig.memory.writeU16(RAM_BASE + 14, 1 << 7);
    const chain = new DescriptorChain(rig.memory);
    expect(rig.device.queues.get(0)!.pop(chain)).toBe("chain");
    expect(chain.head).toBe(0x1234);
    rig.registers.status = 0;
    negotiate(rig, [32]);
    expect(enable(rig, 0, 5), "a split ring has a power of two").toBe(0);
    expect(enable(rig, 0, 4)).toBe(1);
  });

  it("count for queues only as far as they were offered", () => {
    const rig = makeRig({ offered: [32] });
    rig.registers.status = 3;
    acceptFeatures(rig.registers, [32, 34]);
    rig.registers.status = 0x0b;
    expect(rig.registers.status).toBe(3);
    expect(enable(rig, 0, 5)).toBe(0);
    // 8 descriptors of a packed ring would fit there, a split ring's used ring would not.
    rig.registers.queueSize = 8;
    rig.registers.queueDevice = RAM_BASE + (1 << 20) - 4;
    rig.registers.queueReady = 1;
    expect(rig.registers.queueReady).toBe(0);
  });

  it("SPLIT-DEV-005 make a big-endian ring for a legacy device of a big-endian guest, and for no other", () => {
    for (const legacy of [true, false]) {
      const rig = makeRig({ offered: [32], legacy, bigEndian: true });
      const { registers, memory, device } = rig;
      expect(device.transport.bigEndian).toBe(legacy);
      if (legacy) {
        registers.write(0x028, 4096);
        registers.write(0x03c, 512);
        registers.write(0x040, RAM_BASE / 4096);
        registers.status = 7;
      } else {
        negotiate(rig, [32]);
        expect(enable(rig, 0, 8, RAM_BASE)).toBe(1);
        registers.status = 0x0f;
      }
      const available = legacy ? RAM_BASE + 128 : RAM_BASE + 512;
      const view = memory.view;
      view.setUint32(8, 16, !legacy);
      view.setBigUint64(0, BigInt(RAM_BASE + 0x8000), !legacy);
      view.setUint16(available - RAM_BASE + 2, 1, !legacy);
      const chain = new DescriptorChain(memory);
      expect(device.queues.get(0)!.pop(chain)).toBe("chain");
      expect([chain.readable.byteLength, chain.outsideRam]).toEqual([16, false]);
    }
  });

  it("are a set of numbers", () => {
    expect(ringFeatureSet()).toBe((1n << 28n) | (1n << 29n) | (1n << 32n) | (1n << 40n));
    expect(ringFeatureSet({ indirect: false, eventIndex: false, ringReset: false, packed: true })).toBe(
      (1n << 32n) | (1n << 34n),
    );
  });
});

describe("QueueReset", () => {
  const FEATURES = [9, 29, 32, 40];

  it("MMIO-DEV-009 MMIO-DEV-011 MMIO-DEV-013 VQR-DEV-001 stops the queue, and both registers read 0 at once", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine, { features: FEATURES });
    const { registers } = machine;
    expect(registers.read(0x0c0)).toBe(0);
    expect(disk.read(1).status).toBe(0);
    registers.interruptAck = 1;
    registers.write(0x0c0, 1);
    expect([registers.read(0x0c0), registers.queueReady, registers.status]).toEqual([0, 0, 0x0f]);
    disk.submit(disk.chain(disk.readRequest(2, 512)));
    expect([disk.queue.usedIdx, registers.interruptStatus]).toEqual([1, 0]);
    registers.status = 0;
    expect(registers.read(0x0c0)).toBe(0);
    expectRecovery(machine);
  });

  it("VQR-DEV-003 VQR-DEV-004 MMIO-DEV-010 lets the queue begin anew, with another size, another place, and index 0", () => {
    const machine = makeMachine();
    const { registers } = machine;
    const first = RawDisk.start(machine, { features: FEATURES });
    for (let i = 0; i < 3; i++) expect(first.read(i).status).toBe(0);
    registers.write(0x0c0, 1);
    const ring = machine.guest.rawSplitQueue(4);
    ring.enable(registers);
    expect([registers.read(0x0c0), registers.queueReady]).toEqual([0, 1]);
    const request = first.readRequest(5, 512);
    for (const [i, { address, lengthBytes, writable }] of request.entries())
      ring.writeDescriptor(i, {
        address,
        lengthBytes,
        flags: (writable === true ? 2 : 0) | (i < 2 ? 1 : 0),
        next: i + 1,
      });
    for (let lap = 1; lap <= 9; lap++) {
      ring.publish(0);
      registers.queueNotify = 0;
      expect([ring.usedIdx, ring.readUsed((lap - 1) % 4)]).toEqual([lap, { id: 0, length: 513 }]);
    }
    expect(first.queue.usedIdx, "the old ring").toBe(3);
  });

  it("MMIO-DEV-010 needs nothing but QueueReady where the driver changes nothing", () => {
    const machine = makeMachine();
    const { registers } = machine;
    const disk = RawDisk.start(machine, { features: FEATURES });
    expect(disk.read(1).status).toBe(0);
    registers.write(0x0c0, 1);
    disk.queue.availIdx = 0;
    disk.queue.usedIdx = 0;
    registers.queueReady = 1;
    expect(registers.queueReady).toBe(1);
    disk.submit(disk.chain(disk.readRequest(2, 512)));
    expect([disk.queue.usedIdx, disk.queue.readUsed(0).length]).toEqual([1, 513]);
  });

  it("resets one queue and no other", () => {
    const rig = makeRig({ offered: [32, 40], queues: 3 });
    negotiate(rig, [32, 40]);
    for (const index of [0, 1, 2]) expect(enable(rig, index, 8)).toBe(1);
    rig.registers.status = 0x0f;
    rig.registers.queueSel = 1;
    rig.registers.write(0x0c0, 1);
    expect([...rig.device.queues.keys()]).toEqual([0, 2]);
    for (const index of [0, 1, 2]) rig.registers.queueNotify = index;
    expect(rig.device.notified).toEqual([0, 2]);
  });

  it("takes 1 alone, for a queue that is there, and only with RING_RESET", () => {
    const rig = makeRig({ offered: [32, 40] });
    const attempt = (value: number, index = 0): number => {
      rig.registers.queueSel = index;
      rig.registers.write(0x0c0, value);
      rig.registers.queueSel = 0;
      return rig.registers.queueReady;
    };
    negotiate(rig, [32, 40]);
    expect(enable(rig, 0, 8)).toBe(1);
    for (const value of [0, 2, 3, 0x8000_0001, 0xffff_ffff]) expect(attempt(value), String(value)).toBe(1);
    for (const index of [1, 0xffff_ffff]) expect(attempt(1, index), `queue ${index}`).toBe(1);
    expect(attempt(1)).toBe(0);
    expect(attempt(1), "again").toBe(0);
    rig.registers.status = 0;
    negotiate(rig, [32]);
    expect(enable(rig, 0, 8)).toBe(1);
    expect(attempt(1), "not negotiated").toBe(1);
  });

  it("of a device that needs a reset helps nothing", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine, { features: FEATURES });
    const { registers } = machine;
    disk.submit(0xffff);
    expect(registers.status).toBe(0x4f);
    registers.write(0x0c0, 1);
    disk.queue.enable(registers);
    expect([registers.status, registers.queueReady]).toEqual([0x4f, 0]);
    expectRecovery(machine);
  });
});

describe("NOTIFICATION_DATA", () => {
  it("NOTIF-DEV-002 NOTIF-DEV-003 takes the queue from the low 16 bits, and believes nothing of the others", () => {
    const machine = makeMachine({ device: { offeredFeatures: { notificationData: true } } });
    const disk = RawDisk.start(machine, { features: [32, 38] });
    const { registers } = machine;
    let published = 0;
    for (const data of [1, 0, 0x7fff, 0x8000, 0xffff]) {
      disk.queue.publish(disk.chain(disk.readRequest(1, 512)));
      published++;
      for (let i = 0; i < 3; i++) registers.queueNotify = (data << 16) >>> 0;
      expect([disk.queue.usedIdx, registers.status], data.toString(16)).toEqual([published, 0x0f]);
    }
    for (const other of [1, 0x1_0001, 0xffff, 0xffff_ffff]) {
      disk.queue.publish(disk.chain(disk.readRequest(1, 512)));
      registers.queueNotify = other;
      expect(disk.queue.usedIdx, other.toString(16)).toBe(published);
      registers.queueNotify = 0;
      published++;
      expect(disk.queue.usedIdx).toBe(published);
    }
  });

  it("NOTIF-DEV-001 is for drivers who accepted it: for others all 32 bits name the queue", () => {
    const rig = makeRig({ offered: [32, 38], queues: 2 });
    for (const [features, heard] of [
      [[32], [1, 0]],
      [
        [32, 38],
        [1, 0, 1, 1, 0],
      ],
    ] as const) {
      rig.registers.status = 0;
      negotiate(rig, features);
      for (const index of [0, 1]) expect(enable(rig, index, 8)).toBe(1);
      rig.registers.status = 0x0f;
      for (const value of [1, 0, 0x1_0001, 0xffff_0001, 0x8000_0000, 2, 0xffff_ffff]) rig.registers.queueNotify = value;
      expect(rig.device.notified).toEqual(heard);
    }
  });
});

describe("many queues", () => {
  it("MMIO-DEV-018 MMIO-DEV-019 VQ-DEV-003 are told apart, up to 1024, each with its own size and place", () => {
    const rig = makeRig({ offered: [32], queues: 1024 });
    negotiate(rig, [32]);
    const { registers, device } = rig;
    for (let index = 0; index < 1024; index++) {
      registers.queueSel = index;
      expect([registers.queueSizeMax, registers.queueReady]).toEqual([8, 0]);
      expect(enable(rig, index, 2 ** (index % 4))).toBe(1);
    }
    registers.status = 0x0f;
    for (const index of [1023, 0, 512]) registers.queueNotify = index;
    expect(device.notified).toEqual([1023, 0, 512]);
    expect([...device.queues].every(([index, queue]) => queue.size === 2 ** (index % 4))).toBe(true);
    registers.queueSel = 1024;
    expect([registers.queueSizeMax, registers.queueReady]).toEqual([0, 0]);
    registers.queueSel = 700;
    registers.queueReady = 0;
    expect([device.queues.size, device.queues.has(700)]).toEqual([1023, false]);
    registers.status = 0;
    for (const index of [0, 700, 1023]) {
      registers.queueSel = index;
      expect(registers.queueReady).toBe(0);
    }
    expect(device.queues.size).toBe(0);
  });

  it("are 1024 at most", () => {
    expect(() => makeRig({ offered: [32], queues: 1025 })).toThrow(/1024/);
  });

  it("STAT-DEV-003 all stop when one of them is broken", () => {
    const rig = makeRig({ offered: [32], queues: 3 });
    negotiate(rig, [32]);
    for (const index of [0, 1, 2]) enable(rig, index, 8);
    rig.registers.status = 0x0f;
    rig.device.transport.requireReset("HeadOutOfRange", false);
    expect([rig.device.queues.size, rig.registers.status, rig.registers.interruptStatus]).toEqual([0, 0x4f, 2]);
    for (const index of [0, 1, 2]) rig.registers.queueNotify = index;
    expect(rig.device.notified).toEqual([]);
  });
});

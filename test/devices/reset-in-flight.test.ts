// Reset, queue stop and failure while requests are under way: VIRTIO 1.4 §2.4, §4.2.2; docs/reference/virtio-errors.md §4, 24 and 25.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { FileDriver } from "../../src/block/drivers/file/file-driver.ts";
import { type FileIo, nodeFileIo } from "../../src/block/drivers/file/file-io.ts";
import { HeldDriver } from "./support/held-driver.ts";
import { type MachineOptions, makeMachine, type TestMachine } from "./support/machine.ts";
import { RawDisk, type Segment } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

/** Everything that waits for promises alone happens before this resolves. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** How a driver makes the device let go of a queue. */
const STOPS: readonly (readonly [title: string, stop: (disk: RawDisk) => void, of?: MachineOptions])[] = [
  [
    "STAT-DEV-008 STAT-DEV-009 STAT-DEV-010 a reset",
    ({ registers }) => {
      registers.status = 0;
      expect(registers.status).toBe(0);
    },
  ],
  [
    "MMIO-DEV-008 QueueReady = 0",
    ({ registers }) => {
      registers.queueReady = 0;
      expect(registers.queueReady).toBe(0);
    },
  ],
  [
    "VQR-DEV-001 VQR-DEV-002 MMIO-DEV-012 MMIO-DEV-013 QueueReset = 1",
    ({ registers }) => {
      registers.write(0x0c0, 1);
      expect([registers.read(0x0c0), registers.queueReady]).toEqual([0, 0]);
    },
  ],
  [
    "STAT-DEV-009 STAT-DEV-010 MMIO-DEV-035 a reset of a legacy device",
    ({ registers }) => {
      registers.status = 0;
      expect([registers.status, registers.read(0x040)]).toEqual([0, 0]);
    },
    { legacy: true },
  ],
  [
    "MMIO-DEV-033 QueuePFN = 0",
    ({ registers }) => {
      registers.write(0x040, 0);
      expect([registers.status, registers.read(0x040)]).toEqual([7, 0]);
    },
    { legacy: true },
  ],
  [
    "FAILED",
    ({ registers }) => {
      registers.status = 0x8f;
    },
  ],
  [
    "a broken ring",
    (disk) => {
      disk.submit(0xffff);
      expect(disk.registers.status).toBe(0x4f);
    },
  ],
];

/** Eight requests of all kinds, under way. */
function eightInFlight(options: MachineOptions = {}): {
  machine: TestMachine;
  driver: HeldDriver;
  disk: RawDisk;
  requests: Segment[][];
} {
  const driver = new HeldDriver();
  const machine = makeMachine({ driver, ...options });
  const disk = RawDisk.start(machine, { queueSize: 32, features: [9, 32, 40] });
  const requests = [
    disk.readRequest(0, 512),
    disk.readRequest(1, 1024),
    disk.readRequest(8, 4096),
    disk.writeRequest(16, new Uint8Array(512).fill(0xa1)),
    disk.writeRequest(17, new Uint8Array(1024).fill(0xa2)),
    disk.writeRequest(20, new Uint8Array(4096).fill(0xa3)),
    [disk.header(4), disk.writable(1)],
    [disk.header(4), disk.writable(1)],
  ];
  for (const request of requests) disk.submit(disk.chain(request));
  expect(driver.held.length).toBe(8);
  expect(disk.takeUsed()).toEqual([]);
  return { machine, driver, disk, requests };
}

describe("with 8 requests under way", () => {
  for (const [title, stop, options = {}] of STOPS) {
    for (const order of ["oldest first", "newest first"] as const) {
      it(`${title} ends all access to RAM and to the line at once (${order})`, async () => {
        const { machine, driver, disk } = eightInFlight(options);
        let writes = 0;
        machine.memory.onDeviceWrite(() => writes++);
        stop(disk);
        machine.registers.interruptAck = 3;
        // The driver takes its memory back and uses it for something else.
        machine.target.fillRam(machine.target.ramBase, 0x5d, machine.target.ramSizeBytes);
        const before = driver.memory.bytes.slice();
        driver.endAll(order);
        await settle();
        expect(driver.held).toEqual([]);
        expect(machine.memory.bytes.every((byte) => byte === 0x5d)).toBe(true);
        expect(writes).toBe(0);
        expect([machine.registers.interruptStatus, machine.line.raised]).toEqual([0, false]);
        // What was not written when the memory was taken back is not written from what stands in it now.
        expect(Buffer.compare(driver.memory.bytes, before)).toBe(0);
        driver.holding = false;
        machine.guest.allocator.reset();
        machine.target.fillRam(machine.target.ramBase, 0, machine.target.ramSizeBytes);
        expectRecovery(machine);
      });
    }

    it(`${title} ends them also when they fail`, async () => {
      const { machine, driver, disk } = eightInFlight({ ...options, writeCache: false });
      stop(disk);
      machine.registers.interruptAck = 3;
      const ram = new Uint8Array(machine.memory.bytes);
      for (const call of [...driver.held]) call.end("EIO");
      await settle();
      expect(Buffer.compare(machine.memory.bytes, ram)).toBe(0);
      expect(machine.registers.interruptStatus).toBe(0);
      driver.holding = false;
      expectRecovery(machine);
    });
  }

  it("a queue that is started again begins with the last old request's end: an old write overtakes no new one", async () => {
    const { machine, driver } = eightInFlight();
    const old = [...driver.held];
    driver.log.length = 0;
    const disk = RawDisk.start(machine, { queueSize: 8, features: [9, 32] });
    const write = disk.writeRequest(17, new Uint8Array(512).fill(0xbb));
    disk.submit(disk.chain(write));
    driver.holding = false;
    for (const [i, call] of old.entries()) {
      expect(driver.log, `with ${8 - i} old ones`).toEqual([]);
      expect(disk.takeUsed()).toEqual([]);
      call.end();
      await settle();
    }
    expect(driver.log).toEqual(["write 8704+512"]);
    expect(disk.takeUsed()).toEqual([{ id: 0, length: 1 }]);
    expect(machine.registers.interruptStatus).toBe(1);
    expect(driver.memory.bytes.subarray(8704, 9216).every((byte) => byte === 0xbb)).toBe(true);
  });

  it("any number of resets leaves a device that works when the disk is done", async () => {
    const { machine, driver } = eightInFlight();
    for (let i = 0; i < 50; i++) {
      const disk = RawDisk.start(machine, { queueSize: 8 });
      disk.submit(disk.chain(disk.readRequest(0, 512)));
      machine.registers.queueReady = 0;
      machine.registers.queueReady = 1;
    }
    expect(driver.held.length).toBe(8); // nothing new while old ones are under way
    machine.registers.status = 0;
    driver.holding = false;
    driver.endAll();
    await settle();
    expectRecovery(machine);
  });
});

describe("requests that wait in a drained section", () => {
  for (const [title, stop, options = {}] of STOPS) {
    it(`are not carried out after ${title}`, async () => {
      const driver = new HeldDriver();
      driver.holding = false;
      const machine = makeMachine({ driver, ...options });
      const disk = RawDisk.start(machine, { queueSize: 32, features: [32, 40] });
      const drained = await machine.node.drain();
      disk.submit(disk.chain(disk.writeRequest(1, new Uint8Array(512).fill(0xa1))));
      disk.submit(disk.chain(disk.readRequest(1, 512)));
      stop(disk);
      machine.registers.interruptAck = 3;
      machine.target.fillRam(machine.target.ramBase, 0x5d, machine.target.ramSizeBytes);
      const before = driver.memory.bytes.slice();
      drained[Symbol.dispose]();
      await settle();
      expect(machine.memory.bytes.every((byte) => byte === 0x5d)).toBe(true);
      expect(Buffer.compare(driver.memory.bytes, before)).toBe(0);
      expect(driver.log.filter((entry) => entry.startsWith("write"))).toEqual([]);
      machine.guest.allocator.reset();
      machine.target.fillRam(machine.target.ramBase, 0, machine.target.ramSizeBytes);
      expectRecovery(machine);
    });
  }
});

describe("RAM that moves to another buffer", () => {
  it("is where requests under way find it", async () => {
    const { machine, driver, disk, requests } = eightInFlight();
    const grown = new SharedArrayBuffer(2 << 20);
    new Uint8Array(grown).set(machine.memory.bytes);
    const old = machine.memory.bytes;
    const before = new Uint8Array(old);
    machine.memory.rebind(grown, 0, 2 << 20);
    driver.endAll();
    await settle();
    expect(disk.takeUsed().length).toBe(8);
    for (const request of requests) expect(disk.outcome(request, 0).status).toBe(0);
    const [read] = requests as [Segment[]];
    expect(disk.outcome(read, 513).data).toEqual(driver.memory.bytes.slice(0, 512));
    expect(driver.memory.bytes.subarray(512 * 20, 512 * 28).every((byte) => byte === 0xa3)).toBe(true);
    expect(Buffer.compare(old, before), "the old buffer").toBe(0);
    driver.holding = false;
    expect(disk.read(3).status).toBe(0);
  });
});

describe("a file read and written by threads", () => {
  it("leaves RAM alone after a reset, and takes nothing from it", async ({ onTestFinished }) => {
    const folder = await mkdtemp(`${tmpdir()}/vblk-reset-`);
    onTestFinished(() => rm(folder, { recursive: true }));
    const path = `${folder}/disk.img`;
    // The threads come to it when the reset is over.
    const io: FileIo = {
      ...nodeFileIo,
      readv: (...call) => void setImmediate(() => nodeFileIo.readv(...call)),
      writev: (...call) => void setImmediate(() => nodeFileIo.writev(...call)),
    };
    const driver = await FileDriver.create({ path, lengthBytes: 4 << 20, xIo: "threads", locking: "off" }, { io });
    const machine = makeMachine({ driver, ramBytes: 8 << 20 });
    const bytes = 1 << 20;
    for (let round = 0; round < 20; round++) {
      machine.guest.allocator.reset();
      const disk = RawDisk.start(machine, { queueSize: 32 });
      for (let i = 0; i < 3; i++) {
        disk.submit(disk.chain(disk.writeRequest(0, new Uint8Array(bytes).fill(0xa0 + i))));
        disk.submit(disk.chain(disk.readRequest(2048, bytes)));
      }
      machine.registers.status = 0;
      machine.target.fillRam(machine.target.ramBase, 0x5d, machine.target.ramSizeBytes);
      await machine.backend.untilIdle();
      await settle();
      expect(machine.memory.bytes.every((byte) => byte === 0x5d)).toBe(true);
    }
    machine.backend.close();
    await machine.node.close();
    expect((await readFile(path)).includes(0x5d)).toBe(false);
  });
});

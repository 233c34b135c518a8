// Device status and feature negotiation: VIRTIO 1.4 §2.1, §2.2, §3.1.
import { describe, expect, it } from "vitest";
import { makeMachine, type TestMachine } from "./support/machine.ts";
import { acceptFeatures, RawDisk } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

const OFFERED = [1, 2, 6, 9, 10, 11, 13, 14, 28, 29, 32, 40];

/** ACKNOWLEDGE and DRIVER, then `features`, then FEATURES_OK; what Status reads. */
function negotiate({ registers }: TestMachine, features: readonly number[]): number {
  registers.status = 0;
  registers.status = 1;
  registers.status = 3;
  acceptFeatures(registers, features);
  registers.status = 0x0b;
  return registers.status;
}

/** Breaks the ring: a head that no descriptor has. */
function breakRing(disk: RawDisk): void {
  disk.submit(disk.queue.size);
  expect(disk.registers.status & 0x40).toBe(0x40);
}

describe("Status", () => {
  it("STAT-DEV-006 has the bits of the standard, and each that was accepted reads back", () => {
    const { registers } = makeMachine();
    registers.status = 1;
    expect(registers.status).toBe(1);
    registers.status = 3;
    expect(registers.status).toBe(3);
    acceptFeatures(registers, [32]);
    registers.status = 0x0b;
    expect(registers.status).toBe(0x0b);
    registers.status = 0x0f;
    expect(registers.status).toBe(0x0f);
    registers.status = 0x8f;
    expect(registers.status).toBe(0x8f);
  });

  it("takes several bits at once", () => {
    const machine = makeMachine();
    machine.registers.status = 3;
    expect(machine.registers.status).toBe(3);
    machine.registers.status = 0x0f;
    expect(machine.registers.status).toBe(0x0f);
    expectRecovery(machine);
  });

  it("loses no bit to a write that leaves it out", () => {
    const { registers } = makeMachine();
    registers.status = 0x0f;
    for (const value of [1, 2, 4, 8, 3, 0x0b]) {
      registers.status = value;
      expect(registers.status, `after ${value}`).toBe(0x0f);
    }
  });

  it("takes neither bits that are not defined nor DEVICE_NEEDS_RESET, which is the device's", () => {
    const machine = makeMachine();
    const { registers } = machine;
    for (const value of [0x10, 0x20, 0x40, 0x30, 0x100, 0xffff_ff00, 0x8000_0000]) {
      registers.status = value;
      expect(registers.status, value.toString(16)).toBe(0);
    }
    registers.status = 0xffff_ff73;
    expect(registers.status).toBe(3);
    expectRecovery(machine);
  });

  it("takes DRIVER_OK only with FEATURES_OK", () => {
    const machine = makeMachine();
    const { registers } = machine;
    registers.status = 7;
    expect(registers.status).toBe(3);
    const queue = machine.guest.rawSplitQueue(8);
    queue.enable(registers);
    registers.status = 7;
    queue.publish(0);
    registers.queueNotify = 0;
    expect(queue.usedIdx).toBe(0);
    registers.status = 0x0f;
    expect(registers.status & 4).toBe(4);
  });

  it("STAT-DEV-001 STAT-DEV-002 INIT-DEV-004 uses no buffer and raises no interrupt before DRIVER_OK, then all that wait", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine, { driverOk: false });
    const { registers, line } = machine;
    const requests = [0, 1].map((sector) => disk.readRequest(sector, 512));
    for (const request of requests) disk.queue.publish(disk.chain(request));
    for (let i = 0; i < 3; i++) disk.notify();
    expect(disk.takeUsed()).toEqual([]);
    expect(requests.flatMap((request) => [...disk.outcome(request, 0).data])).toEqual(new Array(1024).fill(0xee));
    expect([registers.interruptStatus, line.raised]).toEqual([0, false]);
    registers.status = 0x0f; // without a notification
    expect(disk.takeUsed().map(({ length }) => length)).toEqual([513, 513]);
    expect([registers.interruptStatus, line.raised]).toEqual([1, true]);
  });

  it("serves a queue that is enabled after DRIVER_OK, with what waits in it", () => {
    const machine = makeMachine();
    const { registers } = machine;
    registers.status = 0x0f;
    const disk = RawDisk.start(machine);
    registers.queueReady = 0;
    const ring = machine.guest.rawSplitQueue(8);
    const request = disk.readRequest(2, 512);
    const fields = request.map(({ address, lengthBytes, writable }, i) => ({
      address,
      lengthBytes,
      flags: (writable ? 2 : 0) | (i < 2 ? 1 : 0),
      next: i + 1,
    }));
    for (const [i, descriptor] of fields.entries()) ring.writeDescriptor(i, descriptor);
    ring.publish(0);
    ring.enable(registers);
    expect(ring.usedIdx).toBe(1);
    expect(disk.outcome(request, 513).status).toBe(0);
  });

  it("stops at FAILED, until the reset", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    const { registers } = machine;
    registers.status = 0x8f;
    registers.interruptAck = 3;
    const request = disk.readRequest(0, 512);
    disk.submit(disk.chain(request));
    expect(disk.takeUsed()).toEqual([]);
    expect(registers.interruptStatus).toBe(0);
    registers.queueReady = 0;
    registers.queueReady = 1;
    disk.notify();
    expect(disk.takeUsed()).toEqual([]);
    expectRecovery(machine);
  });
});

describe("DEVICE_NEEDS_RESET", () => {
  it("STAT-DEV-003 STAT-DEV-004 comes with a configuration change interrupt", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    const { registers, line } = machine;
    breakRing(disk);
    expect([registers.status, registers.interruptStatus, line.raised]).toEqual([0x4f, 2, true]);
    registers.interruptAck = 2;
    expect([registers.interruptStatus, line.raised]).toEqual([0, false]);
    expectRecovery(machine);
  });

  it("STAT-DEV-007 stays until the reset, whatever is written to Status", () => {
    const { registers } = RawDisk.start(makeMachine()).machine;
    const disk = RawDisk.start(makeMachine());
    breakRing(disk);
    for (const value of [disk.registers.status, 0x0f, 0x4f, 1, 0x8f]) {
      disk.registers.status = value;
      expect(disk.registers.status & 0x40, `after ${value.toString(16)}`).toBe(0x40);
    }
    disk.registers.status = 0;
    expect(disk.registers.status).toBe(0);
    expect(registers.status).toBe(0x0f); // of another device
  });

  it("stops the device: nothing is used or read, however it is asked", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    const { registers } = machine;
    breakRing(disk);
    registers.interruptAck = 3;
    const request = disk.readRequest(0, 512);
    const head = disk.chain(request);
    for (let i = 0; i < 3; i++) disk.submit(head);
    registers.queueReady = 0;
    disk.queue.availIdx = 0;
    disk.queue.publish(head);
    registers.queueReady = 1;
    disk.notify();
    registers.status = 0x4f;
    expect(disk.takeUsed()).toEqual([]);
    expect(disk.outcome(request, 0)).toMatchObject({ status: 0xee });
    expect(registers.interruptStatus).toBe(0);
    expectRecovery(machine);
  });

  it("tells in one interrupt of the buffers that were used before the mistake as well", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    const seen: number[] = [];
    machine.target.onInterrupt(() => seen.push(machine.registers.interruptStatus, machine.registers.status));
    const request = disk.readRequest(1, 512);
    disk.queue.publish(disk.chain(request));
    disk.submit(99);
    expect(disk.takeUsed()).toEqual([{ id: 0, length: 513 }]);
    expect(disk.outcome(request, 513).status).toBe(0);
    expect(seen).toEqual([3, 0x4f]);
  });
});

describe("feature negotiation", () => {
  it("FEAT-DEV-002 RSVD-DEV-002 accepts every subset of what it offers, VERSION_1 or not, and works with it", () => {
    const machine = makeMachine();
    for (let subset = 0; subset < 1 << OFFERED.length; subset++) {
      const features = OFFERED.filter((_, i) => (subset & (1 << i)) !== 0);
      expect(negotiate(machine, features), features.join()).toBe(0x0b);
    }
    for (const without of OFFERED) {
      const features = OFFERED.filter((bit) => bit !== without);
      expect(RawDisk.start(machine, { features }).read(1), `without ${without}`).toMatchObject({
        status: 0,
        length: 513,
      });
    }
  });

  it("FEAT-DEV-003 FEAT-DEV-010 leaves FEATURES_OK clear for a feature that is not offered, and goes no further", () => {
    const machine = makeMachine();
    for (let bit = 0; bit < 64; bit++) {
      if (OFFERED.includes(bit)) continue;
      expect(negotiate(machine, [...OFFERED, bit]), `with ${bit}`).toBe(3);
      machine.registers.status = 0x0f;
      expect(machine.registers.status, `DRIVER_OK with ${bit}`).toBe(3);
    }
    expect(negotiate(machine, OFFERED)).toBe(0x0b);
  });

  it("may be tried again with other features after a refusal", () => {
    const machine = makeMachine();
    negotiate(machine, [13, 32]);
    acceptFeatures(machine.registers, [9, 32]);
    machine.registers.status = 0x0b;
    expect(machine.registers.status).toBe(0x0b);
  });

  it("FEAT-DEV-005 does not refuse what it has accepted before, after any number of resets", () => {
    const machine = makeMachine();
    for (let i = 0; i < 3; i++) {
      expect(negotiate(machine, OFFERED)).toBe(0x0b);
      expect(RawDisk.start(machine, { features: OFFERED }).read(0).status).toBe(0);
    }
  });

  it("FEAT-DEV-007 takes no features after FEATURES_OK: EVENT_IDX stays as it was", () => {
    const machine = makeMachine();
    const { registers } = machine;
    negotiate(machine, [32]);
    acceptFeatures(registers, [29, 32]);
    registers.status = 0x0b;
    const queue = machine.guest.rawSplitQueue(8);
    queue.enable(registers);
    registers.status = 0x0f;
    queue.availFlags = 1; // which only counts without EVENT_IDX
    queue.writeDescriptor(0, { address: machine.guest.allocator.allocate(16), lengthBytes: 1, flags: 2 });
    queue.publish(0);
    registers.queueNotify = 0;
    expect([queue.usedIdx, registers.interruptStatus]).toEqual([1, 0]);
  });

  it("takes no features before DRIVER is set", () => {
    const machine = makeMachine();
    const { registers } = machine;
    registers.status = 0;
    acceptFeatures(registers, [63]);
    registers.status = 1;
    acceptFeatures(registers, [63]);
    registers.status = 0x0b;
    expect(registers.status).toBe(0x0b);
  });

  it("MMIO-DEV-017 keeps the two words apart, and drops words that are not there", () => {
    const machine = makeMachine();
    const { registers } = machine;
    registers.status = 3;
    registers.driverFeaturesSel = 1;
    registers.driverFeatures = 0xffff_ffff;
    registers.driverFeatures = 1; // replaces the word
    registers.driverFeaturesSel = 0;
    registers.driverFeatures = 0x2000_0000;
    for (const sel of [2, 3, 32, 33, 0x8000_0000, 0xffff_ffff]) {
      registers.driverFeaturesSel = sel;
      registers.driverFeatures = 0xffff_ffff;
    }
    registers.status = 0x0b;
    expect(registers.status).toBe(0x0b);
    const queue = machine.guest.rawSplitQueue(8);
    queue.enable(registers);
    registers.status = 0x0f;
    queue.usedEvent = 3; // which only counts with EVENT_IDX
    queue.writeDescriptor(0, { address: machine.guest.allocator.allocate(16), lengthBytes: 1, flags: 2 });
    queue.publish(0);
    registers.queueNotify = 0;
    expect([queue.usedIdx, registers.interruptStatus]).toEqual([1, 0]);
  });

  it("starts from nothing after a reset, selectors included", () => {
    const machine = makeMachine();
    const { registers } = machine;
    registers.status = 3;
    acceptFeatures(registers, [13, 40]);
    registers.driverFeaturesSel = 1;
    registers.deviceFeaturesSel = 1;
    registers.queueSel = 5;
    registers.status = 0;
    expect(registers.deviceFeatures).toBe(0x3000_6e46);
    expect(registers.queueSizeMax).toBe(256);
    registers.status = 3;
    registers.driverFeatures = 0x200; // into word 0, as a driver that never selects has it
    registers.status = 0x0b;
    expect(registers.status).toBe(0x0b);
  });
});

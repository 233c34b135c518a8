// In what order a legacy driver may do things, and what it sees: VIRTIO 1.4 §3.1.2, §4.2.4, §6.3.
import { describe, expect, it } from "vitest";
import { legacy, placed, publishRead } from "./support/legacy-machine.ts";
import { acceptFeatures, legacyLayout, placeLegacyQueue, RawDisk } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

describe("a legacy driver", () => {
  it("INIT-DEV-002 may use the device before DRIVER_OK, whatever else of Status it has set", () => {
    for (const status of [0, 1, 3]) {
      const machine = legacy();
      const { registers, line } = machine;
      if (status !== 0) registers.status = status;
      const queue = placed(machine);
      for (let i = 1; i <= 3; i++) {
        publishRead(machine, queue);
        registers.queueNotify = 0;
        expect([queue.usedIdx, registers.interruptStatus, line.raised]).toEqual([i, 1, true]);
        registers.interruptAck = 1;
      }
      registers.status = 7;
      expect(registers.status).toBe(7);
      publishRead(machine, queue);
      registers.queueNotify = 0;
      expect(queue.usedIdx).toBe(4);
      expectRecovery(machine);
    }
  });

  it("is served what it published before DRIVER_OK when that is set, without a notification", () => {
    const machine = legacy();
    machine.registers.status = 3;
    const queue = placed(machine);
    publishRead(machine, queue);
    expect(queue.usedIdx).toBe(0);
    machine.registers.status = 7;
    expect(queue.usedIdx).toBe(1);
  });

  it("may change its mind about features until the first use", () => {
    const machine = legacy();
    const { registers } = machine;
    registers.status = 3;
    acceptFeatures(registers, [29]);
    const queue = placed(machine);
    acceptFeatures(registers, []);
    queue.availFlags = 1;
    publishRead(machine, queue);
    registers.queueNotify = 0;
    expect([queue.usedIdx, registers.interruptStatus], "NO_INTERRUPT counts without EVENT_IDX").toEqual([1, 0]);
    acceptFeatures(registers, [29]); // too late
    publishRead(machine, queue);
    registers.queueNotify = 0;
    expect([queue.usedIdx, registers.interruptStatus]).toEqual([2, 0]);
    registers.status = 7;
    acceptFeatures(registers, [29]);
    publishRead(machine, queue);
    registers.queueNotify = 0;
    expect([queue.usedIdx, registers.interruptStatus]).toEqual([3, 0]);
  });

  it("has EVENT_IDX where it accepted that, and what was not offered counts for nothing", () => {
    const machine = legacy();
    const { registers } = machine;
    const disk = RawDisk.start(machine, { features: Array.from({ length: 64 }, (_, bit) => bit) });
    expect(registers.status).toBe(7);
    disk.queue.availFlags = 1;
    disk.queue.usedEvent = 0;
    expect(disk.read(1).status).toBe(0);
    expect(registers.interruptStatus).toBe(1);
  });

  it("sees FEATURES_OK as it wrote it, and DRIVER_OK without", () => {
    const { registers } = legacy();
    registers.status = 3;
    acceptFeatures(registers, [3, 40]);
    registers.status = 0x0b;
    expect(registers.status).toBe(0x0b);
    registers.status = 0x0f;
    expect(registers.status).toBe(0x0f);
    registers.status = 0;
    registers.status = 7;
    expect(registers.status).toBe(7);
  });

  it("INIT-DEV-001 BLK-DEV-033 BLK-DEV-034 writes the configuration before it has seen features, and keeps what it wrote", () => {
    const machine = legacy();
    const { registers, backend } = machine;
    registers.status = 1;
    registers.writeConfig(0x20, 0, 1);
    expect([registers.readConfig(0x20, 1), backend.writeCache]).toEqual([0, false]);
    registers.status = 3;
    acceptFeatures(registers, [9, 11]);
    expect(registers.readConfig(0x20, 1)).toBe(0);
    registers.status = 7;
    expect([registers.readConfig(0x20, 1), backend.writeCache]).toEqual([0, false]);
    registers.writeConfig(0x20, 1, 1);
    expect([registers.readConfig(0x20, 1), backend.writeCache]).toEqual([1, true]);
  });

  it("RSVD-DEV-010 that accepted NOTIFY_ON_EMPTY hears of the last buffer though it asked for silence", () => {
    for (const accepts of [true, false]) {
      const machine = legacy();
      const disk = RawDisk.start(machine, { features: accepts ? [24] : [] });
      disk.queue.availFlags = 1;
      disk.submit(disk.chain(disk.readRequest(0, 512)));
      expect([disk.queue.usedIdx, machine.registers.interruptStatus]).toEqual([1, accepts ? 1 : 0]);
    }
  });

  it("writes GuestPageSize once: it outlives a reset, not power", () => {
    const machine = legacy();
    const { registers } = machine;
    registers.write(0x028, 4096);
    registers.status = 0;
    const layout = legacyLayout(machine, 8, 4096);
    expect(placeLegacyQueue(registers, 0, layout, 4096, 4096)).not.toBe(0);
    machine.bank.reset();
    expect([registers.status, registers.read(0x040)]).toEqual([0, 0]);
    expect(placeLegacyQueue(registers, 0, layout, 4096, 4096)).toBe(0);
    expectRecovery(machine);
  });

  it("finds a device that has fallen silent after it broke the ring, and sound after a reset", () => {
    const machine = legacy();
    const disk = RawDisk.start(machine, { features: [9, 11] });
    const { registers, line } = machine;
    disk.submit(0xffff);
    expect([registers.status, registers.interruptStatus, line.raised]).toEqual([7, 0, false]);
    disk.submit(disk.chain(disk.readRequest(0, 512)));
    registers.writeConfig(0x20, 0, 1);
    registers.write(0x040, 0);
    const layout = legacyLayout(machine, 8, 4096);
    expect(placeLegacyQueue(registers, 0, layout, 4096, 4096)).toBe(0);
    expect(disk.queue.usedIdx).toBe(0);
    expect(registers.readConfig(0x20, 1)).toBe(1);
    expectRecovery(machine);
  });

  it("finds a device that does nothing after FAILED, until the reset", () => {
    const machine = legacy();
    const { registers } = machine;
    const queue = placed(machine);
    registers.status = 0x80;
    publishRead(machine, queue);
    registers.queueNotify = 0;
    registers.status = 0x87;
    registers.queueNotify = 0;
    expect([queue.usedIdx, registers.status]).toEqual([0, 0x87]);
    expectRecovery(machine);
  });

  it("MMIO-DEV-004 INIT-DEV-003 hears of a new capacity once DRIVER_OK is set", async () => {
    const machine = legacy();
    const { registers, node, line } = machine;
    registers.status = 3;
    await node.resize(512 * 64);
    expect([registers.interruptStatus, registers.readConfig(0, 4)]).toEqual([0, 64]);
    RawDisk.start(machine);
    await node.resize(512 * 65);
    expect([registers.interruptStatus, line.raised, registers.readConfig(0, 4)]).toEqual([2, true, 65]);
    expect(registers.configGeneration).toBe(0); // there is no such register
  });
});

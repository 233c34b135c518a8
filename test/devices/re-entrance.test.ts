// A driver whose interrupt handler runs within the register write that raised the line, and does there what it likes.
import { describe, expect, it } from "vitest";
import { HeldDriver } from "./support/held-driver.ts";
import { makeMachine, type TestMachine } from "./support/machine.ts";
import { RawDisk } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

/** Calls `handler` at the next `times` interrupts, which it acknowledges first. */
function onInterrupts(machine: TestMachine, times: number, handler: (cause: number) => void): { left: number } {
  const count = { left: times };
  machine.target.onInterrupt(() => {
    if (count.left === 0) return;
    count.left--;
    const cause = machine.registers.interruptStatus;
    machine.registers.interruptAck = cause;
    handler(cause);
  });
  return count;
}

describe("an interrupt handler within QueueNotify", () => {
  it("may make more available and notify, over and over, without a stack that grows", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    const head = disk.chain(disk.readRequest(0, 512));
    let depth = 0;
    let deepest = 0;
    onInterrupts(machine, 300, () => {
      deepest = Math.max(deepest, ++depth);
      disk.submit(head);
      depth--;
    });
    disk.submit(head);
    expect(disk.queue.usedIdx).toBe(301);
    expect(deepest).toBe(1);
    expect(machine.registers.interruptStatus).toBe(1);
    expect(machine.registers.status).toBe(0x0f);
  });

  it("may stop the queue: what was notified before is used, nothing after", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    onInterrupts(machine, 1, () => {
      disk.queue.publish(disk.chain(disk.readRequest(1, 512)));
      machine.registers.queueReady = 0;
    });
    disk.submit(disk.chain(disk.readRequest(0, 512)));
    expect(disk.takeUsed().map(({ id }) => id)).toEqual([0]);
    expectRecovery(machine);
  });

  it("may reset the device: the notification that it came from does nothing more", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine, { features: [29, 32] });
    let ram = new Uint8Array();
    onInterrupts(machine, 1, () => {
      disk.queue.publish(disk.chain(disk.readRequest(1, 512)));
      machine.registers.status = 0;
      ram = new Uint8Array(machine.memory.bytes);
    });
    disk.submit(disk.chain(disk.readRequest(0, 512)));
    expect(Buffer.compare(machine.memory.bytes, ram)).toBe(0);
    expect([machine.registers.status, machine.registers.interruptStatus, machine.line.raised]).toEqual([0, 0, false]);
    expectRecovery(machine);
  });

  it("STAT-DEV-001 may bring the device up again as far as it likes: no buffer is used before DRIVER_OK", () => {
    const machine = makeMachine();
    const first = RawDisk.start(machine);
    let second: RawDisk | undefined;
    onInterrupts(machine, 1, () => {
      second = RawDisk.start(machine, { features: [29, 32], driverOk: false });
      second.queue.publish(second.chain(second.readRequest(1, 512)));
      second.queue.availEvent = 0x4444;
    });
    first.submit(first.chain(first.readRequest(0, 512)));
    expect(second!.takeUsed()).toEqual([]);
    expect(second!.queue.availEvent).toBe(0x4444);
    expect(machine.registers.interruptStatus).toBe(0);
    machine.registers.status = 0x0f;
    expect(second!.takeUsed()).toEqual([{ id: 0, length: 513 }]);
  });

  it("may reset and use the device at once, with both queues kept apart", () => {
    const machine = makeMachine();
    const disks = [RawDisk.start(machine)];
    onInterrupts(machine, 5, () => {
      const disk = RawDisk.start(machine, { queueSize: 4 << disks.length, features: [28, 29, 32] });
      disks.push(disk);
      disk.submit(disk.indirectChain(disk.readRequest(disks.length, 512)));
    });
    disks[0]!.submit(disks[0]!.chain(disks[0]!.readRequest(0, 512)));
    expect(disks.length).toBe(6);
    for (const disk of disks) expect(disk.takeUsed()).toEqual([{ id: 0, length: 513 }]);
  });

  it("may reset with slow requests under way, and new ones wait for those", async () => {
    const driver = new HeldDriver();
    const machine = makeMachine({ driver });
    const disk = RawDisk.start(machine, { queueSize: 16, features: [9, 32] });
    disk.submit(disk.chain(disk.writeRequest(5, new Uint8Array(512))));
    let second: RawDisk | undefined;
    onInterrupts(machine, 1, () => {
      second = RawDisk.start(machine);
      second.submit(second.chain(second.readRequest(5, 512)));
    });
    disk.submit(disk.chain([disk.header(0x77), disk.writable(1)])); // completes at once
    expect(second).toBeDefined();
    expect(driver.log).toEqual(["write 2560+512"]);
    driver.endAll();
    await new Promise(setImmediate);
    expect(driver.log).toEqual(["write 2560+512", "read 2560+512"]);
    driver.endAll();
    await new Promise(setImmediate);
    expect(second!.takeUsed()).toEqual([{ id: 0, length: 513 }]);
  });

  it("may break the ring", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    onInterrupts(machine, 1, () => disk.submit(0xffff));
    disk.submit(disk.chain(disk.readRequest(0, 512)));
    expect(machine.registers.status).toBe(0x4f);
    expect(machine.registers.interruptStatus).toBe(2);
    expectRecovery(machine);
  });
});

describe("an interrupt handler within the write that broke the ring", () => {
  for (const before of ["nothing", "a good request"]) {
    it(`may reset: the device that comes up is not the one that failed (${before} before it)`, () => {
      const machine = makeMachine();
      const disk = RawDisk.start(machine);
      const seen: number[] = [];
      let second: RawDisk | undefined;
      onInterrupts(machine, 1, (cause) => {
        seen.push(cause, machine.registers.status);
        second = RawDisk.start(machine);
      });
      if (before !== "nothing") disk.queue.publish(disk.chain(disk.readRequest(0, 512)));
      disk.submit(0xffff);
      expect(seen).toEqual([before === "nothing" ? 2 : 3, 0x4f]);
      expect([machine.registers.status, machine.registers.interruptStatus]).toEqual([0x0f, 0]);
      expect(second!.read(1).status).toBe(0);
    });
  }
});

describe("an interrupt handler within DRIVER_OK, QueueReady or a late completion", () => {
  it("may reset within DRIVER_OK", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine, { driverOk: false });
    disk.queue.publish(disk.chain(disk.readRequest(0, 512)));
    onInterrupts(machine, 1, () => {
      machine.registers.status = 0;
    });
    machine.registers.status = 0x0f;
    expect(machine.registers.status).toBe(0);
    expectRecovery(machine);
  });

  it("may reset within QueueReady = 1", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    machine.registers.queueReady = 0;
    disk.queue.publish(disk.chain(disk.readRequest(0, 512)));
    onInterrupts(machine, 1, () => {
      machine.registers.status = 0;
    });
    machine.registers.queueReady = 1;
    expect([machine.registers.status, machine.registers.queueReady]).toEqual([0, 0]);
    expectRecovery(machine);
  });

  it("may reset within a late completion: the others are dropped", async () => {
    const driver = new HeldDriver();
    const machine = makeMachine({ driver });
    const disk = RawDisk.start(machine, { queueSize: 16 });
    for (let i = 0; i < 4; i++) disk.submit(disk.chain(disk.readRequest(i, 512)));
    onInterrupts(machine, 1, () => {
      machine.registers.status = 0;
    });
    driver.endAll();
    await new Promise(setImmediate);
    expect(disk.takeUsed().length).toBe(1);
    expect(machine.line.raised).toBe(false);
    driver.holding = false;
    expectRecovery(machine);
  });

  it("may be told of the lowered line within InterruptACK and Status = 0, and start over", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    let lowered = 0;
    machine.line.onChange((raised) => {
      if (raised || ++lowered > 4) return;
      RawDisk.start(machine).submit(0xffff);
    });
    disk.read(0);
    while (machine.line.raised) machine.registers.interruptAck = 3;
    expect(lowered).toBe(5);
    expectRecovery(machine);
  });
});

describe("a listener of the line that throws", () => {
  it("leaves a device that works: its error is the caller's", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    let throws = true;
    machine.target.onInterrupt(() => {
      if (throws) throw new Error("the host's own");
    });
    expect(() => disk.submit(disk.chain(disk.readRequest(0, 512)))).toThrow("the host's own");
    throws = false;
    machine.registers.interruptAck = 1;
    expect(disk.takeUsed().length).toBe(1);
    expect(disk.read(1).status).toBe(0);
  });
});

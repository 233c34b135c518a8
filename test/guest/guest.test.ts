// The life of a guest: probe, abort, close; and the raw access that it gives.
import { describe, expect, it } from "vitest";
import { type Disk, Guest, GuestClosedError } from "../../guest/index.ts";
import { fakeMachine } from "./support/fixture.ts";
import { reasonOf } from "./support/outcome.ts";

/** Reads of which some are in the ring, some wait for descriptors and, with 100 of them, some for their turn. */
function manyReads(disk: Disk, count: number): Promise<unknown>[] {
  return Array.from({ length: count }, () => reasonOf(disk.read(0, 512)));
}

describe("Guest", () => {
  it("rejects all that is under way when its signal is aborted, and tells the device to stop", async () => {
    const controller = new AbortController();
    const { guest, device } = fakeMachine({ guest: { signal: controller.signal } });
    const disk = await guest.probe({ queueSize: 8 });
    device.onNotify = () => undefined;
    const reads = manyReads(disk, 100);
    const wait = reasonOf(guest.waitForInterrupt());
    const reason = new Error("Ctrl-C");
    controller.abort(reason);
    for (const read of reads) expect(await read).toBe(reason);
    expect(await wait).toBe(reason);
    expect(device.status).toBe(0);
    expect(await reasonOf(disk.read(0, 512))).toBe(reason);
    expect(await reasonOf(disk.flush())).toBe(reason);
    expect(await reasonOf(disk.id())).toBe(reason);
    expect(await reasonOf(guest.probe())).toBe(reason);
    expect(await reasonOf(guest.waitForInterrupt())).toBe(reason);
    await guest.close();
    expect(guest.allocator.allocatedCount).toBe(0);
  });

  it("is dead from the start under a signal that was aborted before", async () => {
    const { guest, device } = fakeMachine({ guest: { signal: AbortSignal.abort(new Error("early")) } });
    expect(await reasonOf(guest.probe())).toMatchObject({ message: "early" });
    expect(device.log).toEqual([]);
  });

  it("survives an abort that comes from within a register access", async () => {
    for (const offset of [0x050, 0x060, 0x064]) {
      const controller = new AbortController();
      const { guest, device } = fakeMachine({ guest: { signal: controller.signal } });
      const disk = await guest.probe();
      device.onAccess = (_kind, at) => {
        if (at === offset) controller.abort(new Error("from within"));
      };
      expect(await reasonOf(disk.read(0, 512))).toMatchObject({ message: "from within" });
      device.onAccess = () => undefined;
      await guest.close();
      expect(guest.allocator.allocatedCount).toBe(0);
    }
  });

  it("resets the device on close, gives RAM back and rejects what was pending", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    device.onNotify = () => undefined;
    const reads = manyReads(disk, 100);
    const closed = guest.close();
    expect(guest.close()).toBe(closed);
    await closed;
    for (const read of reads) expect(await read).toBeInstanceOf(GuestClosedError);
    expect(device.status).toBe(0);
    expect(guest.allocator.allocatedCount).toBe(0);
    expect(guest.signal.aborted).toBe(true);
  });

  it("INIT-DRV-011 gives RAM back only once Status reads 0", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    device.onNotify = () => undefined;
    const read = reasonOf(disk.read(0, 512));
    device.slowResetReads = 5;
    let takenWhileSlow = 0;
    device.onAccess = (kind, offset) => {
      if (kind === "R" && offset === 0x070 && device.slowResetReads > 0)
        takenWhileSlow = guest.allocator.allocatedCount;
    };
    await guest.close();
    await read;
    expect(takenWhileSlow).toBeGreaterThan(1);
    expect(guest.allocator.allocatedCount).toBe(0);
  });

  it("closes with the reason that it is given, and at the end of an `await using`", async () => {
    const first = fakeMachine();
    const disk = await first.guest.probe();
    await first.guest.close("done");
    expect(await reasonOf(disk.read(0, 512))).toBe("done");
    const second = fakeMachine();
    {
      await using guest = second.guest;
      await guest.probe();
      expect(second.device.status).toBe(0x0f);
    }
    expect(second.device.status).toBe(0);
  });

  it("never touches the device when nothing was probed", async () => {
    const { guest, device } = fakeMachine();
    await guest.close();
    expect(device.log).toEqual([]);
  });

  it("ends the disk of an earlier probe", async () => {
    const { guest, device } = fakeMachine();
    const old = await guest.probe();
    const free = guest.allocator.freeBytes;
    device.onNotify = () => undefined;
    const pending = reasonOf(old.read(0, 512));
    const disk = await guest.probe();
    expect(await pending).toMatchObject({ name: "GuestClosedError", message: "the device was probed again" });
    expect(await reasonOf(old.read(0, 512))).toBeInstanceOf(GuestClosedError);
    expect(() => old.writeback).toThrow(GuestClosedError);
    expect(() => {
      old.writeback = true;
    }).toThrow(GuestClosedError);
    expect(guest.allocator.freeBytes).toBe(free);
    device.onNotify = () => device.serveAll();
    expect(await disk.read(0, 512)).toHaveLength(512);
  });

  it("probes one at a time, and rejects a probe that the guest's end overtakes", async () => {
    const { guest } = fakeMachine();
    const first = guest.probe();
    expect(await reasonOf(guest.probe())).toMatchObject({ message: "probe: already under way" });
    const outcome = reasonOf(first);
    await guest.close();
    expect(await outcome).toBeInstanceOf(GuestClosedError);
  });

  it("keeps a heap of the caller's choice, and off address 0", async () => {
    const { guest, device } = fakeMachine({ ramBase: 0, ramBytes: 1 << 16 });
    await guest.probe({ queueSize: 8 });
    expect(device.queue.desc).toBe(16);
    const own = new Guest(guest.target, { heap: { address: 0x8000, lengthBytes: 0x4000 } });
    await own.probe({ queueSize: 8 });
    expect([device.queue.desc, device.queue.driver, device.queue.device]).toEqual([0x8000, 0x8080, 0x8098]);
  });

  it("lets a signal of one wait end that wait alone", async () => {
    const { guest } = fakeMachine();
    const controller = new AbortController();
    const wait = reasonOf(guest.waitForInterrupt({ signal: controller.signal }));
    const other = guest.waitForInterrupt({ timeoutMs: 5 });
    controller.abort("enough");
    expect(await wait).toBe("enough");
    (guest.clock as unknown as { advance(ms: number): void }).advance(5);
    expect(await other).toBe(false);
  });
});

describe("Raw access", () => {
  it("drives the device from registers, descriptors and rings alone", async () => {
    const { guest, device } = fakeMachine();
    const { registers, target, allocator } = guest;
    expect([registers.magicValue, registers.version, registers.deviceId, registers.vendorId]).toEqual([
      0x74726976, 2, 2, 0x1234,
    ]);
    registers.status = 0;
    registers.status = 1;
    registers.status = 3;
    registers.deviceFeaturesSel = 1;
    expect(registers.deviceFeatures).toBe(1);
    registers.driverFeaturesSel = 1;
    registers.driverFeatures = 1;
    registers.status = 0x0b;
    const queue = guest.rawSplitQueue(4);
    expect(registers.queueSizeMax).toBe(256);
    queue.enable(registers);
    expect(registers.queueReady).toBe(1);
    registers.status = 0x0f;

    device.disk.set([1, 2, 3], 512);
    const buffer = allocator.allocate(16 + 512 + 1);
    target.writeRam32(buffer, 0);
    target.writeRam64(buffer + 8, 1n);
    queue.writeDescriptor(2, { address: buffer, lengthBytes: 16, flags: 1, next: 0 });
    queue.writeDescriptor(0, { address: BigInt(buffer + 16), lengthBytes: 513, flags: 2 });
    queue.publish(2);
    expect([queue.availIdx, queue.readAvailable(0), queue.usedIdx]).toEqual([1, 2, 0]);
    const raised = guest.waitForInterrupt();
    registers.queueNotify = 0;
    expect(await raised).toBe(true);
    expect(registers.interruptStatus).toBe(1);
    registers.interruptAck = 1;
    expect(target.interruptRaised).toBe(false);
    expect([queue.usedIdx, queue.readUsed(0)]).toEqual([1, { id: 2, length: 513 }]);
    expect([target.readRam8(buffer + 16), target.readRam8(buffer + 18), target.readRam8(buffer + 528)]).toEqual([
      1, 3, 0,
    ]);
    expect(queue.readDescriptor(2)).toEqual({ address: BigInt(buffer), lengthBytes: 16, flags: 1, next: 0 });
  });

  it("writes what no driver would", () => {
    const { guest, device } = fakeMachine();
    const queue = guest.rawSplitQueue(8);
    const at = queue.layout.descriptorTable - 0x4000_0000;
    queue.writeDescriptor(7, { address: 0xffff_ffff_ffff_f000n, lengthBytes: -1, flags: 0x1_0007, next: 8 });
    expect(queue.readDescriptor(7)).toEqual({
      address: 0xffff_ffff_ffff_f000n,
      lengthBytes: 0xffff_ffff,
      flags: 7,
      next: 8,
    });
    expect(device.memory.readU16(0x4000_0000 + at + 7 * 16 + 14)).toBe(8);
    queue.availFlags = 0xffff;
    queue.availIdx = 0x1_2345;
    queue.writeAvailable(3, 0xabcd);
    queue.usedEvent = 0x1111;
    queue.usedFlags = 0x2222;
    queue.usedIdx = 0x3333;
    queue.availEvent = 0x4444;
    const words = (from: number, count: number): number[] =>
      Array.from({ length: count }, (_, i) => device.memory.readU16(0x4000_0000 + at + from + 2 * i));
    expect(words(0x80, 11)).toEqual([0xffff, 0x2345, 0, 0, 0, 0xabcd, 0, 0, 0, 0, 0x1111]);
    expect([words(0x98, 2), words(0xdc, 1)]).toEqual([[0x2222, 0x3333], [0x4444]]);
    expect([queue.availFlags, queue.usedEvent, queue.usedFlags, queue.availEvent]).toEqual([
      0xffff, 0x1111, 0x2222, 0x4444,
    ]);
    const table = guest.allocator.allocate(32);
    queue.writeIndirect(table, 1, { lengthBytes: 5, flags: 4 });
    expect(device.memory.readU32(table + 24)).toBe(5);
  });

  it("reads and writes registers of any offset and width, and configuration fields", () => {
    const { guest, device } = fakeMachine();
    device.config[0x20] = 1;
    expect(guest.registers.readConfig(0x20, 1)).toBe(1);
    guest.registers.writeConfig(0x20, 0, 1);
    expect(guest.registers.read(0x120, 1)).toBe(0);
    expect(guest.registers.configGeneration).toBe(0);
    guest.registers.queueDesc = 0x1234_5678n;
    expect(device.conversation.slice(-2)).toEqual(["W 080=12345678", "W 084=0"]);
    expect(() => guest.registers.read(0x1fe)).toThrow("register 0x1fe of 4 bytes: the bank has 512 bytes");
  });
});

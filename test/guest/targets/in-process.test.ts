// RAM, registers and interrupts of a target in the same process.
import { describe, expect, it } from "vitest";
import { InProcessTarget } from "../../../guest/index.ts";
import { GuestMemory, GuestMemoryError } from "../../../src/memory/guest-memory.ts";
import { FakeDevice } from "../support/fake-device.ts";
import { ManualClock } from "../support/manual-clock.ts";

const BASE = 0x4000_0000;

function make(): { device: FakeDevice; target: InProcessTarget; clock: ManualClock } {
  const device = new FakeDevice({ ramBytes: 4096 });
  const clock = new ManualClock();
  const target = new InProcessTarget({ memory: device.memory, region: device, line: device.line, clock });
  return { device, target, clock };
}

describe("InProcessTarget", () => {
  it("reads and writes RAM little-endian, of every width, aligned or not", () => {
    const { target } = make();
    expect([target.ramBase, target.ramSizeBytes]).toEqual([BASE, 4096]);
    target.writeRam64(BASE, 0x8877_6655_4433_2211n);
    expect([target.readRam8(BASE), target.readRam16(BASE + 2), target.readRam32(BASE + 4)]).toEqual([
      0x11, 0x4433, 0x8877_6655,
    ]);
    expect([target.readRam16(BASE + 1), target.readRam32(BASE + 1)]).toEqual([0x3322, 0x5544_3322]);
    target.writeRam16(BASE + 1, 0xabcd);
    target.writeRam16(BASE + 4, 0x1_2345);
    target.writeRam8(BASE + 7, 0xfe);
    target.writeRam32(BASE + 8, 0xdead_beef);
    const bytes = new Uint8Array(12);
    target.readRam(BASE, bytes);
    expect(Buffer.from(bytes).toString("hex")).toBe("11cdab44452377feefbeadde");
    target.fillRam(BASE + 4, 0x5a, 4);
    target.writeRam(BASE + 10, Uint8Array.of(1, 2));
    expect([target.readRam64(BASE + 4)]).toEqual([0x0201_beef_5a5a_5a5an]);
  });

  it("throws a GuestMemoryError for any access that leaves RAM", () => {
    const { target } = make();
    const end = BASE + 4096;
    const accesses = [
      () => target.readRam8(end),
      () => target.readRam16(end - 1),
      () => target.readRam16(end),
      () => target.readRam16(BASE - 2),
      () => target.readRam32(end - 3),
      () => target.readRam64(end - 7),
      () => target.writeRam8(BASE - 1, 0),
      () => target.writeRam16(end, 0),
      () => target.writeRam32(end - 2, 0),
      () => target.writeRam64(end - 4, 0n),
      () => target.readRam(end - 3, new Uint8Array(4)),
      () => target.writeRam(end - 3, new Uint8Array(4)),
      () => target.fillRam(BASE + 1, 0, 4096),
      () => target.readRam16(0.5),
      () => target.writeRam(BASE + 0.5, new Uint8Array(1)),
      () => target.readRam16(Number.NaN),
    ];
    for (const access of accesses) expect(access).toThrow(GuestMemoryError);
  });

  it("follows RAM that was put over another buffer", () => {
    const { target, device } = make();
    const buffer = new ArrayBuffer(8192);
    new Uint8Array(buffer)[4098] = 7;
    device.memory.rebind(buffer, 0, 8192);
    expect(target.ramSizeBytes).toBe(8192);
    expect([target.readRam8(BASE + 4098), target.readRam16(BASE + 4098)]).toEqual([7, 7]);
    expect(new GuestMemory({ sizeBytes: 16 }).sizeBytes).toBe(16);
  });

  it("cuts register values to their width and refuses what lies outside the bank", () => {
    const { target, device } = make();
    target.writeRegister(0x070, -1);
    target.writeRegister(0x120, 0x1ff, 1);
    expect(device.log.map(({ value }) => value)).toEqual([0xffff_ffff, 0xff]);
    for (const access of [
      () => target.readRegister(0x200),
      () => target.readRegister(0x1ff, 2),
      () => target.readRegister(-4),
      () => target.writeRegister(0x1fd, 0),
      () => target.readRegister(0.5),
    ]) {
      expect(access).toThrow(RangeError);
    }
  });

  it("resolves a wait with the level, the edge or the time, whichever is first", async () => {
    const { target, device, clock } = make();
    device.line.set(true);
    expect(target.interruptRaised).toBe(true);
    expect(await target.waitForInterrupt()).toBe(true);
    device.line.set(false);
    const edge = target.waitForInterrupt({ timeoutMs: 100 });
    clock.advance(99);
    device.line.set(true);
    device.line.set(false);
    expect(await edge).toBe(true);
    expect(clock.pendingTimers).toBe(0);
    const late = target.waitForInterrupt({ timeoutMs: 100 });
    clock.advance(100);
    device.line.set(true);
    expect(await late).toBe(false);
  });

  it("rejects a wait with the signal's reason and forgets it", async () => {
    const { target, device, clock } = make();
    const controller = new AbortController();
    const wait = target.waitForInterrupt({ signal: controller.signal, timeoutMs: 5 });
    controller.abort("stop");
    await expect(wait).rejects.toBe("stop");
    expect(clock.pendingTimers).toBe(0);
    device.line.set(true);
    await expect(target.waitForInterrupt({ signal: controller.signal })).rejects.toBe("stop");
  });

  it("calls a listener at rising edges alone, until it is taken back", () => {
    const { target, device } = make();
    let edges = 0;
    const end = target.onInterrupt(() => edges++);
    device.line.set(true);
    device.line.set(true);
    device.line.set(false);
    device.line.set(true);
    expect(edges).toBe(2);
    end();
    device.line.set(false);
    device.line.set(true);
    expect(edges).toBe(2);
  });
});

// Devices that break the protocol, fall silent or go mad: every promise settles, with an error that says why.
import { describe, expect, it } from "vitest";
import { type Disk, GuestDriverError } from "../../guest/index.ts";
import { pattern, sameBytes } from "./support/bytes.ts";
import { type FakeMachine, fakeMachine } from "./support/fixture.ts";
import { stateOf } from "./support/outcome.ts";

describe("Disk against a device that misbehaves", () => {
  async function probed(): Promise<FakeMachine & { disk: Disk }> {
    const machine = fakeMachine();
    return { ...machine, disk: await machine.guest.probe({ queueSize: 8 }) };
  }

  /** Starts several requests, lets the device do its worst and expects that all end with `code`, and later ones too. */
  async function expectDeath(
    wickedness: (machine: FakeMachine) => void,
    code: string,
    message: string | RegExp,
    failed = true,
  ): Promise<void> {
    const machine = await probed();
    const { disk, device, guest } = machine;
    const free = guest.allocator.freeBytes;
    device.onNotify = () => undefined;
    const requests = [disk.read(0, 512), disk.write(0, new Uint8Array(512)), disk.flush(), disk.id()];
    for (let i = 0; i < 20; i++) requests.push(disk.read(0, 512));
    const outcomes = Promise.allSettled(requests);
    wickedness(machine);
    for (const outcome of await outcomes) {
      expect(outcome.status).toBe("rejected");
      expect((outcome as PromiseRejectedResult).reason).toBeInstanceOf(GuestDriverError);
      expect((outcome as PromiseRejectedResult).reason).toMatchObject({ code });
      expect(String((outcome as PromiseRejectedResult).reason)).toMatch(message);
    }
    expect((device.status & 0x80) !== 0).toBe(failed);
    await expect(disk.read(0, 512)).rejects.toMatchObject({ code });
    await expect(disk.flush()).rejects.toMatchObject({ code });
    await expect(disk.request({ type: 0 })).rejects.toMatchObject({ code });
    expect(machine.clock.pendingTimers).toBe(0);

    // Another probe starts afresh, with all RAM back.
    device.onNotify = () => device.serveAll();
    device.extraStatus = 0;
    device.stuckInterrupt = 0;
    device.onAccess = () => undefined;
    const again = await guest.probe({ queueSize: 8 });
    expect(await again.read(0, 512)).toHaveLength(512);
    expect(guest.allocator.freeBytes).toBe(free);
    await expect(disk.read(0, 512)).rejects.toMatchObject({ code });
  }

  it("ends on a used id that is no chain", () =>
    expectDeath(
      ({ device }) => {
        device.use(7777, 1);
        device.interrupt(1);
      },
      "used-ring",
      "names id 7777, no chain",
    ));

  it("ends on a used idx out of range", () =>
    expectDeath(
      ({ device }) => {
        device.setUsedIdx(0x8000);
        device.interrupt(1);
      },
      "used-ring",
      "used idx 0x8000 is 32768 past what was taken",
    ));

  it("ends on a used length beyond the buffers", () =>
    expectDeath(
      ({ device }) => {
        device.use(device.takeChain()!.head, 5000);
        device.interrupt(1);
      },
      "used-length",
      "used length 5000 of a chain with 513 writable bytes",
    ));

  it("ends on DEVICE_NEEDS_RESET announced by a configuration interrupt", () =>
    expectDeath(
      ({ device }) => {
        device.extraStatus = 0x40;
        device.interrupt(2);
      },
      "needs-reset",
      "DEVICE_NEEDS_RESET",
      false,
    ));

  it("ends on DEVICE_NEEDS_RESET without an interrupt, within a second or so", () =>
    expectDeath(
      ({ device, clock }) => {
        device.extraStatus = 0x40;
        clock.advance(1000);
      },
      "needs-reset",
      "DEVICE_NEEDS_RESET",
      false,
    ));

  it("ends when the device never answers", () =>
    expectDeath(({ clock }) => clock.advance(32_000), "timeout", /no answer for 30000 ms$/));

  it("ends when the device answers and never interrupts, and says so", () =>
    expectDeath(
      ({ device, clock }) => {
        device.serve(device.takeChain()!);
        clock.advance(32_000);
      },
      "timeout",
      "no answer for 30000 ms; the device has used buffers without an interrupt",
    ));

  it("ends when one request of many is never answered, the others answered in time", async () => {
    const { guest, device, clock } = fakeMachine();
    const disk = await guest.probe();
    device.onNotify = () => void device.takeChain();
    const lost = disk.read(0, 512);
    const ended = lost.catch((error: unknown) => error);
    device.onNotify = () => device.serveAll();
    for (let second = 1; second <= 30; second++) {
      clock.advance(1000);
      sameBytes(await disk.read(512, 512), new Uint8Array(512));
    }
    expect(await stateOf(lost)).toBe("pending");
    clock.advance(2000);
    expect(await ended).toMatchObject({ code: "timeout" });
    await expect(disk.read(512, 512)).rejects.toMatchObject({ code: "timeout" });
  });

  it("ends when the configuration never stands still", () =>
    expectDeath(
      ({ device }) => {
        device.onAccess = (_kind, offset) => {
          if (offset === 0x100) device.generation++;
        };
        device.interrupt(2);
      },
      "config-unstable",
      "ConfigGeneration changed",
    ));

  it("ends when the line stays raised whatever is acknowledged", () =>
    expectDeath(
      ({ device }) => {
        device.stuckInterrupt = 1;
        device.interrupt(1);
      },
      "interrupt-stuck",
      "1000 acknowledged interrupts for nothing",
    ));

  it("ends on whatever the target throws, and reports that", async () => {
    const { disk, device } = await probed();
    const broken = new Error("the machine is gone");
    device.onAccess = () => {
      throw broken;
    };
    const read = disk.read(0, 512);
    await expect(read).rejects.toThrow(AggregateError);
    await expect(read).rejects.toMatchObject({ errors: [broken, broken] });
    await expect(disk.read(0, 512)).rejects.toThrow(AggregateError);
  });

  it("SPLIT-DRV-024 hands out no byte past the used length of a read", async () => {
    const { disk, device } = await probed();
    const stale = pattern(512, 1);
    device.onNotify = () => {
      const chain = device.takeChain()!;
      device.memory.viewOf(chain.buffers[1]!.address, 512).set(stale);
      device.writeStatus(chain, 0);
      device.use(chain.head, 100);
      device.interrupt(1);
    };
    const into = new Uint8Array(512);
    await expect(disk.readInto(0, into)).rejects.toMatchObject({ code: "used-length" });
    expect(into.subarray(0, 100)).toEqual(stale.subarray(0, 100));
    expect(into.subarray(100)).toEqual(new Uint8Array(412));
    device.onNotify = () => device.serveAll();
    expect(await disk.read(0, 512)).toHaveLength(512);
  });

  it("SPLIT-DRV-022 does not mind interrupts for nothing", async () => {
    const { disk, device } = await probed();
    for (let i = 0; i < 2000; i++) device.interrupt(1);
    device.line.set(true);
    device.line.set(false);
    expect(await disk.read(0, 512)).toHaveLength(512);
  });

  it("MMIO-DRV-018 ignores undefined bits of InterruptStatus, though they keep the line raised", async () => {
    const { disk, device } = await probed();
    device.onNotify = () => {
      device.interruptStatus |= 0x80;
      device.serveAll();
    };
    for (let i = 0; i < 5; i++) expect(await disk.read(0, 512)).toHaveLength(512);
    expect(
      device.log.filter(({ kind, offset }) => kind === "W" && offset === 0x064).every(({ value }) => value === 1),
    ).toBe(true);
  });

  it("waits for ever where it is told to, and still ends with the guest", async () => {
    const { guest, device, clock } = fakeMachine();
    const disk = await guest.probe({ timeoutMs: Number.POSITIVE_INFINITY });
    device.onNotify = () => undefined;
    const read = disk.read(0, 512);
    clock.advance(10_000_000);
    expect(await stateOf(read)).toBe("pending");
    await guest.close();
    await expect(read).rejects.toThrow("the guest was closed");
    expect(clock.pendingTimers).toBe(0);
  });
});

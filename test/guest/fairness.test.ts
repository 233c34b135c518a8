// A guest that never pauses leaves room for others, whatever it awaits.
import { describe, expect, it } from "vitest";
import { type Disk, Guest, InProcessTarget } from "../../guest/index.ts";
import { systemClock } from "../../src/base/clock.ts";
import { FakeDevice } from "./support/fake-device.ts";
import { fakeMachine } from "./support/fixture.ts";

/** A fake device that completes everything within the notify write, under the system's clock. */
async function syncMachine(): Promise<{ device: FakeDevice; guest: Guest; disk: Disk }> {
  const device = new FakeDevice();
  const target = new InProcessTarget({ memory: device.memory, region: device, line: device.line, clock: systemClock });
  const guest = new Guest(target);
  return { device, guest, disk: await guest.probe() };
}

/** Repeats `step` until a timer of 20 ms has fired, which it never does when `step` starves the event loop. */
async function untilTimer(step: () => Promise<unknown>): Promise<number> {
  let fired = false;
  setTimeout(() => {
    fired = true;
  }, 20);
  const startedMs = performance.now();
  let rounds = 0;
  while (!fired) {
    await step();
    rounds++;
    if (performance.now() - startedMs > 10_000) throw new Error("the timer never fired");
  }
  return rounds;
}

const ignore = (): undefined => undefined;

describe("Fairness of the script API", () => {
  it.each<[string, (machine: { device: FakeDevice; guest: Guest; disk: Disk }) => Promise<unknown>]>([
    ["reads", ({ disk }) => disk.read(0, 512)],
    ["writes", ({ disk }) => disk.write(0, new Uint8Array(512))],
    ["flushes", ({ disk }) => disk.flush()],
    ["identifications", ({ disk }) => disk.id()],
    ["raw requests", ({ disk }) => disk.request({ type: 0x77 })],
    ["reads of nothing", ({ disk }) => disk.read(0, 0)],
    ["reads beyond the end", ({ disk }) => disk.read(0, 1 << 30).catch(ignore)],
    ["failing raw requests", ({ disk }) => disk.request({ type: 0, into: new Uint8Array(1 << 24) }).catch(ignore)],
    ["probes", ({ guest }) => guest.probe()],
    [
      "waits for a line that stays raised",
      ({ device, guest }) => {
        device.interruptStatus = 0x80;
        device.line.set(true);
        return guest.waitForInterrupt();
      },
    ],
    ["waits of no time", ({ guest }) => guest.waitForInterrupt({ timeoutMs: 0 })],
  ])("lets timers fire beside an endless loop of %s", async (_what, step) => {
    const machine = await syncMachine();
    expect(await untilTimer(() => step(machine))).toBeGreaterThan(0);
  });

  it("lets timers fire beside requests to a dead disk", async () => {
    const { guest, disk } = await syncMachine();
    await guest.close();
    expect(await untilTimer(() => disk.read(0, 512).catch(ignore))).toBeGreaterThan(0);
    expect(await untilTimer(() => disk.flush().catch(ignore))).toBeGreaterThan(0);
  });

  it("lets timers fire beside a device that completes in microtasks", async () => {
    const { device, disk } = await syncMachine();
    device.onNotify = () => queueMicrotask(() => device.serveAll());
    expect(await untilTimer(() => disk.read(0, 512))).toBeGreaterThan(0);
  });

  it("yields once in 63 requests while no time passes", async () => {
    const { guest, clock } = fakeMachine();
    const disk = await guest.probe();
    const before = clock.yields;
    for (let i = 0; i <= 6300; i++) await disk.read(0, 512);
    expect(clock.yields - before).toBe(100);
  });

  it("yields once in a millisecond while requests are slow", async () => {
    const { guest, clock, device } = fakeMachine();
    const disk = await guest.probe();
    device.onNotify = () => {
      clock.advance(0.3);
      device.serveAll();
    };
    const before = clock.yields;
    for (let i = 0; i <= 400; i++) await disk.read(0, 512);
    expect(clock.yields - before).toBe(100);
  });

  it("goes on though the clock says that every request takes a millisecond", async () => {
    const { guest, clock, device } = fakeMachine();
    const disk = await guest.probe();
    device.onAccess = () => clock.advance(5);
    for (let i = 0; i < 10; i++) await disk.read(0, 512);
    expect(device.notifies).toBe(10);
  });

  it("cuts a batch of any size into turns of 64 requests", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    const perNotify: number[] = [];
    device.onNotify = () => {
      const before = device.usedIdx;
      device.serveAll();
      perNotify.push((device.usedIdx - before) & 0xffff);
    };
    await Promise.all(disk.batch(() => Array.from({ length: 1000 }, () => disk.read(0, 512))));
    expect(Math.max(...perNotify)).toBeLessThanOrEqual(64);
    expect(perNotify.length).toBeLessThanOrEqual(17);
    expect(perNotify.reduce((sum, count) => sum + count, 0)).toBe(1000);
  });

  it("puts no more than about 1 MiB into one notification", async () => {
    const { guest, device } = fakeMachine({ ramBytes: 1 << 24, diskBytes: 1 << 23 });
    const disk = await guest.probe({ maxTransferBytes: 1 << 18 });
    await disk.read(0, 1 << 23);
    expect(device.notifies).toBe(8);
  });

  it("settles a request that is done at once in one microtask", async () => {
    const { guest } = fakeMachine();
    const disk = await guest.probe();
    for (const start of [() => disk.read(0, 512), () => disk.write(0, new Uint8Array(512)), () => disk.flush()]) {
      let settled = false;
      void start().then(() => {
        settled = true;
      });
      expect(settled).toBe(false);
      await Promise.resolve();
      expect(settled).toBe(true);
    }
  });
});

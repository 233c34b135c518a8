// Limits of bytes per second (docs/reference/backup.md §1.8, corrections.md B7).
import { beforeEach, describe, expect, it } from "vitest";
import { InterruptibleSleep } from "../../src/base/interruptible-sleep.ts";
import { RateLimit } from "../../src/base/rate-limit.ts";
import { Simulation } from "../support/simulation.ts";

const KIB64 = 65536;

let simulation: Simulation;
let limit: RateLimit;
beforeEach(() => {
  simulation = new Simulation(1);
  limit = new RateLimit(simulation);
});

const pass = (ms: number): Promise<void> => simulation.run(simulation.after(ms));

describe("RateLimit", () => {
  it("is none at first", () => {
    limit.charge(1e9);
    expect(limit.bytesPerSecond).toBe(0);
    expect(limit.delayMs()).toBe(0);
  });

  it("lets one 64 KiB request of 256 KiB a second begin each 250 ms", async () => {
    limit.bytesPerSecond = 4 * KIB64;
    const begun: number[] = [];
    for (let i = 0; i < 16; i++) {
      for (let delay = limit.delayMs(); delay > 0; delay = limit.delayMs()) await pass(delay);
      begun.push(simulation.nowMs());
      limit.charge(KIB64);
    }
    expect(begun).toEqual(Array.from({ length: 16 }, (_, i) => i * 250));
  });

  it("lets many small requests begin until the slice's share is spent", async () => {
    limit.bytesPerSecond = 10_000;
    for (let i = 0; i < 10; i++) {
      expect(limit.delayMs()).toBe(0);
      limit.charge(100);
    }
    expect(limit.delayMs()).toBe(100);
    await pass(101);
    expect(limit.delayMs()).toBe(0);
  });

  it("holds what comes after the first request at one byte a second, whatever its new speed of that kind", async () => {
    limit.bytesPerSecond = 1;
    expect(limit.delayMs()).toBe(0);
    limit.charge(KIB64);
    expect(limit.delayMs()).toBe(KIB64 * 100);
    await pass(1000);
    limit.bytesPerSecond = 2;
    expect(limit.delayMs()).toBe(KIB64 * 100 - 1000);
    limit.bytesPerSecond = 20;
    expect(limit.delayMs()).toBe((KIB64 * 100) / 2 - 1000);
    limit.bytesPerSecond = 0;
    expect(limit.delayMs()).toBe(0);
  });

  it("starts the account anew once the stretched slice is over", async () => {
    limit.bytesPerSecond = 10 * KIB64;
    limit.charge(2 * KIB64);
    expect(limit.delayMs()).toBe(200);
    await pass(201);
    limit.bytesPerSecond = 1;
    expect(limit.delayMs()).toBe(0);
  });
});

describe("InterruptibleSleep", () => {
  it("ends after its time, or when it is woken, whichever is first", async () => {
    const sleep = new InterruptibleSleep(simulation);
    expect(sleep.sleeping).toBe(false);
    const first = sleep.sleep(100);
    expect(sleep.sleeping).toBe(true);
    await simulation.run(first);
    expect([simulation.nowMs(), sleep.sleeping]).toEqual([100, false]);
    const second = sleep.sleep(100);
    sleep.wake();
    await simulation.run(second);
    expect(simulation.nowMs()).toBe(100);
    const third = sleep.sleep();
    sleep.wake();
    await simulation.run(third);
    sleep.wake();
    await expect(simulation.run(new Promise(() => {}))).rejects.toThrow("hangs at 100 ms");
  });

  it("lasts a day at most, which timers can count", async () => {
    const sleep = new InterruptibleSleep(simulation);
    await simulation.run(sleep.sleep(2 ** 40));
    expect(simulation.nowMs()).toBe(86_400_000);
  });
});

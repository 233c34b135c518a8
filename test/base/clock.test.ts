// Fairness of loops, and the system's clock.
import { describe, expect, it } from "vitest";
import { type Clock, Pacer, systemClock } from "../../src/base/clock.ts";

/** A clock that only moves when told to, and counts the yields. */
function manualClock(): Clock & { nowIs(ms: number): void; readonly yields: number } {
  let now = 0;
  let yields = 0;
  return {
    nowMs: () => now,
    nowIs(ms) {
      now = ms;
    },
    setTimer: () => {
      throw new Error("a pacer sets no timer");
    },
    yield: () => {
      yields++;
      return Promise.resolve();
    },
    get yields() {
      return yields;
    },
  };
}

describe("Pacer", () => {
  it("says after 64 rounds that it is others' turn, and begins anew after the yield", async () => {
    const clock = manualClock();
    const pacer = new Pacer(clock);
    for (let round = 0; round < 3; round++) {
      for (let i = 1; i <= 63; i++) expect(pacer.step(), `step ${i}`).toBe(false);
      expect(pacer.step()).toBe(true);
      expect(pacer.step()).toBe(true); // until it is heeded
      await pacer.yield();
    }
    expect(clock.yields).toBe(3);
  });

  it("says so after a millisecond, however few the rounds", async () => {
    const clock = manualClock();
    const pacer = new Pacer(clock);
    clock.nowIs(0.9);
    expect(pacer.step()).toBe(false);
    clock.nowIs(1);
    expect(pacer.step()).toBe(true);
    await pacer.yield();
    clock.nowIs(1.9);
    expect(pacer.step()).toBe(false);
    clock.nowIs(2);
    expect(pacer.step()).toBe(true);
  });
});

describe("systemClock", () => {
  it("does not go back", () => {
    let last = systemClock.nowMs();
    for (let i = 0; i < 1000; i++) {
      const now = systemClock.nowMs();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
  });

  it("calls a timer once, and not at all when it was taken back", async () => {
    const fired: string[] = [];
    await new Promise<void>((resolve) => {
      systemClock.setTimer(0, () => fired.push("first"));
      const cancel = systemClock.setTimer(0, () => fired.push("cancelled"));
      cancel();
      systemClock.setTimer(5, resolve);
    });
    expect(fired).toEqual(["first"]);
  });

  it("lets others have their turn in a yield: what was set to run before has run", async () => {
    let ran = false;
    setImmediate(() => {
      ran = true;
    });
    await systemClock.yield();
    expect(ran).toBe(true);
  });
});

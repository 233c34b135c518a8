// Events: their order, their time, and those that come only so often.
import { describe, expect, it } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { defineEvent, EventQueue, type QmpEvent, systemWallClock } from "../../src/qmp/events.ts";
import { ManualClock } from "../guest/support/manual-clock.ts";
import { HAPPENED, NOTHING, RARE } from "./support/test-monitor.ts";

function makeQueue(): { queue: EventQueue; clock: ManualClock; wall: { nowMs: number }; heard: QmpEvent[] } {
  const clock = new ManualClock();
  const wall = { nowMs: 0 };
  const queue = new EventQueue({ clock, wallClock: { nowMs: () => wall.nowMs } });
  queue.declare(HAPPENED, NOTHING, RARE);
  const heard: QmpEvent[] = [];
  queue.listen((event) => heard.push(event));
  return { queue, clock, wall, heard };
}

describe("EventQueue", () => {
  it("stamps events with seconds and microseconds, and leaves data out where there is none", () => {
    const { queue, wall, heard } = makeQueue();
    wall.nowMs = 1_700_000_000_999.999;
    queue.emit(NOTHING);
    wall.nowMs = 1_700_000_001_000;
    queue.emit(HAPPENED, { what: "x" });
    expect(heard).toEqual([
      { timestamp: { seconds: 1_700_000_000, microseconds: 999_999 }, event: "NOTHING" },
      { timestamp: { seconds: 1_700_000_001, microseconds: 0 }, event: "HAPPENED", data: { what: "x" } },
    ]);
    expect(Object.keys(heard[0]!)).toEqual(["timestamp", "event"]);
  });

  it("keeps one order for all, also of what happens while an event is told", () => {
    const { queue, heard } = makeQueue();
    const late: QmpEvent[] = [];
    queue.listen(({ event }) => {
      if (event === "NOTHING") queue.emit(HAPPENED, { what: "because of it" });
    });
    queue.listen((event) => late.push(event));
    queue.emit(NOTHING);
    expect(late.map(({ event }) => event)).toEqual(["NOTHING", "HAPPENED"]);
    expect(heard).toEqual(late);
  });

  it("goes on telling when a listener fails", () => {
    const { queue, heard } = makeQueue();
    const stop = queue.listen(() => {
      throw new Error("listener");
    });
    expect(() => queue.emit(NOTHING)).toThrow("listener");
    stop();
    queue.emit(HAPPENED, { what: "x" });
    expect(heard.map(({ event }) => event)).toEqual(["NOTHING", "HAPPENED"]);
  });

  it("knows only declared events, each once", () => {
    const { queue } = makeQueue();
    expect(() => queue.emit(defineEvent("OTHER"))).toThrow(AssertionError);
    expect(() => queue.emit(defineEvent("NOTHING"))).toThrow(AssertionError);
    expect(() => queue.declare(defineEvent("NOTHING"))).toThrow(AssertionError);
  });

  it("tells a throttled event at once, and the last of those that follow at the end of the period", () => {
    const { queue, clock, wall, heard } = makeQueue();
    const emit = (device: string, count: number): void => {
      wall.nowMs = clock.nowMs();
      queue.emit(RARE, { device, count });
    };
    const counts = () => heard.map(({ data }) => (data as { count: number }).count);
    emit("a", 1);
    emit("b", 2);
    emit("a", 3);
    clock.advance(500);
    emit("a", 4);
    expect(counts()).toEqual([1, 2]);
    clock.advance(499);
    expect(counts()).toEqual([1, 2]);
    clock.advance(1);
    expect(counts()).toEqual([1, 2, 4]);
    // It has the time at which it happened.
    expect(heard[2]?.timestamp).toEqual({ seconds: 0, microseconds: 500_000 });
    emit("a", 5);
    clock.advance(1000);
    expect(counts()).toEqual([1, 2, 4, 5]);
    clock.advance(1000);
    emit("a", 6);
    expect(counts()).toEqual([1, 2, 4, 5, 6]);
    emit("a", 7);
    queue.close();
    clock.advance(5000);
    expect(counts()).toEqual([1, 2, 4, 5, 6]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("has the time of day", () => {
    expect(Math.abs(systemWallClock.nowMs() - Date.now())).toBeLessThan(60_000);
  });
});

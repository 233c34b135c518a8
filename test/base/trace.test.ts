// Trace points: who listens hears what happens, and nobody else pays for it.
import { afterEach, describe, expect, it } from "vitest";
import { subscribeTrace, type TraceFields, tracePoint } from "../../src/base/trace.ts";

describe("tracePoint", () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  /** What is reported at points that match, from now on. */
  function listen(pattern: string): [string, TraceFields][] {
    const heard: [string, TraceFields][] = [];
    ends.push(subscribeTrace(pattern, (name, fields) => heard.push([name, fields])));
    return heard;
  }

  it("is disabled until somebody listens, and again when nobody does", () => {
    const point = tracePoint("test_enabled");
    expect(point.enabled).toBe(false);
    const heard = listen("test_enabled");
    expect(point.enabled).toBe(true);
    point.emit({ queue: 1 });
    expect(heard).toEqual([["test_enabled", { queue: 1 }]]);
    ends.pop()!();
    expect(point.enabled).toBe(false);
    point.emit({ queue: 2 });
    expect(heard.length).toBe(1);
  });

  it("is one point per name, and heard by those who subscribed before it was declared", () => {
    const heard = listen("test_late_*");
    expect(tracePoint("test_late_a")).toBe(tracePoint("test_late_a"));
    expect(tracePoint("test_late_a").enabled).toBe(true);
    tracePoint("test_late_a").emit({});
    expect(heard).toEqual([["test_late_a", {}]]);
  });

  it("reports to every listener, and goes on with the others when one ends", () => {
    const first = listen("test_many");
    const second = listen("*_many");
    const point = tracePoint("test_many");
    point.emit({ n: 1 });
    ends.shift()!();
    point.emit({ n: 2 });
    expect(first).toEqual([["test_many", { n: 1 }]]);
    expect(second.map(([, fields]) => fields)).toEqual([{ n: 1 }, { n: 2 }]);
    expect(point.enabled).toBe(true);
  });

  it("matches whole names, with * for any characters and all others for themselves", () => {
    const names = ["test_a.b", "test_aXb", "test_a.b.c", "xtest_a.b", "test_(a)+[b]|{c}^$?"];
    const matching = (pattern: string): string[] => {
      const heard = listen(pattern);
      for (const name of names) {
        const point = tracePoint(name);
        if (point.enabled) point.emit({});
      }
      ends.pop()!();
      return heard.map(([name]) => name);
    };
    expect(matching("test_a.b")).toEqual(["test_a.b"]);
    expect(matching("test_*b")).toEqual(["test_a.b", "test_aXb"]);
    expect(matching("*test_a*")).toEqual(["test_a.b", "test_aXb", "test_a.b.c", "xtest_a.b"]);
    expect(matching("test_(a)+[b]|{c}^$?")).toEqual(["test_(a)+[b]|{c}^$?"]);
    expect(matching("nothing")).toEqual([]);
  });

  it("tells all who listened when an event began, also when one ends another from within", () => {
    const point = tracePoint("test_within");
    const heard: string[] = [];
    let endSecond = (): void => {};
    ends.push(
      subscribeTrace("test_within", () => {
        heard.push("first");
        endSecond();
      }),
    );
    endSecond = subscribeTrace("test_within", () => heard.push("second"));
    point.emit({});
    point.emit({});
    expect(heard).toEqual(["first", "second", "first"]);
  });
});

// The list of requests in flight, and who waits for whom.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RequestKind, type TrackedRequest, TrackedRequests } from "../../src/block/tracked-request.ts";
import { settle } from "../support/simulation.ts";

describe("TrackedRequests", () => {
  it("lists what is in flight, oldest first", () => {
    const requests = new TrackedRequests();
    const first = requests.begin("read", 0, 512, false);
    const second = requests.begin("write", 512, 512, false);
    const third = requests.begin("flush", 0, 0, false);
    expect([...requests]).toEqual([first, second, third]);
    expect(requests.count).toBe(3);
    requests.end(second);
    expect([...requests].map((request) => request.kind)).toEqual(["read", "flush"]);
    requests.end(first);
    requests.end(third);
    expect([...requests]).toEqual([]);
  });

  it("reuses the records of requests that have ended, and nothing sticks to them", () => {
    const requests = new TrackedRequests();
    const first = requests.begin("write-zeroes", 4096, 512, true);
    first.mayUnmap = true;
    first.noFallback = true;
    requests.end(first);
    const again = requests.begin("write", 0, 1024, false);
    expect(again).toBe(first);
    expect(again).toMatchObject({ kind: "write", offsetBytes: 0, lengthBytes: 1024, endBytes: 1024 });
    expect(again).toMatchObject({ serialising: false, mayUnmap: false, noFallback: false, vector: undefined });
    expect(requests.begin("read", 0, 512, false)).not.toBe(first);
  });

  it("asserts that a request ends once", () => {
    const requests = new TrackedRequests();
    requests.begin("read", 0, 512, false);
    const stale = requests.begin("read", 0, 512, false);
    requests.end(stale);
    expect(() => requests.end(stale)).toThrow("ended twice");
    expect(requests.count).toBe(1);
  });

  it.each([
    { earlier: false, later: false, offset: 512, waits: false, why: "neither is serialising" },
    { earlier: true, later: false, offset: 512, waits: true, why: "the earlier one is serialising" },
    { earlier: false, later: true, offset: 512, waits: true, why: "the later one is serialising" },
    { earlier: true, later: true, offset: 1535, waits: true, why: "they share one byte" },
    { earlier: true, later: true, offset: 1536, waits: false, why: "the later one begins where the earlier one ends" },
    { earlier: true, later: true, offset: 0, waits: false, why: "the later one ends where the earlier one begins" },
  ])("a later request waits: $waits, as $why", ({ earlier, later, offset, waits }) => {
    const requests = new TrackedRequests();
    requests.begin("write", 512, 1024, earlier);
    expect(requests.mustWait(requests.begin("write", offset, 512, later))).toBe(waits);
  });

  it("an earlier request never waits for a later one", () => {
    const requests = new TrackedRequests();
    const first = requests.begin("write", 0, 1024, false);
    const second = requests.begin("write", 0, 1024, true);
    expect(requests.mustWait(first)).toBe(false);
    expect(requests.mustWait(second)).toBe(true);
  });

  it("a request behind a waiting serialising one waits for it, not for what it does not conflict with", async () => {
    const requests = new TrackedRequests();
    const order: string[] = [];
    const first = requests.begin("write", 0, 512, false);
    const wide = requests.begin("write", 0, 2048, true);
    const last = requests.begin("read", 1024, 512, false);
    const wideRuns = requests.wait(wide).then(() => order.push("wide"));
    const lastRuns = requests.wait(last).then(() => order.push("last"));
    await settle();
    expect(order).toEqual([]);
    requests.end(first);
    await wideRuns;
    await settle();
    expect(order).toEqual(["wide"]);
    requests.end(wide);
    await lastRuns;
    expect(order).toEqual(["wide", "last"]);
  });

  it("tells when nothing is in flight", async () => {
    const requests = new TrackedRequests();
    expect(requests.untilIdle()).toBeUndefined();
    const first = requests.begin("read", 0, 512, false);
    const second = requests.begin("read", 0, 512, false);
    let idle = false;
    const waiting = requests.untilIdle()?.then(() => {
      idle = true;
    });
    requests.end(first);
    await settle();
    expect(idle).toBe(false);
    requests.end(second);
    await waiting;
    expect(idle).toBe(true);
  });
});

interface ModelRequest {
  readonly number: number;
  readonly start: number;
  readonly end: number;
  readonly serialising: boolean;
  running: boolean;
  ended: boolean;
  readonly tracked: TrackedRequest;
}

const KINDS: readonly RequestKind[] = ["read", "write", "write-zeroes", "discard"];

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("begin" as const),
      kind: fc.constantFrom(...KINDS),
      start: fc.nat(15),
      length: fc.integer({ min: 1, max: 6 }),
      serialising: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("end" as const), which: fc.nat(20) }) },
);

describe("TrackedRequests, against a naive model", () => {
  it("a request runs as soon as, and not before, no earlier unfinished one conflicts with it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (program) => {
        const requests = new TrackedRequests();
        const model: ModelRequest[] = [];
        const unfinished = (): ModelRequest[] => model.filter((request) => !request.ended);
        const running = (): ModelRequest[] => unfinished().filter((request) => request.running);

        const check = async (): Promise<void> => {
          await settle();
          const mayRun = unfinished().filter(
            (request) => !unfinished().some((other) => other.number < request.number && conflict(other, request)),
          );
          expect(running().map(numberOf)).toEqual(mayRun.map(numberOf));
          for (const a of running())
            for (const b of running()) expect(a !== b && conflict(a, b), `${a.number} beside ${b.number}`).toBe(false);
          expect([...requests]).toEqual(unfinished().map((request) => request.tracked));
        };
        const begin = async (kind: RequestKind, start: number, length: number, serialising: boolean): Promise<void> => {
          const tracked = requests.begin(kind, start * 512, length * 512, serialising);
          const request = { start, end: start + length, serialising, running: false, ended: false, tracked };
          const entry: ModelRequest = { number: model.length, ...request };
          model.push(entry);
          if (requests.mustWait(tracked)) await requests.wait(tracked);
          entry.running = true;
        };
        const end = (which: number): void => {
          const request = running()[which % running().length];
          if (request === undefined) return;
          request.ended = true;
          requests.end(request.tracked);
        };

        const lives: Promise<void>[] = [];
        for (const action of program) {
          if (action.do === "begin") lives.push(begin(action.kind, action.start, action.length, action.serialising));
          else end(action.which);
          await check();
        }
        while (unfinished().length > 0) {
          expect(running().length, "somebody runs").toBeGreaterThan(0);
          end(0);
          await check();
        }
        await Promise.all(lives);
        expect(requests.count).toBe(0);
      }),
      { numRuns: process.env["VBLK_SOAK"] === undefined ? 1000 : 100_000 },
    );
  });
});

function numberOf(request: ModelRequest): number {
  return request.number;
}

function conflict(a: ModelRequest, b: ModelRequest): boolean {
  return (a.serialising || b.serialising) && a.start < b.end && b.start < a.end;
}

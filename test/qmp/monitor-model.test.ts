// Clients who send anything, in any pieces, pause, and leave at any time: each that stays is answered in its order, and nothing hangs.
import fc from "fast-check";
import { expect, it } from "vitest";
import { defineCommand } from "../../src/qmp/command.ts";
import { array, object, str, uint32 } from "../../src/qmp/schema/types.ts";
import { HAPPENED, settle, TestMonitor } from "./support/test-monitor.ts";

/** What a client does next. `pieces` says into how many packets its request is cut. */
interface Step {
  readonly client: number;
  readonly kind: "now" | "later" | "event" | "bad" | "stop reading" | "read" | "leave";
  readonly pieces: number;
}

const CLIENTS = 3;
const step: fc.Arbitrary<Step> = fc.record({
  client: fc.nat(CLIENTS - 1),
  kind: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom("now" as const, "later" as const, "event" as const, "bad" as const) },
    { weight: 2, arbitrary: fc.constantFrom("stop reading" as const, "read" as const) },
    { weight: 1, arbitrary: fc.constant("leave" as const) },
  ),
  pieces: fc.integer({ min: 1, max: 4 }),
});

/** A request that the reply to can be told apart by its id; what is bad has none. */
function request(kind: Step["kind"], id: number): string {
  if (kind === "bad") return "@\n";
  const command = kind === "event" ? "emit" : kind;
  const args = kind === "event" ? `{"what":"${id}"}` : `{"turns":${id % 4}}`;
  return `{"execute":"${command}","arguments":${args},"id":${id}}`;
}

function cut(text: string, pieces: number): string[] {
  const length = Math.ceil(text.length / pieces);
  return Array.from({ length: pieces }, (_, i) => text.slice(i * length, (i + 1) * length)).filter(
    (part) => part !== "",
  );
}

it("Every client who stays gets one reply for each request, in order, and every event once", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const monitor = new TestMonitor();
      let running = 0;
      const track = (name: string, body: (turns: number) => Promise<void> | void) =>
        defineCommand({
          name,
          arguments: object({ turns: uint32 }),
          returns: array(str),
          run: async ({ turns }) => {
            expect(++running).toBe(1);
            await body(turns);
            running--;
            return [];
          },
        });
      monitor.server.commands.add(
        track("now", () => {}),
        track("later", async (turns) => {
          for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
        }),
      );
      const streams = await Promise.all(Array.from({ length: CLIENTS }, () => monitor.client()));
      const asked = streams.map(() => [] as (number | "bad")[]);
      const events: string[] = [];
      monitor.server.events.listen(({ data }) => events.push((data as { what: string }).what));
      for (const [id, { client, kind, pieces }] of steps.entries()) {
        const stream = streams[client]!;
        if (kind === "leave") stream.leave();
        else if (kind === "stop reading") stream.reads = false;
        else if (kind === "read") stream.readAll();
        else {
          for (const piece of cut(request(kind, id), pieces)) stream.send(piece);
          asked[client]!.push(kind === "bad" ? "bad" : id);
        }
        if (id % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      const staying = streams.filter((stream) => !stream.isClosed);
      for (const stream of staying) stream.readAll();
      for (const stream of staying) stream.finish();
      await Promise.all(staying.map((stream) => stream.closed));
      await settle();
      for (const [index, stream] of streams.entries()) {
        const told = stream.messages.slice(2).filter((message) => !("timestamp" in message));
        const replies = told.map((message) => ("id" in message ? message["id"] : "bad"));
        if (staying.includes(stream)) expect(replies).toEqual(asked[index]);
        else expect(asked[index]!.slice(0, replies.length)).toEqual(replies);
      }
      // No client hears events in another order than they happened, and none twice.
      for (const stream of streams) {
        const heard = stream.messages
          .filter((message) => message["event"] === HAPPENED.name)
          .map((message) => (message["data"] as { what: string }).what);
        expect(events.filter((what) => heard.includes(what))).toEqual(heard);
      }
    }),
    { numRuns: process.env["VBLK_SOAK"] === undefined ? 200 : 20_000 },
  );
});

// The same inputs to a real QEMU's monitor and to ours: the same bytes come back.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { afterEach, expect, it } from "vitest";
import { defineCommand } from "../../src/qmp/command.ts";
import { generalCommands } from "../../src/qmp/commands/general.ts";
import { QmpServer } from "../../src/qmp/qmp-server.ts";
import { ManualClock } from "../guest/support/manual-clock.ts";
import { describeWithTools } from "../support/tools.ts";
import { JSON_INPUTS } from "./support/json-inputs.ts";
import { MemoryStream } from "./support/memory-stream.ts";
import { NEGOTIATION, ODD_REQUESTS } from "./support/odd-requests.ts";
import { SAMPLE_ARGUMENTS } from "./support/sample-types.ts";
import { WRONG_ARGUMENTS } from "./support/wrong-arguments.ts";

/** A monitor to talk to: sends Latin-1 text and gathers lines. */
interface Monitor {
  send(text: string): void;
  /** Resolves with the next line, without its end. */
  line(): Promise<string>;
}

const running: ChildProcessByStdio<Writable, Readable, Readable>[] = [];
afterEach(() => {
  for (const qemu of running.splice(0)) qemu.kill();
});

function startQemu(): Monitor {
  const nodes = ["n0", "n1"].flatMap((name) => ["-blockdev", `null-co,node-name=${name},size=1048576`]);
  const qemu = spawn("qemu-system-aarch64", ["-M", "none", "-display", "none", "-qmp", "stdio", ...nodes], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  running.push(qemu);
  return gather((text) => qemu.stdin.write(text, "latin1"), qemu.stdout.iterator() as AsyncIterator<Buffer>);
}

function gather(send: (text: string) => void, chunks: AsyncIterator<Buffer>): Monitor {
  let text = "";
  return {
    send,
    async line() {
      for (;;) {
        const end = text.indexOf("\r\n");
        if (end !== -1) {
          const line = text.slice(0, end);
          text = text.slice(end + 2);
          return line;
        }
        const { value, done } = await chunks.next();
        if (done === true) throw new Error(`QEMU ended after ${text}`);
        text += value.toString("latin1");
      }
    },
  };
}

function startOurs(): Monitor {
  const server = new QmpServer({ clock: new ManualClock(), wallClock: { nowMs: () => 0 }, version: "0" });
  server.commands.add(
    ...generalCommands(server, { name: undefined, quit: () => {} }),
    ...Object.entries(SAMPLE_ARGUMENTS).map(([name, type]) => defineCommand({ name, arguments: type, run: () => {} })),
  );
  const stream = new MemoryStream();
  server.serve(stream);
  let taken = 0;
  return {
    send: (text) => stream.send(text),
    async line() {
      await stream.untilTrue(() => stream.lines.length > taken);
      return stream.lines[taken++]!;
    },
  };
}

/** What comes back for `input`, up to the answer to a request behind it that both understand. */
async function answersTo(monitor: Monitor, input: string): Promise<string[]> {
  monitor.send(`${input}\n{"execute":"no-more"}`);
  const lines: string[] = [];
  for (let line = await monitor.line(); !line.includes("The command no-more "); line = await monitor.line())
    lines.push(line);
  return lines;
}

async function negotiate(monitor: Monitor): Promise<void> {
  await monitor.line();
  monitor.send('{"execute":"qmp_capabilities"}');
  await monitor.line();
}

describeWithTools(["qemu-system-aarch64"], "The monitor beside QEMU", () => {
  it("answers every kind of request in the same bytes", async () => {
    const [theirs, ours] = [startQemu(), startOurs()];
    await Promise.all([negotiate(theirs), negotiate(ours)]);
    const inputs = [
      ...ODD_REQUESTS,
      ...JSON_INPUTS.map(([input]) => input),
      ...WRONG_ARGUMENTS.map(([command, args]) => `{"execute":"${command}","arguments":${args},"id":"a"}`),
    ];
    for (const input of inputs)
      expect(await answersTo(ours, input), JSON.stringify(input)).toEqual(await answersTo(theirs, input));
  });

  it("negotiates in the same bytes", async () => {
    const [theirs, ours] = [startQemu(), startOurs()];
    expect((await ours.line()).replace(/"version": .*?"}/, "")).toBe(
      (await theirs.line()).replace(/"version": .*?"}/, ""),
    );
    for (const request of NEGOTIATION) {
      theirs.send(request);
      ours.send(request);
      expect(await ours.line(), request).toBe(await theirs.line());
    }
  });

  it("answers the same whatever pieces a request comes in", async () => {
    const [theirs, ours] = [startQemu(), startOurs()];
    await Promise.all([negotiate(theirs), negotiate(ours)]);
    const text = '{"execute":"query-name","id":"\xc3\xa9\\u00e9"}@\n{"execute":"nope","id":1.50}{"a":1]}{"id":-12e3}';
    for (const byte of text) {
      theirs.send(byte);
      ours.send(byte);
    }
    for (let i = 0; i < 5; i++) expect(await ours.line()).toBe(await theirs.line());
  });
});

// A client of the monitor: what it is told, in which order, and what becomes of one that does not play along.
import { describe, expect, it } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import { subscribeTrace } from "../../src/base/trace.ts";
import type { MemoryStream } from "./support/memory-stream.ts";
import { HAPPENED, settle, TestMonitor } from "./support/test-monitor.ts";

/** What came after the first `skip` lines, with the lines' ends gone. */
async function linesAfter(stream: MemoryStream, skip: number, count: number): Promise<string[]> {
  await stream.until(skip + count);
  return stream.lines.slice(skip);
}

const error = (desc: string, errorClass = "GenericError") => `{"error": {"class": "${errorClass}", "desc": "${desc}"}}`;

describe("MonitorSession", () => {
  it("greets, byte for byte", () => {
    const stream = new TestMonitor().connect();
    expect(stream.text).toBe(
      '{"QMP": {"version": {"qemu": {"micro": 2, "minor": 1, "major": 10}, "package": "virtio-blk 1.2.3"}, "capabilities": ["oob"]}}\r\n',
    );
  });

  it("runs nothing before capabilities have been negotiated, and negotiates once", async () => {
    const stream = new TestMonitor().connect();
    stream.send(
      '{"execute":"nope","id":1}{"execute":"echo"}{"execute":"nope","arguments":[]}{"execute":"nope","foo":1}' +
        '{"execute":"qmp_capabilities","arguments":{"enable":["zz"]}}{"execute":"qmp_capabilities","arguments":{"x":1}}' +
        '{"execute":"echo"}{"execute":"qmp_capabilities","arguments":{"enable":[]},"id":2}{"execute":"echo"}' +
        '{"execute":"qmp_capabilities"}{"execute":"qmp_capabilities","arguments":{"enable":"oob"}}',
    );
    const expecting = error("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound");
    expect(await linesAfter(stream, 1, 11)).toEqual([
      `{"id": 1, ${expecting.slice(1)}`,
      expecting,
      error("QMP input member 'arguments' must be an object"),
      error("QMP input member 'foo' is unexpected"),
      error("Parameter 'null' does not accept value 'zz'"),
      error("Parameter 'x' is unexpected"),
      expecting,
      '{"return": {}, "id": 2}',
      '{"return": {}}',
      error("Capabilities negotiation is already complete, command ignored", "CommandNotFound"),
      error("Invalid parameter type for 'enable', expected: array"),
    ]);
  });

  it("gives the id back, last in results and first in errors", async () => {
    const stream = await new TestMonitor().client();
    const ids = ["7", "null", '"x"', "[]", "{}", "1.50", "18446744073709551615", '{"a": [{"b": null}]}', "false"];
    stream.send(ids.map((id) => `{"id":${id},"execute":"echo"}{"id":${id}}`).join(""));
    const lacks = '"error": {"class": "GenericError", "desc": "QMP input lacks member \'execute\'"}}';
    expect(await linesAfter(stream, 2, 18)).toEqual(
      ids.flatMap((id) => {
        const shown = id.replace("1.50", "1.5");
        return [`{"return": {}, "id": ${shown}}`, `{"id": ${shown}, ${lacks}`];
      }),
    );
  });

  it("answers a long id", async () => {
    const stream = await new TestMonitor().client();
    const id = "x".repeat(70_000);
    stream.send(`{"execute":"echo","id":"${id}"}`);
    expect(await linesAfter(stream, 2, 1)).toEqual([`{"return": {}, "id": "${id}"}`]);
  });

  it("gives a BlockError to the client as a generic error, and a QmpError with its class", async () => {
    const stream = await new TestMonitor().client();
    stream.send('{"execute":"fail","arguments":{"how":"block"}}{"execute":"fail","arguments":{"how":"device"},"id":1}');
    expect(await linesAfter(stream, 2, 2)).toEqual([
      error("Could not write: No space left on device"),
      `{"id": 1, ${error("Block job 'x' not found", "DeviceNotActive").slice(1)}`,
    ]);
  });

  it("answers requests and what is none in their order, each when the one before is done", async () => {
    const monitor = new TestMonitor();
    const stream = await monitor.client();
    stream.send(
      '{"execute":"wait","arguments":{"tag":"a"},"id":1}@\n{"execute":"echo","id":2}[]{"execute":"nope","id":3}tru {"execute":"log","arguments":{"tag":"b"}}',
    );
    await settle();
    expect(stream.lines.length).toBe(2);
    expect(monitor.log).toEqual(["a begins"]);
    monitor.release();
    expect(await linesAfter(stream, 2, 7)).toEqual([
      '{"return": ["a"], "id": 1}',
      error("JSON parse error, stray '@'"),
      '{"return": {}, "id": 2}',
      error("QMP input must be a JSON object"),
      `{"id": 3, ${error("The command nope has not been found", "CommandNotFound").slice(1)}`,
      error("JSON parse error, invalid keyword 'tru'"),
      '{"return": {}}',
    ]);
    expect(monitor.log).toEqual(["a begins", "a ends", "b"]);
  });

  it("runs one command at a time for all clients, and lets each have its turn", async () => {
    const monitor = new TestMonitor();
    const [first, second] = [await monitor.client(), await monitor.client()];
    first.send('{"execute":"wait","arguments":{"tag":"first"}}');
    for (const tag of ["1", "3"]) first.send(`{"execute":"log","arguments":{"tag":"${tag}"}}`);
    for (const tag of ["2", "4"]) second.send(`{"execute":"log","arguments":{"tag":"${tag}"}}`);
    await settle();
    expect(monitor.log).toEqual(["first begins"]);
    monitor.release();
    await first.until(5);
    await second.until(4);
    expect(monitor.log.slice(0, 2)).toEqual(["first begins", "first ends"]);
    // The second has waited longest, and then they take turns.
    expect(monitor.log.slice(2)).toEqual(["2", "1", "4", "3"]);
  });

  it("reads no more while eight requests wait", async () => {
    const monitor = new TestMonitor();
    const stream = await monitor.client();
    stream.send('{"execute":"wait","arguments":{"tag":"a"}}');
    await settle();
    for (let i = 0; i < 7; i++) stream.send("{}");
    expect(stream.paused).toBe(false);
    stream.send("{}{}{}{}");
    expect(stream.paused).toBe(true);
    stream.send('{"execute":"echo","id":"end"}');
    monitor.release();
    await stream.until(2 + 1 + 11 + 1);
    expect(stream.paused).toBe(false);
    expect(stream.messages.at(-1)).toEqual({ return: {}, id: "end" });
  });

  it("lets others have their turn during a long row of commands", async () => {
    const monitor = new TestMonitor();
    const stream = await monitor.client();
    const before = monitor.clock.yields;
    stream.send('{"execute":"echo"}'.repeat(1000));
    await stream.until(1002);
    expect(monitor.clock.yields - before).toBeGreaterThanOrEqual(15);
  });

  it("knows no command that may overtake others", async () => {
    const stream = new TestMonitor().connect();
    stream.send(
      '{"exec-oob":"echo","id":1}{"execute":"qmp_capabilities","arguments":{"enable":["oob","oob"]}}{"exec-oob":"echo","id":2}' +
        '{"exec-oob":"nope"}{"exec-oob":1,"arguments":1}{"execute":"a","exec-oob":"b"}{"exec-oob":"echo","arguments":1}',
    );
    expect(await linesAfter(stream, 1, 7)).toEqual([
      `{"id": 1, ${error("QMP input member 'exec-oob' is unexpected").slice(1)}`,
      '{"return": {}}',
      `{"id": 2, ${error("The command echo does not support OOB").slice(1)}`,
      error("The command nope has not been found", "CommandNotFound"),
      error("QMP input member 'exec-oob' must be a string"),
      error("QMP input member 'execute' clashes with 'exec-oob'"),
      error("QMP input member 'arguments' must be an object"),
    ]);
  });

  it("runs only what needs no machine until there is one", async () => {
    const monitor = new TestMonitor();
    monitor.preconfig = true;
    const stream = await monitor.client();
    stream.send('{"execute":"echo","arguments":{"zz":1}}{"execute":"query-name"}');
    expect(await linesAfter(stream, 2, 2)).toEqual([
      error("The command 'echo' is permitted only after machine initialization has completed"),
      '{"return": {}}',
    ]);
    monitor.preconfig = false;
    stream.send('{"execute":"echo"}');
    expect(await linesAfter(stream, 4, 1)).toEqual(['{"return": {}}']);
  });

  it("reports requests and replies to trace listeners", async () => {
    const stream = await new TestMonitor().client();
    const traced: unknown[] = [];
    const stops = ["handle_qmp_command", "monitor_qmp_respond"].map((name) =>
      subscribeTrace(name, (name, fields) => traced.push([name, fields])),
    );
    stream.send("{'execute':'echo','id':1}@\n");
    await stream.until(4);
    for (const stop of stops) stop();
    expect(traced).toEqual([
      ["handle_qmp_command", { mon: "memory", req: '{"execute": "echo", "id": 1}' }],
      ["monitor_qmp_respond", { mon: "memory", resp: '{"return": {}, "id": 1}' }],
      ["monitor_qmp_respond", { mon: "memory", resp: error("JSON parse error, stray '@'") }],
    ]);
  });

  it("spreads messages over lines where that is asked for", async () => {
    const stream = new TestMonitor().connect({ pretty: true });
    stream.send('{"execute":"qmp_capabilities"}');
    await stream.untilTrue(() => stream.text.includes("return"));
    expect(stream.text.endsWith('"oob"\r\n        ]\r\n    }\r\n}\r\n{\r\n    "return": {\r\n    }\r\n}\r\n')).toBe(
      true,
    );
  });
});

describe("MonitorSession's events", () => {
  it("precede the reply of the command that caused them, and reach every client that has negotiated", async () => {
    const monitor = new TestMonitor();
    const [first, second, silent] = [await monitor.client(), await monitor.client(), monitor.connect()];
    first.send('{"execute":"emit","arguments":{"what":"x"},"id":1}');
    const event =
      '{"timestamp": {"seconds": 1700000000, "microseconds": 123500}, "event": "HAPPENED", "data": {"what": "x"}}';
    expect(await linesAfter(first, 2, 2)).toEqual([event, '{"return": {}, "id": 1}']);
    expect(second.lines.slice(2)).toEqual([event]);
    expect(silent.lines.length).toBe(1);
  });

  it("come between replies, while a command runs", async () => {
    const monitor = new TestMonitor();
    const stream = await monitor.client();
    stream.send('{"execute":"wait","arguments":{"tag":"a"}}');
    await settle();
    monitor.server.events.emit(HAPPENED, { what: "meanwhile" });
    monitor.release();
    const messages = (await stream.until(4)).slice(2);
    expect(messages.map((message) => message["event"] ?? "reply")).toEqual(["HAPPENED", "reply"]);
  });
});

describe("A client who does not read", () => {
  it("has no more commands run once a mebibyte waits for it, and all of them when it reads", async () => {
    const monitor = new TestMonitor();
    const stream = await monitor.client();
    stream.reads = false;
    const value = "v".repeat(300_000);
    for (let i = 0; i < 12; i++) stream.send(`{"execute":"echo","arguments":{"value":"${value}"},"id":${i}}`);
    stream.send('{"execute":"log","arguments":{"tag":"last"}}');
    await settle();
    expect(monitor.log).toEqual([]);
    expect(stream.paused).toBe(true);
    // Others are served all the same.
    const other = await monitor.client();
    other.send('{"execute":"echo"}');
    await other.until(3);
    stream.readAll();
    const messages = await stream.until(2 + 13);
    expect(messages.slice(2, -1).map((message) => message["id"])).toEqual(Array.from({ length: 12 }, (_, i) => i));
    expect(monitor.log).toEqual(["last"]);
  });

  it("gets events in as few writes as possible when it reads again", async () => {
    const monitor = new TestMonitor();
    const stream = await monitor.client();
    stream.reads = false;
    const before = stream.writes;
    for (let i = 0; i < 1000; i++) monitor.server.events.emit(HAPPENED, { what: String(i) });
    stream.readAll();
    const messages = await stream.until(1002);
    expect(messages.slice(2).map((message) => (message["data"] as { what: string }).what)).toEqual(
      Array.from({ length: 1000 }, (_, i) => String(i)),
    );
    expect(stream.writes - before).toBe(2);
  });

  it("is cut off when 64 MiB of events wait for it", async () => {
    const monitor = new TestMonitor();
    const [stream, other] = [await monitor.client(), await monitor.client()];
    const traced: string[] = [];
    const stop = subscribeTrace("monitor_qmp_client_too_slow", (name) => traced.push(name));
    stream.reads = false;
    const what = "w".repeat(1 << 20);
    for (let i = 0; i < 63; i++) monitor.server.events.emit(HAPPENED, { what });
    expect(stream.isClosed).toBe(false);
    monitor.server.events.emit(HAPPENED, { what });
    expect(stream.isClosed).toBe(true);
    expect(traced).toEqual(["monitor_qmp_client_too_slow"]);
    stop();
    other.send('{"execute":"echo"}');
    await other.untilTrue(() => other.text.endsWith('{"return": {}}\r\n'));
  });
});

describe("A client who leaves", () => {
  it("is still answered all that it has asked, if it only sends no more", async () => {
    const monitor = new TestMonitor();
    const stream = await monitor.client();
    stream.send('{"execute":"wait","arguments":{"tag":"a"}}');
    await settle();
    stream.send('{"execute":"echo","id":1}'.repeat(20));
    stream.send('{"execute":"half');
    stream.finish();
    await settle();
    expect(stream.ended).toBe(false);
    monitor.release();
    await stream.closed;
    expect(stream.messages.length).toBe(2 + 21);
  });

  it("ends at once if it has asked nothing", async () => {
    const stream = await new TestMonitor().client();
    stream.finish();
    await stream.closed;
    expect(stream.lines.length).toBe(2);
  });

  it("takes with it what it has asked, but for the command that runs", async () => {
    const monitor = new TestMonitor();
    const [stream, other] = [await monitor.client(), await monitor.client()];
    stream.send('{"execute":"wait","arguments":{"tag":"a"}}');
    stream.send('{"execute":"log","arguments":{"tag":"never"}}');
    await settle();
    stream.leave(new BlockError("ECONNRESET"));
    other.send('{"execute":"log","arguments":{"tag":"other"}}');
    await settle();
    monitor.release();
    await other.until(3);
    await settle();
    expect(monitor.log).toEqual(["a begins", "a ends", "other"]);
    monitor.server.events.emit(HAPPENED, { what: "after" });
    expect(stream.lines.length).toBe(2);
  });

  it("does not have a command run that had not begun", async () => {
    const monitor = new TestMonitor();
    const [first, second] = [await monitor.client(), await monitor.client()];
    first.send('{"execute":"wait","arguments":{"tag":"a"}}');
    second.send('{"execute":"log","arguments":{"tag":"never"}}');
    await settle();
    second.leave();
    monitor.release();
    await first.until(3);
    await settle();
    expect(monitor.log).toEqual(["a begins", "a ends"]);
  });
});

describe("quit", () => {
  it("is answered behind its event, and nothing after it is", async () => {
    const monitor = new TestMonitor();
    const [stream, other] = [await monitor.client(), await monitor.client()];
    stream.send('{"execute":"quit","id":1}{"execute":"log","arguments":{"tag":"never"}}');
    other.send('{"execute":"log","arguments":{"tag":"never"}}');
    await Promise.all([stream.closed, other.closed]);
    expect(stream.messages.slice(2).map((message) => message["event"] ?? message["id"])).toEqual(["HAPPENED", 1]);
    expect(other.messages.slice(2).map((message) => message["event"])).toEqual(["HAPPENED"]);
    expect(monitor.log).toEqual([]);
    expect(monitor.quits).toBe(1);
    await expect(monitor.server.execute("echo")).rejects.toThrow("The monitor has been shut down");
  });

  it("waits for the command that runs, and for clients who read slowly", async () => {
    const monitor = new TestMonitor();
    const [stream, slow] = [await monitor.client(), await monitor.client()];
    slow.reads = false;
    monitor.server.events.emit(HAPPENED, { what: "unread" });
    stream.send('{"execute":"wait","arguments":{"tag":"a"},"id":1}');
    await settle();
    let down = false;
    const shutdown = monitor.server.shutdown().then(() => {
      down = true;
    });
    await settle();
    expect(stream.isClosed).toBe(false);
    monitor.release();
    await stream.closed;
    expect(stream.messages.at(-1)).toEqual({ return: ["a"], id: 1 });
    await settle();
    expect(down).toBe(false);
    slow.readAll();
    await shutdown;
    expect(slow.messages.at(-1)?.["event"]).toBe("HAPPENED");
  });
});

// The monitor over real sockets, with clients as bare as can be.
import { afterEach, describe, expect, it } from "vitest";
import { type Chardev, type OpenableAddress, openChardev } from "../../src/transport/chardev.ts";
import { useTemporaryFolder } from "../block/drivers/file/support/temporary-folder.ts";
import { RawClient } from "../transport/support/raw-client.ts";
import { HAPPENED, settle, TestMonitor } from "./support/test-monitor.ts";

const path = useTemporaryFolder();
const opened: Chardev[] = [];
afterEach(async () => {
  for (const chardev of opened.splice(0)) await chardev.close();
});

const server = { server: true, wait: false };
const unix = (name: string): OpenableAddress => ({ backend: "unix", path: path(name), socket: server });

async function open(monitor: TestMonitor, address: OpenableAddress): Promise<Chardev> {
  const chardev = await openChardev(address, (stream) => monitor.server.serve(stream));
  opened.push(chardev);
  return chardev;
}

const count = (text: string) => text.split("\r\n").length - 1;
const lines = (text: string) => text.split("\r\n").slice(0, -1);

/** A client that has negotiated. */
async function connect(name: string): Promise<RawClient> {
  const client = await RawClient.connect({ path: path(name) });
  client.send('{"execute":"qmp_capabilities"}');
  await client.until((text) => count(text) === 2);
  return client;
}

describe("A monitor on a Unix socket", () => {
  it("holds a session with commands one behind the other and no newline between them", async () => {
    await open(new TestMonitor(), unix("qmp"));
    const client = await connect("qmp");
    client.send(Array.from({ length: 500 }, (_, i) => `{"execute":"echo","id":${i}}`).join(""));
    const text = await client.until((text) => count(text) === 502);
    expect(lines(text).slice(2)).toEqual(Array.from({ length: 500 }, (_, i) => `{"return": {}, "id": ${i}}`));
    client.leave();
  });

  it("understands a command that comes byte by byte", async () => {
    await open(new TestMonitor(), unix("qmp"));
    const client = await connect("qmp");
    client.socket.setNoDelay(true);
    for (const byte of '{"execute":"echo","arguments":{"value":"\u00e9"}}') {
      client.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(lines(await client.until((text) => count(text) === 3))[2]).toBe('{"return": {"value": "\\u00E9"}}');
    client.leave();
  });

  it("greets the next client when the first has left, and negotiates anew", async () => {
    const monitor = new TestMonitor();
    await open(monitor, unix("qmp"));
    const first = await connect("qmp");
    const second = await RawClient.connect({ path: path("qmp") });
    second.send('{"execute":"echo"}');
    first.send('{"execute":"echo"}');
    await first.until((text) => count(text) === 3);
    expect(second.text).toBe("");
    first.leave();
    const text = await second.until((text) => count(text) === 2);
    expect(lines(text)[0]).toMatch(/^\{"QMP": /);
    expect(lines(text)[1]).toContain("Expecting capabilities negotiation with 'qmp_capabilities'");
    second.leave();
  });

  it("answers a client who has sent all and ended, and then closes", async () => {
    await open(new TestMonitor(), unix("qmp"));
    const client = await RawClient.connect({ path: path("qmp") });
    client.send(`{"execute":"qmp_capabilities"}${'{"execute":"echo"}'.repeat(40)}`);
    client.socket.end();
    expect(count(await client.untilEnd())).toBe(42);
  });

  it("tells events to the clients of all its sockets, in the same order", async () => {
    const monitor = new TestMonitor();
    await open(monitor, unix("one"));
    await open(monitor, unix("two"));
    const [one, two] = [await connect("one"), await connect("two")];
    one.send('{"execute":"emit","arguments":{"what":"1"}}');
    await one.until((text) => count(text) === 4);
    two.send('{"execute":"emit","arguments":{"what":"2"}}');
    const kinds = (text: string) => lines(text).map((line) => /"what": "(\d)"/.exec(line)?.[1] ?? "reply");
    expect(kinds(await one.until((text) => count(text) === 5)).slice(2)).toEqual(["1", "reply", "2"]);
    expect(kinds(await two.until((text) => count(text) === 5)).slice(2)).toEqual(["1", "2", "reply"]);
    one.leave();
    two.leave();
  });

  it("goes on when a client disappears in the middle of a command", async () => {
    const monitor = new TestMonitor();
    await open(monitor, unix("qmp"));
    const client = await connect("qmp");
    client.send('{"execute":"wait","arguments":{"tag":"a"}}{"execute":"log","arguments":{"tag":"b"}}');
    while (monitor.waiting === 0) await settle();
    client.leave();
    await settle();
    monitor.release();
    const next = await connect("qmp");
    next.send('{"execute":"echo","id":"here"}');
    expect(lines(await next.until((text) => count(text) === 3))[2]).toBe('{"return": {}, "id": "here"}');
    next.leave();
  });

  it("does not let a client who reads nothing hold up others or fill memory", async () => {
    const monitor = new TestMonitor();
    await open(monitor, unix("slow"));
    await open(monitor, unix("quick"));
    const slow = await connect("slow");
    slow.socket.pause();
    const value = "v".repeat(1 << 16);
    for (let i = 0; i < 100; i++) slow.send(`{"execute":"echo","arguments":{"value":"${value}"}}`);
    await settle();
    const quick = await connect("quick");
    for (let i = 0; i < 50; i++) quick.send('{"execute":"echo"}');
    await quick.until((text) => count(text) === 52);
    // What we have not read from the slow one fills its own side, not ours.
    expect(slow.socket.writableLength).toBeGreaterThan(1 << 20);
    slow.socket.resume();
    await slow.until((text) => count(text) === 102);
    quick.leave();
    slow.leave();
  });

  it("ends all sessions with quit, the reply last", async () => {
    const monitor = new TestMonitor();
    await open(monitor, unix("qmp"));
    const client = await connect("qmp");
    client.send('{"execute":"quit","id":1}{"execute":"log","arguments":{"tag":"never"}}');
    const text = await client.untilEnd();
    expect(
      lines(text)
        .slice(2)
        .map((line) => (line.includes(HAPPENED.name) ? "event" : line)),
    ).toEqual(["event", '{"return": {}, "id": 1}']);
    expect(monitor.log).toEqual([]);
  });

  it("survives any bytes", async () => {
    const monitor = new TestMonitor();
    await open(monitor, unix("qmp"));
    const client = await connect("qmp");
    const noise = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 7919 + ((i * i) >> 3)) & 0xff);
    client.send(noise);
    client.send('\n]]]]}}}}"\n{"execute":"echo","id":"after"}');
    await client.until((text) => text.includes('"after"'));
    client.leave();
  });
});

it("A monitor on a loopback port serves as one on a Unix socket", async () => {
  const chardev = await open(new TestMonitor(), { backend: "tcp", host: "", port: "0", socket: server });
  const port = Number(/:(\d+),/.exec(chardev.filename)?.[1]);
  const client = await RawClient.connect({ host: "127.0.0.1", port });
  client.send('{"execute":"qmp_capabilities"}{"execute":"query-version","id":1}');
  expect(lines(await client.until((text) => count(text) === 3))[2]).toBe(
    '{"return": {"qemu": {"micro": 2, "minor": 1, "major": 10}, "package": "virtio-blk 1.2.3"}, "id": 1}',
  );
  client.leave();
});

// One stream over a socket pair: order, backpressure, the two ways to end, and errors.
import { createServer, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { NodeByteStream } from "../../src/transport/node-byte-stream.ts";
import { useTemporaryFolder } from "../block/drivers/file/support/temporary-folder.ts";
import { RawClient } from "./support/raw-client.ts";
import { RecordingListener } from "./support/recording-listener.ts";

const path = useTemporaryFolder();

async function connected(): Promise<{ stream: NodeByteStream; peer: RawClient }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const socket = new Promise<Socket>((resolve) => server.once("connection", resolve));
  await new Promise<void>((resolve) => server.listen(path("socket"), resolve));
  const peer = await RawClient.connect({ path: path("socket") });
  const readable = await socket;
  server.close();
  return { stream: new NodeByteStream({ name: "test", readable, writable: readable }), peer };
}

const bytes = (text: string) => new TextEncoder().encode(text);

describe("NodeByteStream", () => {
  it("holds back what comes before it has a listener", async () => {
    const { stream, peer } = await connected();
    peer.send("early ");
    await new Promise((resolve) => setImmediate(resolve));
    const listener = new RecordingListener();
    stream.attach(listener);
    peer.send("and late");
    await listener.until(() => listener.text === "early and late");
    stream.close();
  });

  it("brings nothing while it is paused, and all of it afterwards", async () => {
    const { stream, peer } = await connected();
    const listener = new RecordingListener();
    stream.attach(listener);
    stream.pause();
    peer.send("x".repeat(1 << 20));
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(listener.bytes.length).toBe(0);
    stream.resume();
    await listener.until(() => listener.bytes.length === 1 << 20);
    stream.close();
  });

  it("asks to wait when the peer does not read, and says when it has read", async () => {
    const { stream, peer } = await connected();
    const listener = new RecordingListener();
    stream.attach(listener);
    peer.socket.pause();
    const piece = new Uint8Array(1 << 16);
    let written = 0;
    while (stream.write(piece)) {
      written += piece.length;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(stream.backlogBytes).toBeGreaterThan(0);
    expect(listener.drains).toBe(0);
    peer.socket.resume();
    await listener.until(() => listener.drains === 1);
    expect(stream.backlogBytes).toBe(0);
    await peer.until((text) => text.length === written + piece.length);
    stream.close();
  });

  it("still writes to a peer who has ended, and closes when both have", async () => {
    const { stream, peer } = await connected();
    const listener = new RecordingListener();
    stream.attach(listener);
    peer.send("last words");
    peer.socket.end();
    await listener.until(() => listener.ends === 1);
    expect(listener.text).toBe("last words");
    stream.write(bytes("answer"));
    await stream.end();
    stream.write(bytes("too late"));
    expect(await peer.untilEnd()).toBe("answer");
    await stream.closed;
    expect(listener.closes).toEqual([undefined]);
  });

  it("has ended when the system has taken all, not before", async () => {
    const { stream, peer } = await connected();
    stream.attach(new RecordingListener());
    peer.socket.pause();
    stream.write(new Uint8Array(1 << 22));
    let ended = false;
    const end = stream.end().then(() => {
      ended = true;
    });
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(ended).toBe(false);
    peer.socket.resume();
    await end;
    expect((await peer.untilEnd()).length).toBe(1 << 22);
    stream.close();
  });

  it("drops what a peer sends after our end", async () => {
    const { stream, peer } = await connected();
    const listener = new RecordingListener();
    stream.attach(listener);
    await stream.end();
    await peer.untilEnd();
    peer.send("nobody hears");
    peer.socket.end();
    await stream.closed;
    expect(listener).toMatchObject({ text: "", ends: 0, closes: [undefined] });
  });

  it("closes at once, and tells its listener once", async () => {
    const { stream, peer } = await connected();
    const listener = new RecordingListener();
    stream.attach(listener);
    stream.close();
    expect(listener.closes).toEqual([undefined]);
    stream.close();
    expect(stream.write(bytes("x"))).toBe(true);
    await stream.end();
    await stream.closed;
    await peer.untilEnd();
    expect(listener.closes.length).toBe(1);
  });

  it("says what cut it off", async () => {
    const { stream, peer } = await connected();
    const listener = new RecordingListener();
    stream.attach(listener);
    peer.leave();
    await listener.until(() => listener.ends === 1);
    stream.write(bytes("x".repeat(100)));
    await listener.until(() => listener.closes.length === 1);
    expect(listener.closes[0]?.errno).toBe("EPIPE");
  });

  it("tells a listener who comes after the end of it", async () => {
    const ends = new PassThrough();
    const stream = new NodeByteStream({ name: "test", readable: ends, writable: ends });
    ends.destroy(Object.assign(new Error("gone"), { code: "ECONNRESET" }));
    await stream.closed;
    const listener = new RecordingListener();
    stream.attach(listener);
    await listener.until(() => listener.closes.length === 1);
    expect(listener.closes[0]?.errno).toBe("ECONNRESET");
  });

  it("goes on writing when its input has ended, where that is asked for", async () => {
    const input = new PassThrough();
    const output = new PassThrough();
    const stream = new NodeByteStream({ name: "stdio", readable: input, writable: output, ignoreEnd: true });
    const listener = new RecordingListener();
    stream.attach(listener);
    input.end("all there is");
    await listener.until(() => listener.text === "all there is");
    await new Promise((resolve) => input.once("close", resolve));
    stream.write(bytes("event"));
    expect(String(await new Promise((resolve) => output.once("data", resolve)))).toBe("event");
    expect(listener).toMatchObject({ ends: 0, closes: [] });
    stream.close();
  });
});

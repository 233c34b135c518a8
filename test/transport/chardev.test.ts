// Character devices end to end: sockets that serve one peer after the other, clients, and what goes wrong.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { ByteStream } from "../../src/transport/byte-stream.ts";
import { type Chardev, openChardev } from "../../src/transport/chardev.ts";
import { useTemporaryFolder } from "../block/drivers/file/support/temporary-folder.ts";
import { RawClient } from "./support/raw-client.ts";
import { RecordingListener } from "./support/recording-listener.ts";

const path = useTemporaryFolder();
const opened: Chardev[] = [];
afterEach(async () => {
  for (const chardev of opened.splice(0)) await chardev.close();
});

/** The peers that a device has served, in order. */
class Peers {
  readonly served: { stream: ByteStream; listener: RecordingListener }[] = [];
  #waiting: (() => void)[] = [];

  readonly serve = (stream: ByteStream): void => {
    const listener = new RecordingListener(() => void stream.end());
    stream.attach(listener);
    stream.write(new TextEncoder().encode(`hello ${this.served.length}\n`));
    this.served.push({ stream, listener });
    for (const resolve of this.#waiting.splice(0)) resolve();
  };

  async peer(index: number): Promise<{ stream: ByteStream; listener: RecordingListener }> {
    while (this.served.length <= index) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.served[index]!;
  }
}

async function open(...[address, serve]: Parameters<typeof openChardev>): Promise<Chardev> {
  const chardev = await openChardev(address, serve);
  opened.push(chardev);
  return chardev;
}

const server = { server: true, wait: false };
const client = { server: false, wait: undefined };

describe("a listening Unix socket", () => {
  it("serves one client, then the next, who has waited unread", async () => {
    const socket = path("qmp");
    const peers = new Peers();
    const chardev = await open({ backend: "unix", path: socket, socket: server }, peers.serve);
    expect(chardev.filename).toBe(`disconnected:unix:${socket},server=on`);

    const first = await RawClient.connect({ path: socket });
    await first.until((text) => text === "hello 0\n");
    expect(chardev.filename).toBe(`unix:${socket},server=on`);
    const second = await RawClient.connect({ path: socket });
    second.send("early");
    first.send("one");
    const { listener } = await peers.peer(0);
    await listener.until(() => listener.text === "one");
    expect(peers.served.length).toBe(1);
    expect(second.text).toBe("");

    first.leave();
    await second.until((text) => text === "hello 1\n");
    expect(listener.closes).toEqual([undefined]);
    const next = await peers.peer(1);
    await next.listener.until(() => next.listener.text === "early");
    second.leave();
    await next.stream.closed;
    expect(chardev.filename).toBe(`disconnected:unix:${socket},server=on`);
  });

  it("passes over a client that has gone while it waited", async () => {
    const socket = path("qmp");
    const peers = new Peers();
    await open({ backend: "unix", path: socket, socket: server }, peers.serve);
    const first = await RawClient.connect({ path: socket });
    await first.until((text) => text === "hello 0\n");
    const gone = await RawClient.connect({ path: socket });
    gone.leave();
    const last = await RawClient.connect({ path: socket });
    first.leave();
    await last.until((text) => text.startsWith("hello"));
  });

  it("turns clients away when too many wait", async () => {
    const socket = path("qmp");
    const peers = new Peers();
    await open({ backend: "unix", path: socket, socket: server }, peers.serve);
    const all: RawClient[] = [];
    for (let i = 0; i < 18; i++) all.push(await RawClient.connect({ path: socket }));
    await all[0]!.until((text) => text === "hello 0\n");
    await all[17]!.untilEnd();
    expect(all.slice(1, 17).filter((client) => client.ended)).toEqual([]);
    for (const client of all) client.leave();
  });

  it("takes the place of a socket that a dead process left, and takes its own away when it closes", async () => {
    const socket = path("qmp");
    const abandoned: Server = createServer();
    await new Promise<void>((resolve) => abandoned.listen(socket, resolve));
    const chardev = await openChardev({ backend: "unix", path: socket, socket: server }, new Peers().serve);
    await (await RawClient.connect({ path: socket })).until((text) => text === "hello 0\n");
    await chardev.close();
    expect(existsSync(socket)).toBe(false);
    await new Promise((resolve) => abandoned.close(resolve));
  });

  it("leaves a file that is no socket as it is", async () => {
    writeFileSync(path("notes"), "precious");
    await expect(open({ backend: "unix", path: path("notes"), socket: server }, new Peers().serve)).rejects.toThrow(
      `Failed to bind socket to ${path("notes")}: Address already in use`,
    );
    expect(readFileSync(path("notes"), "utf8")).toBe("precious");
    mkdirSync(path("folder"));
    await expect(open({ backend: "unix", path: path("folder"), socket: server }, new Peers().serve)).rejects.toThrow(
      `Failed to bind socket to ${path("folder")}: Address already in use`,
    );
  });

  it("says why it cannot be", async () => {
    const refused = (where: string) => open({ backend: "unix", path: where, socket: server }, new Peers().serve);
    await expect(refused(path("nowhere/qmp"))).rejects.toThrow(
      `Failed to bind socket to ${path("nowhere/qmp")}: No such file or directory`,
    );
    const long = path("x".repeat(100));
    await expect(refused(long)).rejects.toThrow(`UNIX socket path '${long}' is too long`);
    await expect(refused("")).rejects.toThrow("Unable to parse FD number ");
  });

  it("cuts the peer and those who wait off when it closes", async () => {
    const socket = path("qmp");
    const peers = new Peers();
    const chardev = await openChardev({ backend: "unix", path: socket, socket: server }, peers.serve);
    const first = await RawClient.connect({ path: socket });
    const second = await RawClient.connect({ path: socket });
    await first.until((text) => text === "hello 0\n");
    await chardev.close();
    await Promise.all([first.untilEnd(), second.untilEnd()]);
    expect(peers.served.length).toBe(1);
  });

  it("says when its first peer is there", async () => {
    const socket = path("qmp");
    const chardev = await open({ backend: "unix", path: socket, socket: { server: true, wait: true } }, () => {});
    let connected = false;
    void chardev.connected.then(() => {
      connected = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(connected).toBe(false);
    await RawClient.connect({ path: socket });
    await chardev.connected;
  });
});

describe("a listening TCP socket", () => {
  it("is on this machine alone where no host is named, and says where", async () => {
    const peers = new Peers();
    const chardev = await open({ backend: "tcp", host: "", port: "0", socket: server }, peers.serve);
    const [, port] = /^disconnected:tcp:127\.0\.0\.1:(\d+),server=on$/.exec(chardev.filename) ?? [];
    const peer = await RawClient.connect({ host: "127.0.0.1", port: Number(port) });
    await peer.until((text) => text === "hello 0\n");
    expect(chardev.filename).toBe(
      `tcp:127.0.0.1:${port},server=on <-> 127.0.0.1:${(peer.socket.address() as { port: number }).port}`,
    );
    await expect(
      open({ backend: "tcp", host: "127.0.0.1", port: String(port), socket: server }, peers.serve),
    ).rejects.toThrow("Failed to find an available port: Address already in use");
  });

  it.each([
    ["1.2.3.4", "5555", "Failed to bind socket: Cannot assign requested address"],
    ["127.0.0.1", "x", "address resolution failed for 127.0.0.1:x: Servname not supported for ai_socktype"],
    ["127.0.0.1", "65536", "address resolution failed for 127.0.0.1:65536: Servname not supported for ai_socktype"],
  ])("cannot be at %s:%s", async (host, port, text) => {
    await expect(open({ backend: "tcp", host, port, socket: server }, new Peers().serve)).rejects.toThrow(text);
  });
});

describe("a connecting socket", () => {
  it("serves who listens, once", async () => {
    const socket = path("listener");
    const peers = new Peers();
    const listener = await open({ backend: "unix", path: socket, socket: server }, peers.serve);
    const mine = new Peers();
    const chardev = await open({ backend: "unix", path: socket, socket: client }, mine.serve);
    expect(chardev.filename).toBe(`unix:${socket}`);
    const { listener: heard } = await mine.peer(0);
    await heard.until(() => heard.text === "hello 0\n");
    await listener.close();
    await heard.until(() => heard.closes.length > 0 || heard.ends > 0);
    await chardev.close();
    expect(chardev.filename).toBe(`disconnected:unix:${socket}`);
  });

  it("fails when nobody is there", async () => {
    const nobody = (address: Parameters<typeof openChardev>[0]) => open(address, new Peers().serve);
    await expect(nobody({ backend: "unix", path: path("nobody"), socket: client })).rejects.toThrow(
      `Failed to connect to '${path("nobody")}': No such file or directory`,
    );
    await expect(nobody({ backend: "tcp", host: "127.0.0.1", port: "1", socket: client })).rejects.toThrow(
      "Failed to connect to '127.0.0.1:1': Connection refused",
    );
    await expect(nobody({ backend: "tcp", host: "", port: "1", socket: client })).rejects.toThrow(
      "address resolution failed for :1: Name or service not known",
    );
  });

  it("has nothing to wait for", async () => {
    await expect(
      open({ backend: "unix", path: path("x"), socket: { server: false, wait: false } }, new Peers().serve),
    ).rejects.toThrow("'wait' option is incompatible with socket in client connect mode");
  });
});

it("a null device serves nobody", async () => {
  const peers = new Peers();
  const chardev = await open({ backend: "null" }, peers.serve);
  await chardev.connected;
  expect(chardev.filename).toBe("null");
  expect(peers.served).toEqual([]);
});

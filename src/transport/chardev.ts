// A character device: a place where one peer at a time is served over a byte stream. docs/reference/monitor.md §1 (second client), §6.

import type { Socket } from "node:net";
import { QmpError } from "../base/errors.ts";
import type { ByteStream } from "./byte-stream.ts";
import type { ChardevAddress, ChardevSocketOptions } from "./chardev-address.ts";
import { NodeByteStream } from "./node-byte-stream.ts";
import { connectTo, formatSocketAddress, type Listener, listenOn, type SocketAddress } from "./socket-address.ts";
import { openStdio } from "./stdio.ts";

/** Clients that may wait for their turn; one more is turned away. */
const MAX_WAITING = 16;

/** Calls `serve` for each peer, one at a time: the next when the stream of the one before is closed. */
export type Serve = (stream: ByteStream) => void;

export interface Chardev {
  /** As `query-chardev` names it: `disconnected:unix:/run/vm.qmp,server=on` while nobody is there. */
  readonly filename: string;
  /** Resolves when the first peer is served: what a server with `wait=on` lets the start of a machine wait for. */
  readonly connected: Promise<void>;
  /** Serves nobody any more. The peer who is there is cut off. */
  close(): Promise<void>;
}

/** An address that is one itself: `chardev:ID` is for the caller to look up. */
export type OpenableAddress = Exclude<ChardevAddress, { backend: "chardev" }>;

/** Opens what `address` says. A `QmpError` with QEMU's text if that fails: a client that finds nobody fails at once. */
export async function openChardev(address: OpenableAddress, serve: Serve): Promise<Chardev> {
  switch (address.backend) {
    case "null":
      return { filename: "null", connected: Promise.resolve(), close: () => Promise.resolve() };
    case "stdio":
      return single("stdio", openStdio(), serve);
    case "unix":
      return openSocket({ type: "unix", path: address.path }, address.socket, serve);
    case "tcp":
      return openSocket({ type: "inet", host: address.host, port: address.port }, address.socket, serve);
  }
}

async function openSocket(address: SocketAddress, options: ChardevSocketOptions, serve: Serve): Promise<Chardev> {
  if (options.server) return ServerChardev.listen(address, serve);
  if (options.wait !== undefined)
    throw new QmpError("'wait' option is incompatible with socket in client connect mode");
  const name = formatSocketAddress(address);
  return single(name, streamOf(await connectTo(address), name), serve);
}

/** A device with one peer, now. */
function single(name: string, stream: ByteStream, serve: Serve): Chardev {
  let open = true;
  void stream.closed.then(() => {
    open = false;
  });
  serve(stream);
  return {
    get filename() {
      return open ? stream.name : `disconnected:${name}`;
    },
    connected: Promise.resolve(),
    close() {
      stream.close();
      return stream.closed;
    },
  };
}

/** A listening socket. Whoever comes while another is served waits unread, as in the queue of a listening socket. */
class ServerChardev implements Chardev {
  readonly connected: Promise<void>;
  readonly #serve: Serve;
  readonly #waiting: ByteStream[] = [];
  #settleConnected: () => void = () => {};
  #listener: Listener | undefined;
  #name: string;
  #current: ByteStream | undefined;
  #closed = false;

  static async listen(address: SocketAddress, serve: Serve): Promise<ServerChardev> {
    const chardev = new ServerChardev(serve);
    chardev.#listener = await listenOn(address, (socket) => chardev.#accept(socket));
    chardev.#name = `${formatSocketAddress(chardev.#listener.address)},server=on`;
    return chardev;
  }

  private constructor(serve: Serve) {
    this.#serve = serve;
    this.#name = "";
    this.connected = new Promise((resolve) => {
      this.#settleConnected = resolve;
    });
  }

  get filename(): string {
    return this.#current?.name ?? `disconnected:${this.#name}`;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const stream of this.#waiting.splice(0)) stream.close();
    await this.#listener?.close();
    this.#current?.close();
  }

  #accept(socket: Socket): void {
    if (this.#closed || this.#waiting.length >= MAX_WAITING) {
      socket.destroy();
      return;
    }
    const peer = socket.remoteAddress === undefined ? "" : ` <-> ${socket.remoteAddress}:${socket.remotePort}`;
    this.#waiting.push(streamOf(socket, `${this.#name}${peer}`));
    if (this.#current === undefined) this.#serveNext();
  }

  #serveNext(): void {
    const stream = this.#waiting.shift();
    if (stream === undefined || this.#closed) return;
    this.#current = stream;
    void stream.closed.then(() => {
      this.#current = undefined;
      this.#serveNext();
    });
    this.#settleConnected();
    this.#serve(stream);
  }
}

function streamOf(socket: Socket, name: string): NodeByteStream {
  return new NodeByteStream({ name, readable: socket, writable: socket });
}

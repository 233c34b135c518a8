// A client's end of a QMP monitor: what the host of a spawned device is told to do. docs/reference/monitor.md §1.

import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

interface QmpReply {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly QMP?: unknown;
}

const CONNECT_TIMEOUT_MS = 5_000;

/** One monitor, negotiated. Commands go one at a time, in order. */
export class QmpConnection {
  readonly #socket: Socket;
  readonly #waiting: { readonly resolve: (reply: QmpReply) => void; readonly reject: (error: Error) => void }[] = [];
  #ended: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const end = (error: Error): void => {
      this.#ended ??= error;
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    };
    const lines = createInterface({ input: socket });
    lines.on("line", (line) => {
      const reply = JSON.parse(line) as QmpReply;
      if (reply.event === undefined) this.#waiting.shift()?.resolve(reply);
    });
    lines.on("error", end); // readline passes on what its input reports
    socket.on("error", end);
    socket.on("close", () => end(new Error("the monitor was closed")));
  }

  /** Connects to the server at the unix socket `path` and negotiates. */
  static async open(path: string): Promise<QmpConnection> {
    const socket = await connectSoon(path);
    const connection = new QmpConnection(socket);
    await connection.#next(); // the greeting
    await connection.execute("qmp_capabilities");
    return connection;
  }

  /** Rejects with the description of a QMP error, or when the monitor is closed. */
  async execute(command: string, args: object = {}): Promise<unknown> {
    this.#socket.write(JSON.stringify({ execute: command, arguments: args }));
    const reply = await this.#next();
    if (reply.error !== undefined) throw new Error(`${command}: ${reply.error.desc}`);
    return reply.return;
  }

  close(): void {
    this.#socket.destroy();
  }

  #next(): Promise<QmpReply> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
}

/** A server's socket is there a moment before it listens. */
async function connectSoon(path: string): Promise<Socket> {
  const startedMs = performance.now();
  for (;;) {
    const socket = connect(path);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", reject);
      });
      return socket;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED") throw error;
      if (performance.now() - startedMs > CONNECT_TIMEOUT_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

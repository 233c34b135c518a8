// A client's end of a QMP monitor: what the host of a spawned device is told to do. docs/reference/monitor.md §1.

import { connect, type Socket } from "node:net";
import { TargetLostError } from "../../guest/errors.ts";

interface QmpReply {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
}

/** No reply that the suite asks for is near as long. */
const MAX_LINE_CHARACTERS = 4 << 20;

/** One monitor, negotiated. Commands go one at a time, in order. */
export class QmpConnection {
  readonly #socket: Socket;
  readonly #timeoutMs: number;
  readonly #waiting: { readonly resolve: (reply: QmpReply) => void; readonly reject: (error: Error) => void }[] = [];
  #rest = "";
  #ended: Error | undefined;

  private constructor(socket: Socket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#take(text));
    socket.on("error", (error) => this.#end(error.message));
    socket.on("close", () => this.#end("the monitor was closed at its other end"));
  }

  /** Connects to the server at the unix socket `path` and negotiates. An answer may take `timeoutMs`. */
  static async open(path: string, timeoutMs: number): Promise<QmpConnection> {
    const connection = new QmpConnection(await connectSoon(path, timeoutMs), timeoutMs);
    await connection.#next("a greeting");
    await connection.execute("qmp_capabilities");
    return connection;
  }

  /** Rejects with the description of a QMP error; with a `TargetLostError` when the monitor is closed or does not answer. */
  async execute(command: string, args: object = {}): Promise<unknown> {
    if (this.#ended === undefined) this.#socket.write(JSON.stringify({ execute: command, arguments: args }));
    const reply = await this.#next(`an answer to ${command}`);
    if (reply.error !== undefined) throw new Error(`${command}: ${reply.error.desc}`);
    return reply.return;
  }

  close(): void {
    this.#socket.destroy();
  }

  #next(what: string): Promise<QmpReply> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => {
        this.#end(`the monitor gave not ${what} within ${this.#timeoutMs} ms`);
        this.#socket.destroy();
      }, this.#timeoutMs);
      const settle = (): void => clearTimeout(limit);
      this.#waiting.push({
        resolve: (reply) => {
          settle();
          resolve(reply);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
    });
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    if (this.#rest.length > MAX_LINE_CHARACTERS) return this.#break("a line of the monitor is too long");
    for (const line of lines) {
      if (line.trim() === "") continue;
      const reply = parseReply(line);
      if (reply === undefined) return this.#break(`the monitor said '${line.slice(0, 80)}', which is not QMP`);
      if (reply.event === undefined) this.#waiting.shift()?.resolve(reply);
    }
  }

  #break(reason: string): void {
    this.#end(reason);
    this.#socket.destroy();
  }

  #end(reason: string): void {
    this.#ended ??= new TargetLostError(reason);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }
}

/** Undefined for what is no JSON object: the other end may be any program. */
function parseReply(line: string): QmpReply | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A server's socket is there a moment before it listens. */
async function connectSoon(path: string, timeoutMs: number): Promise<Socket> {
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
      if (performance.now() - startedMs > timeoutMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

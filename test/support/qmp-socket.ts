// A QMP client over a Unix socket: sends what it is told, collects what comes, and reads nothing into either.
import { connect, type Socket } from "node:net";

export type Message = Record<string, unknown>;

export class QmpSocket {
  readonly messages: Message[] = [];
  readonly #socket: Socket;
  #text = "";
  #wake: (() => void)[] = [];
  closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#take(chunk.toString()));
    socket.on("close", () => {
      this.closed = true;
      this.#wakeAll();
    });
  }

  static async connect(path: string): Promise<QmpSocket> {
    const socket = connect(path);
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new QmpSocket(socket);
  }

  /** A connection that somebody else has made. */
  static over(socket: Socket): QmpSocket {
    return new QmpSocket(socket);
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  /** Resolves with the first message from number `from` on that `wanted` accepts. */
  async next(wanted: (message: Message) => boolean, from = 0): Promise<Message> {
    for (;;) {
      const found = this.messages.slice(from).find(wanted);
      if (found !== undefined) return found;
      if (this.closed) throw new Error(`closed after ${JSON.stringify(this.messages.slice(-3))}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** Sends a command with an id of its own and resolves with the reply. */
  async execute(execute: string, args: object = {}): Promise<Message> {
    const id = `c${this.messages.length}`;
    this.send(JSON.stringify({ execute, arguments: args, id }));
    return this.next((message) => message["id"] === id);
  }

  end(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#text += text;
    const lines = this.#text.split("\r\n");
    this.#text = lines.pop()!;
    for (const line of lines) this.messages.push(JSON.parse(line) as Message);
    this.#wakeAll();
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

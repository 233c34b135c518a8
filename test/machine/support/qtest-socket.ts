// A qtest client over a Unix socket: sends lines, and keeps answers and interrupts apart.
import { connect, createServer, type Socket } from "node:net";

export class QtestSocket {
  /** `raise 47`, `lower 47`, … that nobody has taken. */
  readonly edges: string[] = [];
  readonly #socket: Socket;
  readonly #answers: string[] = [];
  readonly #waiting: (() => void)[] = [];
  #text = "";
  #closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#take(chunk.toString("latin1")));
    socket.on("error", () => {}); // the end of the connection, which "close" tells
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  static async connect(path: string): Promise<QtestSocket> {
    const socket = connect(path);
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new QtestSocket(socket);
  }

  /** Listens at `path`, and resolves with whoever comes first. */
  static async accept(path: string): Promise<{ client: Promise<QtestSocket>; close(): void }> {
    const server = createServer();
    const client = new Promise<QtestSocket>((resolve) =>
      server.once("connection", (socket) => resolve(new QtestSocket(socket))),
    );
    await new Promise<void>((resolve) => server.listen(path, () => resolve()));
    return { client, close: () => server.close() };
  }

  /** Sends a command and resolves with its answer. */
  async ask(line: string): Promise<string> {
    this.#socket.write(`${line}\n`);
    return this.#next();
  }

  async askAll(lines: readonly string[]): Promise<string[]> {
    this.#socket.write(lines.map((line) => `${line}\n`).join(""));
    const answers: string[] = [];
    for (const _ of lines) answers.push(await this.#next());
    return answers;
  }

  /** Resolves with the edges since the last call; waits for one, for a while, if there is none. */
  async takeEdges(timeoutMs: number): Promise<string[]> {
    const deadline = performance.now() + timeoutMs;
    while (this.edges.length === 0 && performance.now() < deadline) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - performance.now());
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return this.edges.splice(0);
  }

  end(): void {
    this.#socket.destroy();
  }

  async #next(): Promise<string> {
    while (this.#answers.length === 0) {
      if (this.#closed) throw new Error("closed before an answer");
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.#answers.shift()!;
  }

  #take(text: string): void {
    const lines = (this.#text + text).split("\n");
    this.#text = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith("IRQ ")) this.edges.push(line.slice("IRQ ".length));
      else this.#answers.push(line);
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

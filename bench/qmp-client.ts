// A process with a QMP monitor: the peer of benchmarks that need its block layer.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

interface QmpMessage {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Waiter {
  readonly wanted: (message: QmpMessage) => boolean;
  readonly resolve: (message: QmpMessage) => void;
  readonly reject: (error: Error) => void;
}

/** What to start. It has QEMU's command line. */
export interface QmpProgram {
  readonly program: string;
  /** Before those that every program is given. */
  readonly args?: readonly string[];
  /** Additions to the environment. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** One process without a machine, from `start` to `quit`, spoken to over a Unix socket. Commands go one at a time. */
export class QmpClient {
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  readonly #waiters: Waiter[] = [];
  /** What qemu-io has to say is printed there, and it has nothing to say unless a request failed. */
  #printed = "";

  private constructor(child: ChildProcess, socket: Socket) {
    this.#child = child;
    this.#socket = socket;
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.#printed += text;
    });
    const lines = createInterface({ input: socket });
    lines.on("line", (line) => this.#hear(JSON.parse(line) as QmpMessage));
    // A process that ends may reset the connection; that it has ended is what counts.
    lines.on("error", (error) => this.#fail(error));
    child.once("exit", () => this.#fail(new Error(`${child.spawnfile} has ended`)));
  }

  /** Starts the program and negotiates. */
  static async start({ program, args = [], environment = {} }: QmpProgram): Promise<QmpClient> {
    const folder = mkdtempSync(join(tmpdir(), "vblk-qmp-"));
    const server = createServer();
    try {
      const path = join(folder, "qmp.sock");
      await new Promise<void>((resolve) => server.listen(path, resolve));
      const connected = new Promise<Socket>((resolve) => server.once("connection", resolve));
      const child = spawn(program, [...args, "-M", "none", "-nodefaults", "-display", "none", "-qmp", `unix:${path}`], {
        env: { ...process.env, ...environment },
        stdio: ["ignore", "pipe", "inherit"],
      });
      const failed = new Promise<never>((_, reject) => {
        child.once("error", reject);
        child.once("exit", () => reject(new Error(`${program} has ended`)));
      });
      const client = new QmpClient(child, await Promise.race([connected, failed]));
      await client.#next((message) => "QMP" in message);
      await client.execute("qmp_capabilities");
      return client;
    } finally {
      server.close();
      rmSync(folder, { recursive: true });
    }
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async execute(command: string, args: object = {}): Promise<unknown> {
    const answer = this.#next((message) => "return" in message || "error" in message);
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    const { error, return: result } = await answer;
    if (error !== undefined) throw new Error(`${command}: ${error.desc}`);
    return result;
  }

  /** Resolves with the data of the next event of this name. Ask before you cause it. */
  async event(name: string): Promise<Readonly<Record<string, unknown>>> {
    const { data = {} } = await this.#next((message) => message.event === name);
    return data;
  }

  /** Fails if a request of qemu-io's has failed. */
  async quit(): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once("close", resolve));
    await this.execute("quit");
    await closed;
    if (this.#printed !== "") throw new Error(`${this.#child.spawnfile} printed: ${this.#printed.slice(0, 200)}`);
  }

  #next(wanted: (message: QmpMessage) => boolean): Promise<QmpMessage> {
    if (this.#child.exitCode !== null) return Promise.reject(new Error(`${this.#child.spawnfile} has ended`));
    return new Promise((resolve, reject) => this.#waiters.push({ wanted, resolve, reject }));
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }

  #hear(message: QmpMessage): void {
    const index = this.#waiters.findIndex(({ wanted }) => wanted(message));
    if (index >= 0) this.#waiters.splice(index, 1)[0]!.resolve(message);
  }
}

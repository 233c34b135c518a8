// A real QEMU without a machine, spoken to by QMP: the peer of benchmarks that need its block layer.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface, type Interface } from "node:readline";

interface QmpMessage {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** One QEMU, from `start` to `quit`. Commands go one at a time. */
export class QmpClient {
  readonly #process: ChildProcess;
  readonly #lines: Interface;
  readonly #waiters: ((message: QmpMessage) => boolean)[] = [];

  private constructor(child: ChildProcess) {
    this.#process = child;
    this.#lines = createInterface({ input: child.stdout! });
    this.#lines.on("line", (line) => this.#hear(JSON.parse(line) as QmpMessage));
  }

  /** Starts `program` with these additions to its environment, and negotiates. */
  static async start(program: string, environment: NodeJS.ProcessEnv = {}): Promise<QmpClient> {
    const child = spawn(program, ["-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"], {
      env: { ...process.env, ...environment },
      stdio: ["pipe", "pipe", "inherit"],
    });
    const client = new QmpClient(child);
    await client.#next((message) => "QMP" in message);
    await client.execute("qmp_capabilities");
    return client;
  }

  async execute(command: string, args: object = {}): Promise<unknown> {
    const answer = this.#next((message) => "return" in message || "error" in message);
    this.#process.stdin!.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    const { error, return: result } = await answer;
    if (error !== undefined) throw new Error(`${command}: ${error.desc}`);
    return result;
  }

  /** Resolves with the data of the next event of this name. Ask before you cause it. */
  async event(name: string): Promise<Readonly<Record<string, unknown>>> {
    const { data = {} } = await this.#next((message) => message.event === name);
    return data;
  }

  async quit(): Promise<void> {
    const exited = new Promise((resolve) => this.#process.once("exit", resolve));
    await this.execute("quit");
    await exited;
  }

  #next(wanted: (message: QmpMessage) => boolean): Promise<QmpMessage> {
    return new Promise((resolve, reject) => {
      const onExit = (): void => reject(new Error("QEMU has ended"));
      this.#process.once("exit", onExit);
      this.#waiters.push((message) => {
        if (!wanted(message)) return false;
        this.#process.off("exit", onExit);
        resolve(message);
        return true;
      });
    });
  }

  #hear(message: QmpMessage): void {
    const index = this.#waiters.findIndex((waiter) => waiter(message));
    if (index >= 0) this.#waiters.splice(index, 1);
  }
}

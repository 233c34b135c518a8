// A program with QEMU's command line in a process of its own, with a monitor on a socket: this project's, or a real QEMU.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { type Message, QmpSocket } from "./qmp-socket.ts";

const SYSTEM = fileURLToPath(new URL("../../cli/system.ts", import.meta.url));
const CONNECT_EVERY_MS = 5;

/** `virtio-blk-system`, from the sources. */
const OURS: readonly string[] = [
  process.execPath,
  "--conditions=vblk-source",
  "--import",
  import.meta.resolve("tsx"),
  SYSTEM,
];

/**
 * What to start: with `VBLK_GOLDEN_QEMU=qemu-system-aarch64` a real QEMU instead, to try a test itself on. Its standard output is
 * unbuffered then, so that what a command prints is there before its reply is.
 */
export function systemProgram(environment: NodeJS.ProcessEnv = process.env): readonly string[] {
  const qemu = environment["VBLK_GOLDEN_QEMU"];
  return qemu === undefined ? OURS : ["stdbuf", "-o0", qemu];
}

/** The process, with a monitor at `socketPath` that is there a moment later. */
export class SystemProcess {
  readonly socketPath: string;
  /** Resolves with the exit status. */
  readonly ended: Promise<number | null>;
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  #stdout = "";
  #stderr = "";
  #over = false;

  /** Starts it in `folder`. */
  constructor(folder: string, args: readonly string[], program: readonly string[] = systemProgram()) {
    this.socketPath = join(folder, "qmp.sock");
    const [command, ...before] = program;
    const child = spawn(command!, [...before, ...args, "-qmp", `unix:${this.socketPath},server=on,wait=off`], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.on("data", (chunk: Buffer) => {
      this.#stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    this.#process = child;
    this.ended = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        this.#over = true;
        resolve(code);
      });
    });
  }

  /** Connects to the monitor and negotiates. Rejects with what the program printed when it ends instead. */
  async connect(): Promise<SystemClient> {
    while (!this.#over) {
      // The socket is there a moment before somebody listens at it.
      const qmp = await QmpSocket.connect(this.socketPath).catch(() => undefined);
      if (qmp !== undefined) {
        const client = new SystemClient(this, qmp);
        await client.execute("qmp_capabilities");
        return client;
      }
      await new Promise((resolve) => setTimeout(resolve, CONNECT_EVERY_MS));
    }
    throw new Error(`ended with status ${await this.ended}: ${this.#stderr}`);
  }

  /** What the program has printed since this was last asked. Called after a reply, all that came before it. */
  takeOutput(): Promise<string> {
    return new Promise((resolve) => {
      // The pipe and the socket are read in no order: what is in the pipe by now is read within a turn of the loop.
      setImmediate(() => {
        const text = this.#stdout;
        this.#stdout = "";
        resolve(text);
      });
    });
  }

  get errorOutput(): string {
    return this.#stderr;
  }

  /** Ends it at once, if it has not ended yet. */
  kill(): void {
    this.#process.kill("SIGKILL");
  }
}

/** Somebody at the monitor of a process. */
export class SystemClient {
  readonly process: SystemProcess;
  readonly qmp: QmpSocket;

  constructor(process: SystemProcess, qmp: QmpSocket) {
    this.process = process;
    this.qmp = qmp;
  }

  /** The reply, without its id. */
  async execute(name: string, args: object = {}): Promise<Message> {
    const { id: _, ...reply } = await this.qmp.execute(name, args);
    return reply;
  }

  /** What a line of the human monitor's returns. */
  async human(line: string): Promise<unknown> {
    return (await this.execute("human-monitor-command", { "command-line": line }))["return"];
  }

  /** Says `quit` and waits for the end. Resolves with the exit status. */
  async quit(): Promise<number | null> {
    this.qmp.send('{"execute": "quit"}');
    const code = await this.process.ended;
    this.qmp.end();
    return code;
  }

  kill(): void {
    this.process.kill();
    this.qmp.end();
  }
}

// A program with QEMU's command line in a process of its own, with a monitor on a socket: this project's, or a real QEMU.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { type Message, QmpSocket } from "../support/qmp-socket.ts";

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
 * What to start: with `VBLK_GOLDEN_QEMU=qemu-system-aarch64` a real QEMU instead, to try the replayer itself on. Its standard
 * output is unbuffered then, so that what a command prints is there before its reply is.
 */
export function systemProgram(environment: NodeJS.ProcessEnv = process.env): readonly string[] {
  const qemu = environment["VBLK_GOLDEN_QEMU"];
  return qemu === undefined ? OURS : ["stdbuf", "-o0", qemu];
}

export class SystemProcess {
  readonly qmp: QmpSocket;
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  readonly #ended: Promise<number | null>;
  #stdout = "";
  #stderr = "";

  private constructor(child: ChildProcessByStdio<null, Readable, Readable>, qmp: QmpSocket, ended: Promise<number | null>) {
    this.#process = child;
    this.qmp = qmp;
    this.#ended = ended;
    child.stdout.on("data", (chunk: Buffer) => {
      this.#stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
  }

  /** Starts it in `folder`, and negotiates with its monitor. Rejects with what it printed when it ends instead. */
  static async start(folder: string, args: readonly string[], program: readonly string[] = systemProgram()): Promise<SystemProcess> {
    const path = join(folder, "qmp.sock");
    const [command, ...before] = program;
    const child = spawn(command!, [...before, ...args, "-qmp", `unix:${path},server=on,wait=off`], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let over = false;
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        over = true;
        resolve(code);
      });
    });
    let qmp: QmpSocket | undefined;
    while (qmp === undefined && !over) {
      // The socket is there a moment before somebody listens at it.
      qmp = await QmpSocket.connect(path).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, CONNECT_EVERY_MS));
    }
    if (qmp === undefined) throw new Error(`${command} ended with status ${await ended}: ${child.stderr.read()}`);
    const system = new SystemProcess(child, qmp, ended);
    await system.execute("qmp_capabilities");
    return system;
  }

  /** The reply, without its id. */
  async execute(name: string, args: object = {}): Promise<Message> {
    const { id: _, ...reply } = await this.qmp.execute(name, args);
    return reply;
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

  /** Says `quit` and waits for the end. Resolves with the exit status. */
  async quit(): Promise<number | null> {
    this.qmp.send('{"execute": "quit"}');
    const code = await this.#ended;
    this.qmp.end();
    return code;
  }

  /** For one that may hang. */
  kill(): void {
    this.#process.kill("SIGKILL");
    this.qmp.end();
  }
}

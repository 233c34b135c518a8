// How many commands a qtest server answers, ours beside a real QEMU's: pipelined, and one at a time.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BenchTable, median } from "./report.ts";

const PIPELINED = 20_000;
const ONE_BY_ONE = 4_000;
const ROUNDS = 5;
const COMMANDS = ["readl 0x0a003e70\n", "writel 0x40001000 0x12345678\n", "readl 0x40001000\n", "read 0x40001000 64\n"];

const MACHINE = fileURLToPath(new URL("../cli/system.ts", import.meta.url));
const DRIVE = "driver=null-co,node-name=d0,size=1048576,read-zeroes=on";

/** A qtest server in a process of its own. */
class Server {
  readonly #process: ChildProcess;
  readonly #socket: Socket;
  #newlines = 0;
  #wanted = 0;
  #settle: () => void = () => {};

  private constructor(child: ChildProcess, socket: Socket) {
    this.#process = child;
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) this.#newlines++;
      if (this.#newlines >= this.#wanted) this.#settle();
    });
  }

  static async start(program: string, args: readonly string[], path: string): Promise<Server> {
    const machine = ["-M", "virt", "-accel", "tcg", "-S", "-display", "none", "-nodefaults", "-blockdev", DRIVE];
    const device = ["-device", "virtio-blk-device,drive=d0", "-qtest-log", "none"];
    const qtest = ["-qtest", `unix:${path},server=on,wait=off`];
    const child = spawn(program, [...args, ...machine, ...device, ...qtest], {
      stdio: "ignore",
    });
    const ended = once(child, "exit");
    for (;;) {
      const socket = connect(path);
      const here = await Promise.race([
        once(socket, "connect").then(
          () => true,
          () => false, // it does not listen yet
        ),
        ended.then(() => {
          throw new Error(`${program} has ended`);
        }),
      ]);
      if (here) return new Server(child, socket);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Commands a second when all are sent at once. */
  async pipelined(count: number): Promise<number> {
    const text = Array.from({ length: count }, (_, i) => COMMANDS[i % COMMANDS.length]!).join("");
    const beginMs = performance.now();
    await this.#ask(text, count);
    return (count * 1000) / (performance.now() - beginMs);
  }

  /** Commands a second when each waits for the answer to the one before. */
  async oneByOne(count: number): Promise<number> {
    const beginMs = performance.now();
    for (let i = 0; i < count; i++) await this.#ask(COMMANDS[i % COMMANDS.length]!, 1);
    return (count * 1000) / (performance.now() - beginMs);
  }

  async stop(): Promise<void> {
    this.#socket.destroy();
    const ended = once(this.#process, "exit");
    this.#process.kill();
    await ended;
  }

  #ask(text: string, answers: number): Promise<void> {
    this.#newlines = 0;
    this.#wanted = answers;
    this.#socket.write(text);
    return new Promise((resolve) => {
      this.#settle = resolve;
    });
  }
}

/** Both servers answer in turn, so that what slows the host down slows both; the middle of the rounds counts. */
export async function qtestBenchmarks(): Promise<BenchTable[]> {
  const folder = mkdtempSync(join(tmpdir(), "vblk-bench-"));
  const ours = await Server.start(
    process.execPath,
    ["--conditions=vblk-source", "--import", import.meta.resolve("tsx"), MACHINE],
    join(folder, "ours.sock"),
  );
  const theirs = await Server.start("qemu-system-aarch64", [], join(folder, "qemu.sock"));
  try {
    const rows: (readonly [string, string, string, string])[] = [];
    for (const [title, measure] of [
      ["pipelined", (server: Server) => server.pipelined(PIPELINED)],
      ["one at a time", (server: Server) => server.oneByOne(ONE_BY_ONE)],
    ] as const) {
      await measure(ours); // both warm
      await measure(theirs);
      const [us, them, ratios]: number[][] = [[], [], []];
      for (let round = 0; round < ROUNDS; round++) {
        const [a, b] = [await measure(ours), await measure(theirs)];
        us!.push(a);
        them!.push(b);
        ratios!.push(a / b);
      }
      const perSecond = (values: readonly number[]): string => `${Math.round(median(values)).toLocaleString("en")}/s`;
      rows.push([title, perSecond(us!), perSecond(them!), median(ratios!).toFixed(2)]);
    }
    return [{ title: "qtest commands answered", columns: ["commands", "ours", "QEMU", "ratio"], rows }];
  } finally {
    await ours.stop();
    await theirs.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

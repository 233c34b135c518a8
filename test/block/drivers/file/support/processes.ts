// Programs that run beside a test: told what to do over their input, heard over their output.
import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach } from "vitest";

const ROOT = fileURLToPath(new URL("../../../../../", import.meta.url));
const HOLDER = fileURLToPath(new URL("hold-image.ts", import.meta.url));

/** Runs a program to its end: its exit code and all that it said. */
export function run(command: string, ...args: string[]): { status: number | null; text: string } {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (error !== undefined) throw error;
  return { status, text: stdout + stderr };
}

/** `run` of a program that has to succeed. */
export function runWell(command: string, ...args: string[]): void {
  const { status, text } = run(command, ...args);
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${text}`);
}

/** One running program. */
export class Companion {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  #output = "";
  #heard: (() => void)[] = [];
  readonly #exit: Promise<void>;

  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, { cwd: ROOT, stdio: ["pipe", "pipe", "pipe"] });
    const hear = (text: string): void => {
      this.#output += text;
      for (const heard of this.#heard.splice(0)) heard();
    };
    this.#child.stdout.setEncoding("utf8").on("data", hear);
    this.#child.stderr.setEncoding("utf8").on("data", hear);
    this.#child.stdin.on("error", () => {}); // it may end before it has read what it was told
    this.#exit = new Promise((resolve) =>
      this.#child.once("close", () => {
        resolve();
        hear("");
      }),
    );
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  say(text: string): void {
    this.#child.stdin.write(text);
  }

  /** What it has said so far, as soon as that matches; fails if it ends before. */
  async hears(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#output);
      if (match !== null) return match;
      if (!this.running) throw new Error(`ended without saying ${String(pattern)}: ${this.#output}`);
      await new Promise<void>((resolve) => this.#heard.push(resolve));
    }
  }

  /** Ends its input and waits until it has ended. */
  async finish(): Promise<void> {
    this.#child.stdin.end();
    await this.#exit;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exit;
  }
}

/** Within a `describe` or a file: starts programs that do not outlive the test. */
export function useCompanions(): {
  start(command: string, ...args: string[]): Companion;
  /** Another process of ours that opens the image. */
  hold(path: string, access: "reader" | "writer", perl: string): Companion;
} {
  const running: Companion[] = [];
  afterEach(async () => {
    for (const companion of running.splice(0)) if (companion.running) await companion.kill();
  });
  const start = (command: string, ...args: string[]): Companion => {
    const companion = new Companion(command, args);
    running.push(companion);
    return companion;
  };
  return {
    start,
    hold: (path, access, perl) =>
      start(process.execPath, "--conditions=vblk-source", "--import", "tsx", HOLDER, path, access, perl),
  };
}

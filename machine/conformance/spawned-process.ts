// A program from its start to its end, with the last that it said.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { TargetLostError } from "../../guest/errors.ts";

const MAX_SAID_CHARACTERS = 4096;

/** What to start. */
export interface SpawnedProgram {
  /** How reports call it. */
  readonly name: string;
  readonly command: string;
  /** Before those that every program is given. */
  readonly args?: readonly string[];
  /** Switches of virtio-blk-device that are set on where the program has them, beside those that every program is asked for. */
  readonly deviceSwitches?: readonly string[];
}

/** A process that listens at unix sockets. */
export class SpawnedProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #said = "";
  #how: string | undefined;

  constructor(program: SpawnedProgram, args: readonly string[]) {
    this.#child = spawn(program.command, [...(program.args ?? []), ...args], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-MAX_SAID_CHARACTERS);
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#how = error.message;
        resolve();
      });
      // Not "close", for which whoever inherited its standard error would have to end too.
      this.#child.once("exit", (status, signal) => {
        this.#how = signal === null ? `it ended with status ${status}` : `it was ended by ${signal}`;
        resolve();
      });
    });
  }

  /** How it ended, if it did, and the last that it said. */
  get obituary(): string | undefined {
    const last = this.#said.trimEnd().split("\n").at(-1);
    const parts = [this.#how, last === "" ? undefined : last];
    return parts.filter((part) => part !== undefined).join("; ") || undefined;
  }

  /** Resolves once its sockets are there. Rejects when it ends before, or with a `TargetLostError` when it takes too long. */
  async untilListening(timeoutMs: number, ...paths: readonly string[]): Promise<void> {
    const startedMs = performance.now();
    while (!paths.every((path) => existsSync(path))) {
      // What it said last may come after the news of its end.
      if (this.#how !== undefined) await new Promise((resolve) => setTimeout(resolve, 20));
      if (this.#how !== undefined) throw new StartError(`'${this.#child.spawnfile}' did not start: ${this.obituary}`);
      if (performance.now() - startedMs > timeoutMs) {
        throw new TargetLostError(`'${this.#child.spawnfile}' opened no sockets within ${timeoutMs} ms`);
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
    this.#child.stderr!.destroy();
  }
}

/** The program ended instead of listening: it cannot be started at all, or not with these options. */
export class StartError extends Error {
  override readonly name: string = "StartError";
}

// System calls that Node does not make, made by a perl that lives for one of them, on descriptors that it inherits.

import { spawn, spawnSync } from "node:child_process";
import { constants } from "node:os";
import type { Clock } from "../../../base/clock.ts";

/** A perl without modules is done in 2 to 3 ms; a file server that does not answer is not waited for longer than this. */
const TIME_LIMIT_MS = 10_000;

/** In a script: true if the last call has failed with one of these. Perl's own `%!` takes a module, and 1 ms more. */
export function failedWith(...names: readonly (keyof typeof constants.errno)[]): string {
  return `(${names.map((name) => `$! == ${constants.errno[name]}`).join(" || ")})`;
}

export interface PerlOptions {
  /** The program. */
  readonly perl: string;
  readonly clock: Clock;
  /** Of its output; what is beyond is dropped. 1,000 by default. */
  readonly maxOutputCharacters?: number;
}

/** What `script` printed, or why that is nothing. It has `fds` as descriptors from 3 on. Never rejects. */
export function runPerl(
  script: string,
  fds: readonly number[],
  args: readonly string[],
  options: PerlOptions,
): Promise<string> {
  const { perl, clock, maxOutputCharacters = 1000 } = options;
  return new Promise((resolve) => {
    const child = spawn(perl, perlArguments(script, args), {
      stdio: ["ignore", "pipe", "ignore", ...fds],
      env: perlEnvironment(),
    });
    const giveUp = clock.setTimer(TIME_LIMIT_MS, () => {
      child.kill("SIGKILL");
      finish(`${perl} did not answer in ${TIME_LIMIT_MS / 1000} s`);
    });
    const finish = (answer: string): void => {
      giveUp();
      resolve(answer);
    };
    let output = "";
    child.stdout?.setEncoding("utf8");
    child.stdout?.on("data", (text: string) => {
      if (output.length < maxOutputCharacters) output += text;
    });
    child.on("error", (error) => finish(error.message));
    child.on("close", (code, signal) => finish(output || `${perl} ended with ${signal ?? code}`));
  });
}

/** As `runPerl`, within the call: for what has to be done or refused before anything else happens. */
export function runPerlNow(script: string, fds: readonly number[], args: readonly string[], perl: string): string {
  const { error, stdout, status, signal } = spawnSync(perl, perlArguments(script, args), {
    stdio: ["ignore", "pipe", "ignore", ...fds],
    env: perlEnvironment(),
    encoding: "utf8",
    timeout: TIME_LIMIT_MS,
    killSignal: "SIGKILL",
  });
  if (error !== undefined) return error.message;
  return stdout || `${perl} ended with ${signal ?? status}`;
}

function perlArguments(script: string, args: readonly string[]): string[] {
  return ["-e", script, ...args];
}

function perlEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], LC_ALL: "C" };
}

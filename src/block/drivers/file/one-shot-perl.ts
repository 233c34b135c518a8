// System calls that Node does not make, made by a perl that lives for one of them, on descriptors that it inherits.

import { spawn } from "node:child_process";
import type { Clock } from "../../../base/clock.ts";

/** Perl starts in 9 ms; a file server that does not answer is not waited for longer than this. */
const TIME_LIMIT_MS = 10_000;

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
    const child = spawn(perl, ["-MErrno", "-e", script, ...args], {
      stdio: ["ignore", "pipe", "ignore", ...fds],
      env: { PATH: process.env["PATH"], LC_ALL: "C" },
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

// How the command ends: its exit status and its last words.

import { BlockError, QmpError } from "../src/base/errors.ts";

/** Exit statuses, for scripts to use. */
export const ExitCode = { ok: 0, failed: 1, usage: 2 } as const;

/** A failure whose message says all: no stack is shown. */
export class CommandError extends Error {
  override readonly name: string = "CommandError";
}

/** The run was ended by a signal, 128 and whose number is the exit status. */
export class SignalError extends Error {
  override readonly name: string = "SignalError";
  readonly exitCode: number;

  constructor(signalName: string, signalNumber: number) {
    super(`ended by ${signalName}: jobs cancelled, images flushed`);
    this.exitCode = 128 + signalNumber;
  }
}

/** One line, and a hint, for what a user can mend, the stack for what is a mistake in a script or in ours. */
export function failureText(error: unknown): string {
  if ((error instanceof BlockError || error instanceof QmpError) && error.hint !== undefined)
    return `${error.message}\n${error.hint}`;
  const plain = [BlockError, QmpError, CommandError, SignalError];
  if (plain.some((type) => error instanceof type)) return (error as Error).message;
  if (error instanceof Error && "syscall" in error) return error.message; // the operating system's own words
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The exit status that `error` calls for. */
export function exitCodeOf(error: unknown): number {
  return error instanceof SignalError ? error.exitCode : ExitCode.failed;
}

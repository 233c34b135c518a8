// Runs commands one at a time, whoever they come from: nothing overtakes, and no two change the machine at once.

import { QmpError } from "../base/errors.ts";
import type { CommandContext, CommandTable } from "./command.ts";
import type { JsonObject } from "./json/value.ts";

/** Which commands there are, and whether the machine is there for them. */
export interface ExecutorOptions {
  readonly commands: CommandTable;
  /** True until the machine has been made: only commands with `allowPreconfig` run then. */
  readonly isPreconfig: () => boolean;
}

export class CommandExecutor {
  readonly #commands: CommandTable;
  readonly #isPreconfig: () => boolean;
  #last: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor({ commands, isPreconfig }: ExecutorOptions) {
    this.#commands = commands;
    this.#isPreconfig = isPreconfig;
  }

  /** True when no more commands are run. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The command that runs is the last one. Those that wait are never run. */
  stop(): void {
    this.#stopped = true;
  }

  /**
   * Runs `task` when all those before it are done, and resolves with what it gives; with `undefined`, and `task` never called, if the
   * executor has stopped by then.
   */
  inTurn<T>(task: () => T | Promise<T>): Promise<T | undefined> {
    const run = async (): Promise<T | undefined> => (this.#stopped ? undefined : await task());
    const result = this.#last.then(run, run);
    this.#last = result;
    return result;
  }

  /** Resolves when all that has been asked for so far is done. */
  async idle(): Promise<void> {
    await this.inTurn(() => {});
  }

  /** Runs a command, now: call it in turn. A `QmpError` or `BlockError` if it fails. */
  async execute(name: string, args: JsonObject, context: CommandContext): Promise<unknown> {
    const command = this.#commands.get(name);
    if (command === undefined) throw new QmpError(`The command ${name} has not been found`, "CommandNotFound");
    if (this.#isPreconfig() && !command.allowPreconfig)
      throw new QmpError(`The command '${name}' is permitted only after machine initialization has completed`);
    const trace = this.#commands.traceOf(command);
    trace.enter(args);
    try {
      const result = await command.invoke(args, context);
      const returned = command.returns === undefined ? {} : result;
      trace.exit(returned, true);
      return returned;
    } catch (error) {
      trace.exit(error instanceof Error ? error.message : String(error), false);
      throw error;
    }
  }

  has(name: string): boolean {
    return this.#commands.get(name) !== undefined;
  }
}

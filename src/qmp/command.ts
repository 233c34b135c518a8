// A command of the monitor: its name, the types of what goes in and comes out, and what it does.

import { assert } from "../base/assert.ts";
import { CommandTrace } from "./command-trace.ts";
import type { JsonObject } from "./json/value.ts";
import type { DescribedCommand } from "./schema/introspection.ts";
import { visitJson } from "./schema/json-reader.ts";
import { object, type StructType, type Type } from "./schema/types.ts";

/** Who asks. Scripts of the same process have no session: for them everything has been negotiated. */
export interface CommandContext {
  readonly session: CapabilitySession | undefined;
}

/** The capabilities that a client and a monitor agree on, once, before anything else. */
export interface CapabilitySession {
  /** A `QmpError` if that has been done. */
  negotiate(capabilities: readonly string[]): void;
}

/** What `defineCommand` is told. `run` gets checked arguments, and answers with what `returns` describes; nothing without it. */
export interface CommandDefinition<A, R> {
  readonly name: string;
  readonly arguments?: StructType<A>;
  readonly returns?: Type<R>;
  /** Shown in the schema: `unstable`, `deprecated`. */
  readonly features?: readonly string[];
  /** May run before the machine is there. */
  readonly allowPreconfig?: boolean;
  /** Does it, at once or later. A `QmpError` or `BlockError` becomes the reply; anything else is a mistake of ours. */
  run(args: NoInfer<A>, context: CommandContext): NoInfer<R> | Promise<NoInfer<R>>;
}

/** One command, whatever its types. */
export interface Command extends DescribedCommand {
  readonly allowPreconfig: boolean;
  /** Checks the arguments and runs. What comes back is what the reply returns. */
  invoke(args: JsonObject, context: CommandContext): unknown;
}

const NO_ARGUMENTS = object({});

/** A command from its definition. The types of `arguments` and `returns` are those of `run`. */
export function defineCommand<A = object, R = void>(definition: CommandDefinition<A, R>): Command {
  const { name, returns, features, allowPreconfig = false } = definition;
  const argumentsType = (definition.arguments ?? NO_ARGUMENTS) as StructType<A>;
  return {
    name,
    arguments: argumentsType,
    returns,
    features,
    allowPreconfig,
    invoke(args, context) {
      return definition.run(visitJson(argumentsType, args), context);
    },
  };
}

/** All commands by name, in the order in which they were added. */
export class CommandTable {
  readonly #commands = new Map<string, Command>();
  readonly #traces = new Map<string, CommandTrace>();

  add(...commands: readonly Command[]): void {
    for (const command of commands) {
      assert(!this.#commands.has(command.name), `there is a command ${command.name} already`);
      this.#commands.set(command.name, command);
      this.#traces.set(command.name, new CommandTrace(command.name));
    }
  }

  get(name: string): Command | undefined {
    return this.#commands.get(name);
  }

  /** The trace points of a command that there is. */
  traceOf(command: Command): CommandTrace {
    return this.#traces.get(command.name)!;
  }

  [Symbol.iterator](): Iterator<Command> {
    return this.#commands.values();
  }
}

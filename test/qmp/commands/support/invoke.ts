// Carries out QMP commands as a monitor does, without a monitor.
import { BlockError, QmpError } from "../../../../src/base/errors.ts";
import type { Command } from "../../../../src/qmp/command.ts";
import type { JsonObject } from "../../../../src/qmp/json/value.ts";

export type Execute = (name: string, args?: JsonObject) => Promise<unknown>;

/** A function that gives what a command returns, `{}` for nothing, or the error that would be the reply. */
export function executor(commands: readonly Command[]): Execute {
  return async (name, args = {}) => {
    const command = commands.find((command) => command.name === name);
    if (command === undefined) throw new Error(`no command ${name}`);
    try {
      return (await command.invoke(args, { session: undefined })) ?? {};
    } catch (error) {
      if (error instanceof QmpError) return { class: error.errorClass, desc: error.message };
      if (error instanceof BlockError) return { class: "GenericError", desc: error.message };
      throw error;
    }
  };
}

/** The reply to a command that fails in the usual way. */
export function refused(desc: string): object {
  return { class: "GenericError", desc };
}

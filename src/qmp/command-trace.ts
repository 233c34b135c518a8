// Trace points of commands, two for each, named as QEMU's: `qmp_enter_query_block`, `qmp_exit_query_block`.

import { type TracePoint, tracePoint } from "../base/trace.ts";
import { printJson } from "./json/print-json.ts";
import type { JsonObject } from "./json/value.ts";

export class CommandTrace {
  readonly #enter: TracePoint;
  readonly #exit: TracePoint;

  constructor(command: string) {
    const name = command.replaceAll("-", "_");
    this.#enter = tracePoint(`qmp_enter_${name}`);
    this.#exit = tracePoint(`qmp_exit_${name}`);
  }

  enter(args: JsonObject): void {
    if (this.#enter.enabled) this.#enter.emit({ json: printJson(args) });
  }

  /** `result` is what the reply returns, or the text of an error. */
  exit(result: unknown, succeeded: boolean): void {
    if (this.#exit.enabled) this.#exit.emit({ result: printJson(result), succeeded });
  }
}

// One command of the human monitor: its names, its arguments and what it does.

import type { HmpArguments, HmpParameter } from "./hmp-parser.ts";

export interface HmpCommand {
  /** The first is its name, the others are aliases. */
  readonly names: readonly string[];
  /** As `help` shows them: `[-d] [device] "[command]"`. */
  readonly synopsis: string;
  readonly description: string;
  readonly parameters: readonly HmpParameter[];
  /**
   * What it prints, with `\n` at line ends. A `QmpError` or a `BlockError`, thrown or rejected, is printed as
   * `Error: <text>`, and its hint below that.
   */
  run(args: HmpArguments): string | Promise<string>;
}

/** A line of `help`. */
export function helpLine(prefix: string, { names, synopsis, description }: HmpCommand): string {
  return `${prefix}${names.join("|")} ${synopsis} -- ${description}\n`;
}

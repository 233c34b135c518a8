// A command line of the human monitor, taken apart as a command describes its arguments: docs/reference/monitor.md §5.

import { type ExpressionResult, readExpression } from "./expression.ts";
import { readSize } from "./size-literal.ts";

/** One argument of a command. A flag is `-` and a letter; a size without a unit is of MiB; a switch is the string `on` or `off`. */
export type HmpParameter =
  | { readonly kind: "flag"; readonly letter: string }
  | {
      readonly kind: "string" | "block-device" | "size" | "integer" | "switch";
      readonly name: string;
      readonly optional?: boolean;
    };

/** What was given: the letters of flags, strings, sizes in bytes and signed integers of 64 bits by name. */
export interface HmpArguments {
  readonly flags: ReadonlySet<string>;
  readonly strings: ReadonlyMap<string, string>;
  readonly sizes: ReadonlyMap<string, bigint>;
  readonly integers: ReadonlyMap<string, bigint>;
}

/** Why a line is none: what the monitor answers, and what QEMU prints on its standard output beside it. */
export interface HmpParseFailure {
  readonly problem: string;
  readonly printed: string;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", "\\": "\\", "'": "'", '"': '"' };

/** Reads a line from left to right. */
export class HmpReader {
  readonly #line: string;
  #at = 0;

  constructor(line: string) {
    this.#line = line;
  }

  /** What has been read, without blanks around it. */
  get consumed(): string {
    return this.#line.slice(0, this.#at).trim();
  }

  get atEnd(): boolean {
    this.skipBlanks();
    return this.#at === this.#line.length;
  }

  /** The name of a command. It ends at a blank or a slash. */
  readName(): string {
    this.skipBlanks();
    const start = this.#at;
    while (this.#at < this.#line.length && !/[\s/]/.test(this.#line[this.#at]!)) this.#at++;
    return this.#line.slice(start, this.#at);
  }

  skipBlanks(): void {
    while (this.#at < this.#line.length && /\s/.test(this.#line[this.#at]!)) this.#at++;
  }

  /** The letter after a hyphen that stands here. */
  peekFlag(): string | undefined {
    this.skipBlanks();
    return this.#line[this.#at] === "-" ? (this.#line[this.#at + 1] ?? "") : undefined;
  }

  skipFlag(): void {
    this.#at += 2;
  }

  /** A word, or text in double quotes with backslash escapes; or what is wrong with it. */
  readString(): { readonly text: string } | { readonly printed: string } {
    if (this.atEnd) return { printed: "" };
    if (this.#line[this.#at] === '"') return this.#readQuoted();
    const start = this.#at;
    while (this.#at < this.#line.length && !/\s/.test(this.#line[this.#at]!)) this.#at++;
    return { text: this.#line.slice(start, this.#at) };
  }

  /** A size in bytes; undefined where there is none. What follows it at once is left where it stands. */
  readSize(): bigint | undefined {
    this.skipBlanks();
    const size = readSize(this.#line.slice(this.#at), "m");
    if (size.kind !== "size") return undefined;
    this.#at = this.#line.length - size.rest.length;
    return size.bytes;
  }

  /** What follows it at once is left where it stands. */
  readInteger(): ExpressionResult {
    this.skipBlanks();
    const result = readExpression(this.#line.slice(this.#at));
    if (result.kind === "value") this.#at = this.#line.length - result.rest.length;
    return result;
  }

  #readQuoted(): { readonly text: string } | { readonly printed: string } {
    let text = "";
    for (this.#at++; this.#at < this.#line.length; this.#at++) {
      const char = this.#line[this.#at]!;
      if (char === '"') {
        this.#at++;
        return { text };
      }
      if (char !== "\\") {
        text += char;
        continue;
      }
      this.#at++;
      const letter = this.#line[this.#at] ?? "";
      if (!Object.hasOwn(ESCAPES, letter)) return { printed: `unsupported escape code: '\\${letter}'\n` };
      text += ESCAPES[letter]!;
    }
    return { printed: "unterminated string\n" };
  }
}

/** Reads what follows a command's name. `name` is the command's with its aliases, `quit|q`, as failures have it. */
export function parseHmpArguments(
  reader: HmpReader,
  name: string,
  parameters: readonly HmpParameter[],
): HmpArguments | HmpParseFailure {
  const flags = new Set<string>();
  const strings = new Map<string, string>();
  const sizes = new Map<string, bigint>();
  const integers = new Map<string, bigint>();
  for (const parameter of parameters) {
    if (parameter.kind === "flag") {
      const letter = reader.peekFlag();
      if (letter === undefined) continue;
      if (letter === parameter.letter) {
        flags.add(letter);
        reader.skipFlag();
      } else if (!parameters.some((other) => other.kind === "flag" && other.letter === letter)) {
        return { problem: `${name}: unsupported option -${letter}`, printed: "" };
      }
    } else if (parameter.optional === true && reader.atEnd) {
    } else if (parameter.kind === "size") {
      const size = reader.readSize();
      if (size === undefined) return { problem: "invalid size", printed: "" };
      sizes.set(parameter.name, size);
    } else if (parameter.kind === "integer") {
      const integer = reader.readInteger();
      if (integer.kind === "invalid") return { problem: integer.problem, printed: "" };
      integers.set(parameter.name, integer.value);
    } else if (parameter.kind === "switch") {
      const string = reader.readString();
      if (!("text" in string) || (string.text !== "on" && string.text !== "off"))
        return { problem: "Expected 'on' or 'off'", printed: "" };
      strings.set(parameter.name, string.text);
    } else {
      const string = reader.readString();
      const expected = parameter.kind === "string" ? "string" : "block device name";
      if ("printed" in string) return { problem: `${name}: ${expected} expected`, printed: string.printed };
      strings.set(parameter.name, string.text);
    }
  }
  if (!reader.atEnd) return { problem: `${name}: extraneous characters at the end of line`, printed: "" };
  return { flags, strings, sizes, integers };
}

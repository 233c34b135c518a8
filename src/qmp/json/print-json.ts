// Values as QMP prints them: docs/reference/monitor.md §1. ", " and ": " between things, ASCII alone.

import { assert } from "../../base/assert.ts";
import { formatDouble } from "./number-literal.ts";
import { isNoncharacter } from "./unicode.ts";
import { JsonDouble } from "./value.ts";

const INDENT = "    ";
const LINE_END = "\r\n";
const NAMED_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};
/** One character that is not printed as it is; a pair of surrogates is one. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is escaped.
const ESCAPED = /["\\\x00-\x1f\x7f]|[\ud800-\udbff][\udc00-\udfff]|[^\x00-\x7f]/g;

export interface PrintOptions {
  /** One member a line, with four spaces for each level: `-mon pretty=on`. */
  readonly pretty?: boolean;
}

/**
 * `value` as one message, without the end of its line. A member that is `undefined` is left out; numbers that are no integers are printed as
 * doubles. Objects may be plain ones. An `AssertionError` for what JSON has no form for.
 */
export function printJson(value: unknown, { pretty = false }: PrintOptions = {}): string {
  return print(value, pretty ? LINE_END : undefined);
}

/** `line`: the end of a line with the space before the next, or `undefined` where all stands in one line. */
function print(value: unknown, line: string | undefined): string {
  switch (typeof value) {
    case "string":
      return printString(value);
    case "number":
      return printNumber(value);
    case "bigint":
    case "boolean":
      return String(value);
    case "object":
      if (value === null) return "null";
      if (value instanceof JsonDouble) return formatDouble(value.value);
      if (Array.isArray(value))
        return enclose(
          "[",
          value.map((element) => print(element, indent(line))),
          "]",
          line,
        );
      return printObject(value, line);
    default:
      assert(false, `JSON has no ${typeof value}`);
  }
}

function printObject(object: object, line: string | undefined): string {
  const members: string[] = [];
  for (const [key, member] of Object.entries(object)) {
    if (member !== undefined) members.push(`${printString(key)}: ${print(member, indent(line))}`);
  }
  return enclose("{", members, "}", line);
}

function enclose(open: string, items: readonly string[], close: string, line: string | undefined): string {
  if (line === undefined) return `${open}${items.join(", ")}${close}`;
  return `${open}${items.map((item) => `${line}${INDENT}${item}`).join(",")}${line}${close}`;
}

function indent(line: string | undefined): string | undefined {
  return line === undefined ? undefined : line + INDENT;
}

function printNumber(value: number): string {
  if (Number.isSafeInteger(value)) return String(value + 0); // no "-0"
  // An integer that a double still holds exactly, such as 2^62, is printed as the integer that it is.
  if (Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 64) return String(BigInt(value));
  return formatDouble(value);
}

function printString(text: string): string {
  return `"${text.replace(ESCAPED, escapeCharacter)}"`;
}

function escapeCharacter(character: string): string {
  const named = NAMED_ESCAPES[character];
  if (named !== undefined) return named;
  if (isNoncharacter(character.codePointAt(0)!)) return "\\uFFFD";
  let escaped = "";
  for (let at = 0; at < character.length; at++)
    escaped += `\\u${character.charCodeAt(at).toString(16).toUpperCase().padStart(4, "0")}`;
  return escaped;
}

// Options and numbers of qemu-io's commands: docs/reference/monitor.md §5.1.

import { IoRefusal, IoUsage, MAX_REQUEST_BYTES } from "./qemu-io-command.ts";
import { readSize } from "./size-literal.ts";

const NUMBER = /^([+-]?)(?:0x([0-9a-f]+)|(\d+))$/i;

/** The options that were given, the last of each letter, and the words that are none. */
export interface IoOptions {
  has(letter: string): boolean;
  readonly operands: readonly string[];
}

/**
 * Reads options as getopt does: anywhere among the words, up to a `--`, several letters in a word, an argument in the same word or
 * the next. `letters` is as getopt's, `"Cqp:"`, with a colon after those that take an argument. `option` hears of each at once, in
 * order, and may throw.
 */
export function readOptions(
  words: readonly string[],
  letters: string,
  complain: (text: string) => void,
  option: (letter: string, value: string) => void = () => {},
): IoOptions {
  const name = words[0]!;
  const given = new Set<string>();
  const operands: string[] = [];
  for (let i = 1; i < words.length; i++) {
    const word = words[i]!;
    if (word === "--") {
      operands.push(...words.slice(i + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      operands.push(word);
      continue;
    }
    for (let at = 1; at < word.length; at++) {
      const letter = word[at]!;
      const known = letter === ":" ? -1 : letters.indexOf(letter);
      if (known < 0) {
        complain(`${name}: invalid option -- '${letter}'\n`);
        throw new IoUsage();
      }
      given.add(letter);
      if (letters[known + 1] !== ":") {
        option(letter, "");
        continue;
      }
      const value = at + 1 < word.length ? word.slice(at + 1) : words[++i];
      if (value === undefined) {
        complain(`${name}: option requires an argument -- '${letter}'\n`);
        throw new IoUsage();
      }
      option(letter, value);
      break;
    }
  }
  return { has: (letter) => given.has(letter), operands };
}

/** An offset or a length in bytes. Beyond 2^53 it is not exact; no disk is as long. */
export function parseSize(text: string): number {
  const size = readSize(text, "b");
  if (size.kind === "too-large") throw new IoRefusal(`Parsing error: argument too large -- ${text}`);
  if (size.kind === "not-a-size" || size.rest !== "")
    throw new IoRefusal(`Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- ${text}`);
  return Number(size.bytes);
}

/** A byte, as C writes numbers: decimal, 0x41, 0101. */
export function parsePattern(text: string): number {
  const value = parseCNumber(text);
  if (value === undefined || value < 0n || value > 255n) throw new IoRefusal(`${text} is not a valid pattern byte`);
  return Number(value);
}

/** A number as C's strtol reads it with base 0; undefined for what is none. */
export function parseCNumber(text: string): bigint | undefined {
  const match = NUMBER.exec(text);
  if (match === null) return undefined;
  const [, sign, hex, digits = ""] = match;
  const octal = hex === undefined && digits.length > 1 && digits.startsWith("0");
  if (octal && /[89]/.test(digits)) return undefined;
  const magnitude = BigInt(hex !== undefined ? `0x${hex}` : octal ? `0o${digits}` : digits);
  return sign === "-" ? -magnitude : magnitude;
}

/** The lengths of a request's parts, in bytes, together. */
export function parseLengths(texts: readonly string[]): number {
  let total = 0;
  for (const text of texts) {
    const length = parseSize(text);
    if (length > MAX_REQUEST_BYTES) throw new IoRefusal(`Argument '${text}' exceeds maximum size ${MAX_REQUEST_BYTES}`);
    if (length > MAX_REQUEST_BYTES - total)
      throw new IoRefusal(`The total number of bytes exceed the maximum size ${MAX_REQUEST_BYTES}`);
    total += length;
  }
  return total;
}

/** `-b` and `-c` work on whole sectors. */
export function checkSectors(offset: number, count: number): void {
  for (const [value, what] of [
    [offset, "offset"],
    [count, "count"],
  ] as const) {
    if (value % 512 !== 0) throw new IoRefusal(`${value} is not a sector-aligned value for '${what}'`);
  }
}

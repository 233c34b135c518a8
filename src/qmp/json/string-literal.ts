// A string token's escapes and encoding: docs/reference/corrections.md §1.D, and the texts of what is wrong with them.

import { decodeUtf8, decodeUtf8Lossy, isNoncharacter } from "./unicode.ts";

const BACKSLASH = 0x5c;
const LOWER_U = 0x75;

/** What stands for itself or one character behind a backslash. Both quotes may be escaped in a string of either. */
const SIMPLE_ESCAPES: ReadonlyMap<number, number> = new Map([
  [0x22, 0x22], // "
  [0x27, 0x27], // '
  [BACKSLASH, BACKSLASH],
  [0x2f, 0x2f], // /
  [0x62, 0x08], // b
  [0x66, 0x0c], // f
  [0x6e, 0x0a], // n
  [0x72, 0x0d], // r
  [0x74, 0x09], // t
]);

/** A string's text, or why it is none, as QEMU says it behind `JSON parse error, `. */
export type StringLiteral = { readonly text: string } | { readonly error: string };

/** Reads a string token, quotes included. */
export function readStringLiteral(token: Uint8Array): StringLiteral {
  const end = token.length - 1;
  let text = "";
  let at = 1;
  while (at < end) {
    let run = token.indexOf(BACKSLASH, at);
    if (run === -1 || run > end) run = end;
    const plain = decodeUtf8(token.subarray(at, run));
    // Whichever comes first is what is reported.
    if (plain === undefined) return { error: "invalid UTF-8 sequence in string" };
    text += plain;
    if (run === end) break;
    const behind = token[run + 1]!;
    if (behind === LOWER_U) {
      const unicode = readUnicodeEscape(token, run);
      if (unicode === undefined) return { error: `${quoteEscape(token, run)} is not a valid Unicode character` };
      text += String.fromCodePoint(unicode);
      at = run + (unicode >= 0x10000 ? 12 : 6);
    } else {
      const character = SIMPLE_ESCAPES.get(behind);
      if (character === undefined) return { error: "invalid escape sequence in string" };
      text += String.fromCharCode(character);
      at = run + 2;
    }
  }
  return { text };
}

/** The code point of `\uXXXX` or of a pair of surrogates at `at`, or `undefined` if it is none. */
function readUnicodeEscape(token: Uint8Array, at: number): number | undefined {
  const unit = readHex4(token, at + 2);
  if (unit === undefined) return undefined;
  let codePoint = unit;
  if (isHighSurrogate(unit)) {
    const low = readLowSurrogate(token, at + 6);
    if (low === undefined) return undefined;
    codePoint = 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
  }
  return isNoncharacter(codePoint) ? undefined : codePoint;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function readLowSurrogate(token: Uint8Array, at: number): number | undefined {
  if (token[at] !== BACKSLASH || token[at + 1] !== LOWER_U) return undefined;
  const unit = readHex4(token, at + 2);
  return unit !== undefined && unit >= 0xdc00 && unit <= 0xdfff ? unit : undefined;
}

function readHex4(token: Uint8Array, at: number): number | undefined {
  const digits = String.fromCharCode(...token.subarray(at, at + 4));
  return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : undefined;
}

/** The escape as it is shown: its six bytes, or all twelve of a pair that makes no character. The closing quote may be among them. */
function quoteEscape(token: Uint8Array, at: number): string {
  const unit = readHex4(token, at + 2);
  const pair = unit !== undefined && isHighSurrogate(unit) && readLowSurrogate(token, at + 6) !== undefined;
  return decodeUtf8Lossy(token.subarray(at, at + (pair ? 12 : 6)));
}

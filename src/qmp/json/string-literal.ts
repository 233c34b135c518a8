// A string token's escapes and encoding: docs/reference/corrections.md §1.D, and the texts of what is wrong with them.

import { decodeCharacter, decoded, decodeUtf8Lossy, isNoncharacter, TextBuilder } from "./unicode.ts";

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

const builder = new TextBuilder();

/** Reads a string token, quotes included. Of several mistakes the first is told. */
export function readStringLiteral(token: Uint8Array): StringLiteral {
  const error = build(token);
  const text = builder.take();
  return error === undefined ? { text } : { error };
}

/** Puts the text into `builder`, up to the first mistake, which it returns. */
function build(token: Uint8Array): string | undefined {
  const end = token.length - 1;
  let at = 1;
  while (at < end) {
    const byte = token[at]!;
    if (byte === BACKSLASH) {
      const behind = token[at + 1]!;
      const character = behind === LOWER_U ? readUnicodeEscape(token, at) : SIMPLE_ESCAPES.get(behind);
      if (character === undefined) {
        if (behind !== LOWER_U) return "invalid escape sequence in string";
        return `${quoteEscape(token, at)} is not a valid Unicode character`;
      }
      builder.append(character);
      if (behind !== LOWER_U) at += 2;
      else at += character >= 0x10000 ? 12 : 6;
    } else if (byte < 0x80) {
      builder.append(byte);
      at++;
    } else {
      decodeCharacter(token, at);
      if (decoded.codePoint < 0) return "invalid UTF-8 sequence in string";
      builder.append(decoded.codePoint);
      at += decoded.length;
    }
  }
  return undefined;
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
  let value = 0;
  for (let i = at; i < at + 4; i++) {
    const digit = hexDigit(token[i] ?? 0);
    if (digit === -1) return undefined;
    value = value * 16 + digit;
  }
  return value;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** The escape as it is shown: its six bytes, or all twelve of a pair that makes no character. The closing quote may be among them. */
function quoteEscape(token: Uint8Array, at: number): string {
  const unit = readHex4(token, at + 2);
  const pair = unit !== undefined && isHighSurrogate(unit) && readLowSurrogate(token, at + 6) !== undefined;
  return decodeUtf8Lossy(token.subarray(at, at + (pair ? 12 : 6)));
}

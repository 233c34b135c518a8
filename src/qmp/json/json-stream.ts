// A stream of JSON values with nothing between them, as a monitor reads it: docs/reference/monitor.md §1.2, corrections.md §1.D.

import { JsonBuilder } from "./builder.ts";
import { JsonLexer, type TokenKind } from "./lexer.ts";
import { decodeUtf8Lossy } from "./unicode.ts";
import type { JsonValue } from "./value.ts";

/** One value, or what QEMU says about a part of the input that is none. */
export type JsonItem = { readonly value: JsonValue } | { readonly error: string };

export interface JsonLimits {
  /** Braces and brackets open at a time. */
  readonly depth: number;
  /** Tokens of one value. */
  readonly tokens: number;
  /** Bytes of all tokens of one value. */
  readonly tokenBytes: number;
}

/** QEMU's limits. */
const QEMU_LIMITS: JsonLimits = { depth: 1024, tokens: 2 << 20, tokenBytes: 64 << 20 };

/**
 * Reads values from bytes that come in any pieces: `push` a piece, then call `next` until it has no more. A value is over when as many
 * braces and brackets have been closed as opened, or when more have: mistakes within are reported then, one for each value, and a stray
 * character or a limit at once. What is left of a value that was given up is read as values of their own.
 */
export class JsonStream {
  readonly #limits: JsonLimits;
  readonly #lexer: JsonLexer;
  #builder = new JsonBuilder();
  #braces = 0;
  #brackets = 0;
  #tokens = 0;
  #tokenBytes = 0;

  constructor(limits: JsonLimits = QEMU_LIMITS) {
    this.#limits = limits;
    this.#lexer = new JsonLexer(limits.tokenBytes);
  }

  /** Adds input. `next` must have said that there is no more in what was pushed before. */
  push(bytes: Uint8Array): void {
    this.#lexer.push(bytes);
  }

  /** The next value or error, or `undefined` if more input is needed for it. */
  next(): JsonItem | undefined {
    for (;;) {
      const kind = this.#lexer.next();
      if (kind === undefined) return undefined;
      const item = this.#add(kind);
      if (item !== undefined) return item;
    }
  }

  /** What the end of the input makes of what is left, after `next` has no more: at most two items. */
  finish(): JsonItem[] {
    const items: JsonItem[] = [];
    const kind = this.#lexer.finish();
    const last = kind === undefined ? undefined : this.#add(kind);
    if (last !== undefined) items.push(last);
    if (this.#tokens > 0) {
      this.#builder.finish();
      items.push(this.#finishValue());
    }
    return items;
  }

  #add(kind: TokenKind): JsonItem | undefined {
    const { length, token } = this.#lexer;
    if (kind === "stray") return this.#giveUp(`JSON parse error, stray '${showStray(token)}'`);
    if (kind === "overlong" || this.#tokenBytes + length >= this.#limits.tokenBytes)
      return this.#giveUp("JSON token size limit exceeded");
    if (this.#tokens >= this.#limits.tokens) return this.#giveUp("JSON token count limit exceeded");
    this.#count(kind);
    if (this.#braces + this.#brackets > this.#limits.depth) return this.#giveUp("JSON nesting depth limit exceeded");
    this.#tokens++;
    this.#tokenBytes += length;
    this.#builder.add(kind, token);
    const over = this.#braces < 0 || this.#brackets < 0 || (this.#braces === 0 && this.#brackets === 0);
    return over ? this.#finishValue() : undefined;
  }

  #count(kind: TokenKind): void {
    if (kind === "{") this.#braces++;
    else if (kind === "}") this.#braces--;
    else if (kind === "[") this.#brackets++;
    else if (kind === "]") this.#brackets--;
  }

  #finishValue(): JsonItem {
    const { error, value } = this.#builder;
    this.#reset();
    return value === undefined ? { error: `JSON parse error, ${error}` } : { value };
  }

  #giveUp(error: string): JsonItem {
    this.#reset();
    return { error };
  }

  #reset(): void {
    this.#builder = new JsonBuilder();
    this.#braces = 0;
    this.#brackets = 0;
    this.#tokens = 0;
    this.#tokenBytes = 0;
  }
}

/** A text that a C program would print of the bytes: up to the first zero. */
function showStray(token: Uint8Array): string {
  const end = token.indexOf(0);
  return decodeUtf8Lossy(end === -1 ? token : token.subarray(0, end));
}

// Tokens to one JSON value, as they come, with the first thing that is wrong with them: docs/reference/corrections.md §1.D.

import { assert } from "../../base/assert.ts";
import type { TokenKind } from "./lexer.ts";
import { readInteger } from "./number-literal.ts";
import { readStringLiteral } from "./string-literal.ts";
import { decodeUtf8Lossy } from "./unicode.ts";
import { JsonDouble, type JsonObject, type JsonValue } from "./value.ts";

const KEYWORDS: ReadonlyMap<string, JsonValue> = new Map<string, JsonValue>([
  ["true", true],
  ["false", false],
  ["null", null],
]);

/**
 * What the innermost list or object that is still open waits for:
 *
 *   list:    first ──value──▶ separator ──","──▶ value ──value──▶ separator …
 *   object:  first ──key──▶ colon ──":"──▶ member ──value──▶ separator ──","──▶ key ──key──▶ colon …
 */
type Expectation = "first" | "value" | "key" | "colon" | "member" | "separator";

interface Open {
  readonly list: JsonValue[] | undefined;
  readonly object: JsonObject | undefined;
  expects: Expectation;
  key: string;
}

/**
 * Builds a value from tokens. Any value may stand where a key should, and is only refused once it is complete: so it is with QEMU.
 * After the first error the rest is not looked at.
 */
export class JsonBuilder {
  /** Why the tokens are no value, or `undefined` so far. */
  error: string | undefined;
  readonly #open: Open[] = [];
  #value: JsonValue | undefined;

  /** The value, once it is complete. */
  get value(): JsonValue | undefined {
    return this.error === undefined ? this.#value : undefined;
  }

  add(kind: TokenKind, token: Uint8Array): void {
    if (this.error !== undefined) return;
    const open = this.#open.at(-1);
    if (open === undefined) {
      assert(this.#value === undefined, "the value is complete");
      this.#begin(kind, token);
      return;
    }
    switch (open.expects) {
      case "first":
        if (kind === (open.list === undefined ? "}" : "]")) this.#close();
        else this.#begin(kind, token);
        return;
      case "value":
      case "key":
      case "member":
        this.#begin(kind, token);
        return;
      case "colon":
        if (kind === ":") open.expects = "member";
        else this.error = "missing : in object pair";
        return;
      case "separator":
        this.#separate(open, kind);
        return;
    }
  }

  /** Says that there are no more tokens. */
  finish(): void {
    if (this.error === undefined && this.#value === undefined) this.error = "premature EOI";
  }

  #separate(open: Open, kind: TokenKind): void {
    if (open.list !== undefined) {
      if (kind === ",") open.expects = "value";
      else if (kind === "]") this.#close();
      else this.error = "expected separator in list";
    } else if (kind === ",") {
      open.expects = "key";
    } else if (kind === "}") {
      this.#close();
    } else {
      this.error = "expected separator in dict";
    }
  }

  #begin(kind: TokenKind, token: Uint8Array): void {
    switch (kind) {
      case "{":
        this.#open.push({ list: undefined, object: Object.create(null), expects: "first", key: "" });
        return;
      case "[":
        this.#open.push({ list: [], object: undefined, expects: "first", key: "" });
        return;
      case "string":
        this.#string(token);
        return;
      case "integer":
        this.#complete(readInteger(decodeUtf8Lossy(token)));
        return;
      case "float":
        this.#complete(new JsonDouble(Number(decodeUtf8Lossy(token))));
        return;
      case "keyword":
        this.#keyword(decodeUtf8Lossy(token));
        return;
      default:
        this.error = "expecting value";
    }
  }

  #string(token: Uint8Array): void {
    const literal = readStringLiteral(token);
    if ("error" in literal) this.error = literal.error;
    else this.#complete(literal.text);
  }

  #keyword(word: string): void {
    const value = KEYWORDS.get(word);
    if (value === undefined) this.error = `invalid keyword '${word}'`;
    else this.#complete(value);
  }

  #close(): void {
    const { list, object } = this.#open.pop()!;
    this.#complete(list ?? object!);
  }

  /** A value is complete: puts it where it belongs. */
  #complete(value: JsonValue): void {
    const open = this.#open.at(-1);
    if (open === undefined) {
      this.#value = value;
    } else if (open.list !== undefined) {
      open.list.push(value);
      open.expects = "separator";
    } else if (open.expects === "member") {
      this.#member(open.object!, open.key, value);
      open.expects = "separator";
    } else if (typeof value === "string") {
      open.key = value;
      open.expects = "colon";
    } else {
      this.error = "key is not a string in object";
    }
  }

  #member(object: JsonObject, key: string, value: JsonValue): void {
    if (key in object) this.error = "duplicate key";
    else object[key] = value;
  }
}

// Lines out of a stream of bytes, of which each piece may end anywhere.

import { Buffer } from "node:buffer";

/** A line that is longer than the buffer holds: it has been dropped. */
export const OVERLONG_LINE: unique symbol = Symbol("overlong line");

/** Characters of a line are its bytes, one by one (Latin-1). */
export class LineBuffer {
  readonly #maxLineBytes: number;
  /** The line that has begun, as far as it is here. */
  #begun: string[] = [];
  #begunBytes = 0;
  #overlong = false;
  #text = "";
  #at = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** Takes bytes in. All lines before have to be out. */
  push(bytes: Uint8Array): void {
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    this.#at = 0;
  }

  /** The next line, without its end; undefined when the rest has no end yet. */
  next(): string | typeof OVERLONG_LINE | undefined {
    const end = this.#text.indexOf("\n", this.#at);
    if (end < 0) {
      this.#keep(this.#text.slice(this.#at));
      this.#text = "";
      this.#at = 0;
      return undefined;
    }
    const rest = this.#text.slice(this.#at, end);
    this.#at = end + 1;
    if (this.#begun.length === 0 && !this.#overlong) return rest;
    this.#keep(rest);
    const line = this.#overlong ? OVERLONG_LINE : this.#begun.join("");
    this.#drop();
    this.#overlong = false;
    return line;
  }

  #keep(text: string): void {
    if (text === "" || this.#overlong) return;
    this.#begun.push(text);
    this.#begunBytes += text.length;
    if (this.#begunBytes <= this.#maxLineBytes) return;
    this.#drop();
    this.#overlong = true;
  }

  #drop(): void {
    this.#begun = [];
    this.#begunBytes = 0;
  }
}

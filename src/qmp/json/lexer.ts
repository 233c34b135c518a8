// Bytes to tokens of QMP's JSON dialect, byte by byte, so that they may arrive in any pieces: docs/reference/corrections.md §1.D.

/** What a token is. A structural one is its own character. */
export type TokenKind =
  | "{"
  | "}"
  | "["
  | "]"
  | ":"
  | ","
  | "string"
  | "integer"
  | "float"
  | "keyword"
  | "stray"
  | "overlong";

type State =
  | "start"
  | "recovery"
  | "double-quoted"
  | "double-quoted-escape"
  | "single-quoted"
  | "single-quoted-escape"
  | "minus"
  | "zero"
  | "digits"
  | "point"
  | "fraction"
  | "exponent"
  | "exponent-sign"
  | "exponent-digits"
  | "keyword";

const TAB = 0x09;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const DOUBLE_QUOTE = 0x22;
const SINGLE_QUOTE = 0x27;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const ZERO = 0x30;
/** No byte of UTF-8, old or new, is as high as this. */
const FIRST_IMPOSSIBLE = 0xfe;

const STRUCTURAL: ReadonlyMap<number, TokenKind> = new Map(
  (["{", "}", "[", "]", ":", ","] as const).map((kind) => [kind.charCodeAt(0), kind]),
);

/** What a token is when the byte behind it belongs to it no more. */
const KIND_AT_END: Partial<Record<State, TokenKind>> = {
  zero: "integer",
  digits: "integer",
  fraction: "float",
  "exponent-digits": "float",
  keyword: "keyword",
};

const MIN_CAPACITY = 1024;
/** A buffer that has grown beyond this for one long token is let go with it. */
const MAX_IDLE_CAPACITY = 1 << 16;

/**
 * Cuts a stream of bytes into tokens. `push` bytes, then call `next` until it has no more.
 *
 * A byte that fits nowhere ends the token before it if that may end there; otherwise both are "stray", and what follows is skipped up to
 * a structural character, a control character other than a tab, or a byte that is never text. So a broken message rarely takes the next
 * one with it. A token that grows beyond the limit is given up where it does, and what follows begins a new one.
 */
export class JsonLexer {
  /** Bytes of the token that `next` has found. */
  length = 0;
  readonly #maxLength: number;
  #buffer: Uint8Array;
  #input: Uint8Array = new Uint8Array(0);
  #at = 0;
  #state: State = "start";

  /** `maxLength`: bytes that a token may have. */
  constructor(maxLength: number) {
    this.#maxLength = maxLength;
    this.#buffer = new Uint8Array(MIN_CAPACITY);
  }

  /** The bytes of the token that `next` has found. Valid until `next`. */
  get token(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  /** Adds input. All that was pushed before must have been consumed. */
  push(bytes: Uint8Array): void {
    this.#input = bytes;
    this.#at = 0;
  }

  /** The next token, or `undefined` if more input is needed for it. */
  next(): TokenKind | undefined {
    if (this.#state === "start") this.#clear();
    while (this.#at < this.#input.length) {
      const found = this.#step(this.#input[this.#at]!);
      if (found !== undefined) return found;
      if (this.length > this.#maxLength) return this.#end("overlong");
    }
    return undefined;
  }

  /** The last token, of an input that ends here, or `undefined` if none had begun. */
  finish(): TokenKind | undefined {
    const state = this.#state;
    if (state === "start" || state === "recovery") return undefined;
    this.#state = "start";
    return KIND_AT_END[state] ?? "stray";
  }

  #clear(): void {
    this.length = 0;
    if (this.#buffer.length > MAX_IDLE_CAPACITY) this.#buffer = new Uint8Array(MIN_CAPACITY);
  }

  /** Takes the byte in, or leaves it where it is for the next token. */
  #step(byte: number): TokenKind | undefined {
    switch (this.#state) {
      case "start":
        return this.#start(byte);
      case "recovery":
        if (endsRecovery(byte)) this.#state = "start";
        else this.#at++;
        return undefined;
      case "double-quoted":
        return this.#inString(byte, DOUBLE_QUOTE, "double-quoted-escape");
      case "single-quoted":
        return this.#inString(byte, SINGLE_QUOTE, "single-quoted-escape");
      case "double-quoted-escape":
        return this.#escaped(byte, "double-quoted");
      case "single-quoted-escape":
        return this.#escaped(byte, "single-quoted");
      case "minus":
        if (isDigit(byte)) return this.#take(byte, byte === ZERO ? "zero" : "digits");
        return this.#stray(byte);
      case "zero":
        if (isDigit(byte)) return this.#stray(byte);
        return byte === 0x2e ? this.#take(byte, "point") : this.#end("integer");
      case "digits":
        if (isDigit(byte)) return this.#take(byte, "digits");
        if (byte === 0x2e) return this.#take(byte, "point");
        return isExponentMark(byte) ? this.#take(byte, "exponent") : this.#end("integer");
      case "point":
        return isDigit(byte) ? this.#take(byte, "fraction") : this.#stray(byte);
      case "fraction":
        if (isDigit(byte)) return this.#take(byte, "fraction");
        return isExponentMark(byte) ? this.#take(byte, "exponent") : this.#end("float");
      case "exponent":
        if (byte === 0x2b || byte === MINUS) return this.#take(byte, "exponent-sign");
        return isDigit(byte) ? this.#take(byte, "exponent-digits") : this.#stray(byte);
      case "exponent-sign":
        return isDigit(byte) ? this.#take(byte, "exponent-digits") : this.#stray(byte);
      case "exponent-digits":
        return isDigit(byte) ? this.#take(byte, "exponent-digits") : this.#end("float");
      case "keyword":
        return isLowerCase(byte) ? this.#take(byte, "keyword") : this.#end("keyword");
    }
  }

  #start(byte: number): TokenKind | undefined {
    this.#clear();
    if (byte === SPACE || byte === NEWLINE || byte === CARRIAGE_RETURN || byte === TAB) {
      this.#at++;
      return undefined;
    }
    const structural = STRUCTURAL.get(byte);
    if (structural !== undefined) {
      this.#append(byte);
      return structural;
    }
    if (byte === DOUBLE_QUOTE) return this.#take(byte, "double-quoted");
    if (byte === SINGLE_QUOTE) return this.#take(byte, "single-quoted");
    if (byte === MINUS) return this.#take(byte, "minus");
    if (byte === ZERO) return this.#take(byte, "zero");
    if (isDigit(byte)) return this.#take(byte, "digits");
    if (isLowerCase(byte)) return this.#take(byte, "keyword");
    return this.#stray(byte);
  }

  #inString(byte: number, quote: number, escaped: State): TokenKind | undefined {
    if (byte === quote) return this.#finishString(byte);
    if (byte === BACKSLASH) return this.#take(byte, escaped);
    if (byte < SPACE || byte >= FIRST_IMPOSSIBLE) return this.#stray(byte);
    this.#appendText(quote);
    return undefined;
  }

  /** Takes all in that is plainly text, up to what has to be looked at: long strings are most of a long input. */
  #appendText(quote: number): void {
    const input = this.#input;
    let end = this.#at;
    for (; end < input.length; end++) {
      const byte = input[end]!;
      if (byte === quote || byte === BACKSLASH || byte < SPACE || byte >= FIRST_IMPOSSIBLE) break;
    }
    end = Math.min(end, this.#at + this.#maxLength + 1 - this.length);
    const length = this.length + end - this.#at;
    while (length > this.#buffer.length) this.#grow();
    this.#buffer.set(input.subarray(this.#at, end), this.length);
    this.length = length;
    this.#at = end;
  }

  /** Whatever stands behind a backslash is looked at when the token is complete. */
  #escaped(byte: number, state: State): TokenKind | undefined {
    return byte < SPACE || byte >= FIRST_IMPOSSIBLE ? this.#stray(byte) : this.#take(byte, state);
  }

  #finishString(byte: number): TokenKind {
    this.#append(byte);
    this.#state = "start";
    return "string";
  }

  #take(byte: number, state: State): undefined {
    this.#append(byte);
    this.#state = state;
  }

  #end(kind: TokenKind): TokenKind {
    this.#state = "start";
    return kind;
  }

  #stray(byte: number): TokenKind {
    this.#append(byte);
    this.#state = "recovery";
    return "stray";
  }

  #append(byte: number): void {
    this.#at++;
    if (this.length === this.#buffer.length) this.#grow();
    this.#buffer[this.length++] = byte;
  }

  #grow(): void {
    const larger = new Uint8Array(this.#buffer.length * 2);
    larger.set(this.#buffer);
    this.#buffer = larger;
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isLowerCase(byte: number): boolean {
  return byte >= 0x61 && byte <= 0x7a;
}

function isExponentMark(byte: number): boolean {
  return byte === 0x65 || byte === 0x45;
}

function endsRecovery(byte: number): boolean {
  return STRUCTURAL.has(byte) || (byte < SPACE && byte !== TAB) || byte >= FIRST_IMPOSSIBLE;
}

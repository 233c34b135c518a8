// Integers as the human monitor takes them: expressions of 64 bits, as QEMU 7.2's monitor was seen to work them out.

/** How far parentheses and signs may be nested. */
const MAX_DEPTH = 100;
const LITERAL = /^(?:0x[0-9a-f]+|0[0-7]*|[1-9]\d*)/i;
const MAX_UINT64 = (1n << 64n) - 1n;

/** What an expression comes to, as a signed number of 64 bits, and what follows it; or what is wrong with it. */
export type ExpressionResult =
  | { readonly kind: "value"; readonly value: bigint; readonly rest: string }
  | { readonly kind: "invalid"; readonly problem: string };

class ExpressionError extends Error {}

/**
 * Reads an expression at the beginning of `text`: decimal, octal (`010`), hexadecimal and characters (`'a'`); from the weakest to
 * the strongest `+` and `-`; `&`, `|` and `^`; `*`, `/` and `%`; signs and `~`. It ends where nothing more fits.
 */
export function readExpression(text: string): ExpressionResult {
  const reader = new Reader(text);
  try {
    return { kind: "value", value: reader.sum(), rest: reader.rest };
  } catch (error) {
    if (error instanceof ExpressionError) return { kind: "invalid", problem: error.message };
    throw error;
  }
}

class Reader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get rest(): string {
    return this.#text.slice(this.#at);
  }

  sum(): bigint {
    let value = this.#logic();
    for (let sign = this.#take("+-"); sign !== ""; sign = this.#take("+-")) {
      const other = this.#logic();
      value = signed(sign === "+" ? value + other : value - other);
    }
    return value;
  }

  #logic(): bigint {
    let value = this.#product();
    for (let operator = this.#take("&|^"); operator !== ""; operator = this.#take("&|^")) {
      const other = this.#product();
      value = operator === "&" ? value & other : operator === "|" ? value | other : value ^ other;
    }
    return value;
  }

  #product(): bigint {
    let value = this.#unary();
    for (let operator = this.#take("*/%"); operator !== ""; operator = this.#take("*/%")) {
      const other = this.#unary();
      if (operator !== "*" && other === 0n) throw new ExpressionError("division by zero");
      value = signed(operator === "*" ? value * other : operator === "/" ? value / other : value % other);
    }
    return value;
  }

  #unary(): bigint {
    if (++this.#depth > MAX_DEPTH) throw new ExpressionError("expression too deep");
    const value = this.#unaryAt(this.#take("+-~("));
    this.#depth--;
    return value;
  }

  #unaryAt(operator: string): bigint {
    if (operator === "") return this.#operand();
    if (operator === "(") {
      const value = this.sum();
      if (this.#take(")") === "") throw new ExpressionError("')' expected");
      return value;
    }
    const value = this.#unary();
    return operator === "+" ? value : signed(operator === "-" ? -value : ~value);
  }

  #operand(): bigint {
    const char = this.#text[this.#at];
    if (char === undefined) throw new ExpressionError("unexpected end of expression");
    if (char === "$") throw new ExpressionError("unknown register");
    if (char === "'") return this.#character();
    const literal = LITERAL.exec(this.rest)?.[0];
    if (literal === undefined) throw new ExpressionError(`invalid char '${char}' in expression`);
    this.#at += literal.length;
    this.#skipBlanks();
    // Longer ones are too large whatever they are, and costly to convert.
    const digits = literal.replace(/^0x0*|^0+/i, "");
    const isOctal = /^0\d/.test(literal);
    const value = digits.length > 22 ? MAX_UINT64 + 1n : BigInt(isOctal ? `0o${digits || "0"}` : literal);
    if (value > MAX_UINT64) throw new ExpressionError("number too large");
    return signed(value);
  }

  #character(): bigint {
    const char = this.#text[this.#at + 1];
    if (char === undefined) throw new ExpressionError("character constant expected");
    if (this.#text[this.#at + 2] !== "'") throw new ExpressionError("missing terminating ' character");
    this.#at += 3;
    this.#skipBlanks();
    return BigInt(char.charCodeAt(0));
  }

  /** One of these characters, if it stands here; else "". */
  #take(characters: string): string {
    this.#skipBlanks();
    const char = this.#text[this.#at];
    if (char === undefined || !characters.includes(char)) return "";
    this.#at++;
    this.#skipBlanks();
    return char;
  }

  #skipBlanks(): void {
    while (this.#at < this.#text.length && /\s/.test(this.#text[this.#at]!)) this.#at++;
  }
}

function signed(value: bigint): bigint {
  return BigInt.asIntN(64, value);
}

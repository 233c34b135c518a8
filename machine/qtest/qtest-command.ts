// What a qtest command is, and how its words are read: docs/reference/monitor.md §7.

/**
 * Carries a command out and returns its answer, without the line's end. `words[0]` is the command's own name. A `MalformedCommandError`
 * where QEMU would end itself: words are missing, or are no numbers.
 */
export type QtestCommand = (words: readonly string[]) => string;

/** Commands by name. Names are case-sensitive. */
export type QtestCommands = Readonly<Record<string, QtestCommand>>;

/** A command whose words cannot be read. QEMU aborts here; this server answers FAIL with the message. */
export class MalformedCommandError extends Error {
  override readonly name: string = "MalformedCommandError";
}

const HEXADECIMAL = /^0[xX][0-9a-fA-F]{1,13}$/;
const DECIMAL = /^(?:0|[1-9][0-9]{0,14})$/;
/** What strtoull takes with base 0, as a whole word: white space before it, a sign, hexadecimal, octal or decimal digits. */
const NUMBER = /^[\t\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|0([0-7]*)|([1-9][0-9]*))$/;
const MAX_DIGITS = 64;
const MODULUS = 1n << 64n;

/** Word `index`, which has to be there. */
export function wordAt(words: readonly string[], index: number): string {
  const word = words[index];
  if (word === undefined) throw new MalformedCommandError(`${words[0]}: argument ${index} is missing`);
  return word;
}

/** Word `index` as a number of 64 bits; a negative one wraps. */
export function unsignedAt(words: readonly string[], index: number): bigint {
  const word = wordAt(words, index);
  const match = word.length > MAX_DIGITS ? null : NUMBER.exec(word);
  if (match === null) throw new MalformedCommandError(`${words[0]}: argument ${index} is not a number`);
  const [, sign, hex, octal, decimal] = match;
  const magnitude = BigInt(decimal ?? (hex === undefined ? `0o0${octal ?? ""}` : `0x${hex}`));
  if (magnitude >= MODULUS) throw new MalformedCommandError(`${words[0]}: argument ${index} has more than 64 bits`);
  return sign === "-" ? BigInt.asUintN(64, -magnitude) : magnitude;
}

/** The same as an address or a length, which may be rounded from 2^53 on, where nothing is. */
export function addressAt(words: readonly string[], index: number): number {
  const word = wordAt(words, index);
  if (HEXADECIMAL.test(word) || DECIMAL.test(word)) return Number(word);
  return Number(unsignedAt(words, index));
}

/** The low 32 bits of word `index`. */
export function uint32At(words: readonly string[], index: number): number {
  const value = addressAt(words, index);
  return value <= 0xffff_ffff ? value : Number(unsignedAt(words, index) & 0xffff_ffffn);
}

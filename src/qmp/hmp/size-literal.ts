// Sizes as users type them to the monitor and to qemu-io: docs/reference/monitor.md §5, §5.1.

/** Bytes per unit letter. */
const UNITS: Readonly<Record<string, bigint>> = {
  b: 1n,
  k: 1n << 10n,
  m: 1n << 20n,
  g: 1n << 30n,
  t: 1n << 40n,
  p: 1n << 50n,
  e: 1n << 60n,
};
const MAX_INT64 = (1n << 63n) - 1n;
/** Digits of a fraction that count: more than a byte of the largest unit needs. */
const FRACTION_DIGITS = 20;
const LITERAL = /^\+?(?:0x([0-9a-f]+)|(\d+)(?:\.(\d*))?)(?![.\d])/i;

/** A size, or what is wrong with it. `rest` is what follows it in the text. */
export type SizeLiteral =
  | { readonly kind: "size"; readonly bytes: bigint; readonly rest: string }
  | { readonly kind: "not-a-size" }
  | { readonly kind: "too-large" };

/**
 * Reads a size at the beginning of `text`: decimal with an optional fraction, or hexadecimal, then an optional unit of k, M, G, T,
 * P, E (powers of 1024, either case) or b. Without one the number is of `defaultUnit`. A fraction of a byte is none where the unit
 * is the byte, and is cut off otherwise. The largest is 2^63 - 1.
 */
export function readSize(text: string, defaultUnit: "b" | "m"): SizeLiteral {
  const match = LITERAL.exec(text);
  if (match === null) return { kind: "not-a-size" };
  const [literal, hex, whole = "", fraction = ""] = match;
  const letter = text.charAt(literal.length).toLowerCase();
  if (hex === undefined && letter === "e" && /^\d/.test(text.slice(literal.length + 1))) return { kind: "not-a-size" };
  const suffix = Object.hasOwn(UNITS, letter) ? letter : "";
  const unit = UNITS[suffix === "" ? defaultUnit : suffix]!;
  const digits = fraction.replace(/0+$/, "").slice(0, FRACTION_DIGITS);
  if (digits !== "" && unit === 1n) return { kind: "not-a-size" };
  // Longer numbers are too large whatever they are, and costly to convert.
  if ((hex ?? whole).replace(/^0+/, "").length > 20) return { kind: "too-large" };
  const bytes = BigInt(hex === undefined ? whole : `0x${hex}`) * unit + partOf(unit, digits);
  if (bytes > MAX_INT64) return { kind: "too-large" };
  return { kind: "size", bytes, rest: text.slice(literal.length + suffix.length) };
}

function partOf(unit: bigint, digits: string): bigint {
  return digits === "" ? 0n : (BigInt(digits) * unit) / 10n ** BigInt(digits.length);
}

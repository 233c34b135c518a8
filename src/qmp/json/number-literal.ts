// Number tokens, and doubles as QEMU prints them.

import { JsonDouble } from "./value.ts";

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;
/** Longer ones are beyond 64 bits, and not worth the time that a large integer takes. */
const MAX_INTEGER_TEXT = "-9223372036854775808".length;
/** Significant digits of a printed double: enough to tell any two apart. */
const DIGITS = 17;

/** The value of an integer token: exact within 64 bits, signed or not, and otherwise the nearest double. */
export function readInteger(token: string): number | bigint | JsonDouble {
  const double = Number(token);
  if (Number.isSafeInteger(double)) return double + 0; // -0 is the integer 0
  if (token.length <= MAX_INTEGER_TEXT) {
    const integer = BigInt(token);
    if (integer >= INT64_MIN && integer <= UINT64_MAX) return integer;
  }
  return new JsonDouble(double);
}

/**
 * `value` as C's "%.17g" prints it, which is how QEMU does: 0.1 becomes 0.10000000000000001, and what is no number `inf` or `nan`, though
 * JSON has no word for them.
 */
export function formatDouble(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const { digits, exponent } = roundToDigits(Math.abs(value));
  const significant = digits.replace(/0+$/, "");
  if (exponent < -4 || exponent >= DIGITS) {
    const fraction = significant.length > 1 ? `.${significant.slice(1)}` : "";
    const power = String(Math.abs(exponent)).padStart(2, "0");
    return `${sign}${digits[0]}${fraction}e${exponent < 0 ? "-" : "+"}${power}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${significant}`;
  const fraction = digits.slice(exponent + 1).replace(/0+$/, "");
  return `${sign}${digits.slice(0, exponent + 1)}${fraction === "" ? "" : `.${fraction}`}`;
}

/**
 * The first 17 digits of `value`, the last one rounded as the C library does: a tie goes to the even digit, where JavaScript goes up.
 * A hundred digits are exact enough to see a tie.
 */
function roundToDigits(value: number): { digits: string; exponent: number } {
  const [long = "", power] = value.toExponential(100).split("e");
  const all = long.replace(".", "");
  const exponent = Number(power);
  const kept = all.slice(0, DIGITS);
  const rest = all.slice(DIGITS);
  const half = `5${"0".repeat(rest.length - 1)}`;
  const up = rest > half || (rest === half && Number(kept.at(-1)) % 2 === 1);
  if (!up) return { digits: kept, exponent };
  const rounded = String(BigInt(kept) + 1n);
  // 9…9 became 10…0: one digit more.
  return rounded.length > DIGITS
    ? { digits: rounded.slice(0, DIGITS), exponent: exponent + 1 }
    : { digits: rounded, exponent };
}

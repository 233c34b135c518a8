// Simple values of the command line, where everything is text: docs/reference/monitor.md §6.

import { QmpError } from "../../base/errors.ts";
import { parseJson } from "../json/parse-json.ts";
import { fitInteger, toInt64 } from "./integers.ts";
import { visitJson } from "./json-reader.ts";
import { parseKeyval } from "./keyval.ts";
import { fullName, type Path } from "./path.ts";
import type { Int64, IntegerName, ScalarType, Type } from "./types.ts";
import { checkEnum, type SimpleType, type ValueReader, visit } from "./visitor.ts";

/** What C's strtoll() takes with base 0: space, a sign, then decimal, hexadecimal or octal digits. */
const INTEGER = /^[ \t\n\v\f\r]*([+-]?)(?:0x([0-9a-f]+)|(0[0-7]*)|([1-9][0-9]*))$/i;
/** A size: decimal, with a fraction where a suffix stands behind it, or hexadecimal. */
const SIZE = /^[ \t\n\v\f\r]*\+?(?:0x([0-9a-f]+)|(\d+)(\.\d*)?)([bkmgtpe]?)$/i;
const SUFFIXES = "bkmgtpe";
/** More digits than any number of 64 bits has, in whatever base, leading zeroes aside. */
const MAX_DIGITS = 22;
const UINT64_MAX = 2n ** 64n - 1n;

const keyvalReader: ValueReader = {
  style: "keyval",
  read(type: SimpleType, value: unknown, path: Path | undefined): unknown {
    if (type.kind === "scalar" && type.name === "any") return value;
    const name = fullName(path, "keyval");
    if (typeof value !== "string") throw new QmpError(`Parameters '${name}.*' are unexpected`);
    switch (type.kind) {
      case "scalar":
        return readScalar(type, value, name);
      case "integer":
        return type.name === "size" ? readSize(value, name) : readInteger(type.name, value, path);
      case "enum":
        return checkEnum(type, value, path);
    }
  },
};

/**
 * The value that `type` describes, from `key=value,key.member=value,list.0=value`, where a first part without `=` stands for
 * `impliedKey`. A `QmpError` with QEMU's text if it is none.
 */
export function visitKeyval<T>(type: Type<T>, text: string, impliedKey?: string): T {
  return visit(type, parseKeyval(text, impliedKey), keyvalReader);
}

/** The same from the argument of an option that takes both forms: JSON where it starts with `{`. */
export function visitOption<T>(type: Type<T>, text: string, impliedKey?: string): T {
  return text.startsWith("{") ? visitJson(type, parseJson(text)) : visitKeyval(type, text, impliedKey);
}

function readScalar(type: ScalarType<unknown>, text: string, name: string): unknown {
  switch (type.name) {
    case "bool":
      if (["on", "yes", "true", "y"].includes(text)) return true;
      if (["off", "no", "false", "n"].includes(text)) return false;
      throw new QmpError(`Parameter '${name}' expects 'on' or 'off'`);
    case "number": {
      const number = text.trim() === "" ? Number.NaN : Number(text);
      if (!Number.isFinite(number)) throw new QmpError(`Parameter '${name}' expects number`);
      return number;
    }
    case "null":
      if (text !== "") throw new QmpError(`Parameter '${name}' expects null`);
      return null;
    default:
      return text;
  }
}

function readInteger(name: IntegerName, text: string, path: Path | undefined): Int64 {
  const value = parseInteger(text);
  const integer = value === undefined ? undefined : fitInteger(name, wrap(name, value), path);
  if (integer === undefined) throw new QmpError(`Parameter '${fullName(path, "keyval")}' expects integer`);
  return integer;
}

/** strtoull() takes a sign, and gives the number with the same bits. */
function wrap(name: IntegerName, value: bigint): bigint {
  return name.startsWith("u") && value < 0n && value >= -UINT64_MAX ? BigInt.asUintN(64, value) : value;
}

function parseInteger(text: string): bigint | undefined {
  const [, sign, hex, octal, decimal] = INTEGER.exec(text) ?? [];
  const magnitude = parseDigits("0x", hex) ?? parseDigits("0o", octal) ?? parseDigits("", decimal);
  return magnitude !== undefined && sign === "-" ? -magnitude : magnitude;
}

function parseDigits(prefix: string, digits: string | undefined): bigint | undefined {
  const significant = digits?.replace(/^0+(?=.)/, "");
  if (significant === undefined || significant.length > MAX_DIGITS) return undefined;
  return BigInt(prefix + significant);
}

function readSize(text: string, name: string): Int64 {
  const value = parseSize(text);
  if (value === undefined || value > UINT64_MAX) throw new QmpError(`Parameter '${name}' expects a size value`);
  return toInt64(value);
}

function parseSize(text: string): bigint | undefined {
  const [, hex, decimal, fraction = "", suffix = ""] = SIZE.exec(text) ?? [];
  const whole = parseDigits("0x", hex) ?? parseDigits("", decimal);
  if (whole === undefined) return undefined;
  const power = suffix === "" ? 0 : SUFFIXES.indexOf(suffix.toLowerCase());
  const part = Number(`0${fraction}`);
  // Half a byte is no size.
  if (part !== 0 && power === 0) return undefined;
  const unit = 1n << BigInt(10 * power);
  return whole * unit + BigInt(Math.floor(part * Number(unit)));
}

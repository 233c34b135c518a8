// QEMU's option strings: `file=disk.img,readonly=on`, where `,,` is a comma within a value.

import { QmpError } from "../src/base/errors.ts";

/** Keys and values in the order given; a key that is given twice counts as QEMU has it, the last time. */
export type Options = ReadonlyMap<string, string>;

/** Takes an option string apart. `key` alone means `key=on`. */
export function parseOptionString(text: string): Options {
  const options = new Map<string, string>();
  for (const part of splitAtCommas(text)) {
    const equals = part.indexOf("=");
    const key = equals < 0 ? part : part.slice(0, equals);
    if (key === "") throw new QmpError(`'${text}': an option has no name`);
    options.set(key, equals < 0 ? "on" : part.slice(equals + 1));
  }
  return options;
}

function splitAtCommas(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ",") {
      part += text[i];
    } else if (text[i + 1] === ",") {
      part += ",";
      i++;
    } else {
      parts.push(part);
      part = "";
    }
  }
  parts.push(part);
  return parts;
}

/** `on` or `off`; QEMU takes yes, true, y and no, false, n as well. */
export function parseSwitch(key: string, value: string): boolean {
  if (["on", "yes", "true", "y"].includes(value)) return true;
  if (["off", "no", "false", "n"].includes(value)) return false;
  throw new QmpError(`Parameter '${key}' expects 'on' or 'off'`);
}

/** One of `values`. */
export function parseChoice<Choice extends string>(key: string, value: string, values: readonly Choice[]): Choice {
  const choice = values.find((candidate) => candidate === value);
  if (choice === undefined)
    throw new QmpError(`Parameter '${key}' does not accept value '${value}'; it takes ${values.join(", ")}`);
  return choice;
}

const UNITS = "bkMGTPE";

/** A number of bytes: digits, and one of the suffixes b, k (or K), M, G, T, P, E, in powers of 1024. */
export function parseSize(key: string, value: string): number {
  const match = /^(\d+(?:\.\d+)?)([bkKMGTPE]?)$/.exec(value);
  const unit = match?.[2] === "K" ? "k" : (match?.[2] ?? "");
  const bytes =
    match === null ? Number.NaN : Number(match[1]) * 1024 ** Math.max(0, UNITS.indexOf(unit === "" ? "b" : unit));
  if (!Number.isSafeInteger(Math.floor(bytes))) {
    throw new QmpError(`Parameter '${key}' expects a size: a number, with k, M, G, T, P or E for its power of 1024`);
  }
  return Math.floor(bytes);
}

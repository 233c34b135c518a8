// `-trace [[enable=]PATTERN][,events=FILE][,file=FILE]` as QEMU takes it, and `x-format=json` of our own: docs/tracing.md.

import { readFileSync } from "node:fs";
import { BlockError, QmpError, strerror } from "../src/base/errors.ts";
import { matchTraceNames, tracePointNames } from "../src/base/trace.ts";
import { parseChoice, parseOptionString } from "./option-string.ts";

/** One line for each event: for people, or a JSON object for programs. */
export type TraceFormat = "text" | "json";

/** What several -trace together say. */
export interface TraceSettings {
  /** Whether a trace point of that name is printed. */
  readonly matches: (name: string) => boolean;
  /** Undefined: the standard error. */
  readonly file: string | undefined;
  readonly format: TraceFormat;
  /** The names of all trace points were asked for, and nothing else. */
  readonly help: boolean;
  /** Names that no trace point has. */
  readonly warnings: readonly string[];
}

const KEYS = ["enable", "events", "file", "x-format"];

/**
 * Takes the values of all -trace together: a pattern with a `-` before it takes out again what those before it have put in. The last file
 * and format count. A `QmpError` says what is wrong.
 */
export function parseTraceOptions(values: readonly string[]): TraceSettings {
  const rules: Rule[] = [];
  const warnings: string[] = [];
  let file: string | undefined;
  let format: TraceFormat = "text";
  let help = false;
  for (const value of values) {
    const options = parseOptionString(/^[^=,]+(,|$)/.test(value) ? `enable=${value}` : value);
    for (const key of options.keys()) if (!KEYS.includes(key)) throw new QmpError(`Invalid parameter '${key}'`);
    const patterns = [...listOf(options.get("enable")), ...readEvents(options.get("events"))];
    help ||= options.get("enable") === "help";
    file = options.get("file") ?? file;
    format = parseChoice("x-format", options.get("x-format") ?? format, ["text", "json"]);
    for (const pattern of patterns) rules.push(makeRule(pattern));
    for (const pattern of help ? [] : patterns)
      if (!exists(pattern)) warnings.push(`trace event '${pattern}' does not exist`);
  }
  // The last rule that a name fits decides.
  const matches = (name: string): boolean => rules.findLast((rule) => rule.fits(name))?.enable ?? false;
  return { matches, file, format, help, warnings };
}

interface Rule {
  readonly enable: boolean;
  readonly name: string;
  readonly fits: (name: string) => boolean;
}

function makeRule(pattern: string): Rule {
  const enable = !pattern.startsWith("-");
  const name = enable ? pattern : pattern.slice(1);
  return { enable, name, fits: matchTraceNames(name) };
}

/** A pattern may fit nothing; a name that no trace point has is a mistake. Those of commands come with their machine. */
function exists(pattern: string): boolean {
  const name = pattern.replace(/^-/, "");
  return /[*?]|^qmp_(enter|exit)_/.test(name) || tracePointNames().includes(name);
}

function listOf(pattern: string | undefined): string[] {
  return pattern === undefined ? [] : [pattern];
}

/** A pattern a line; empty lines and those that begin with `#` mean nothing. */
function readEvents(path: string | undefined): string[] {
  if (path === undefined) return [];
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new QmpError(`${path}: ${strerror(BlockError.from(error, path).errno)}`);
  }
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

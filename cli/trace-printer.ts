// Prints trace points as they happen: a line each, for people or for programs.

import { openSync, writeSync } from "node:fs";
import type { TraceFormat, TraceSettings } from "../machine/trace-options.ts";
import { BlockError, QmpError, strerror } from "../src/base/errors.ts";
import { matchTraceNames, subscribeTrace, type TraceFields } from "../src/base/trace.ts";

export type { TraceFormat } from "../machine/trace-options.ts";

/** Prints every trace point that matches one of `patterns` to `output`, with milliseconds since now. The function returned ends it. */
export function printTraces(
  patterns: readonly string[],
  format: TraceFormat,
  output: NodeJS.WritableStream,
): () => void {
  const matchers = patterns.map(matchTraceNames);
  return subscribeLines(
    (name) => matchers.some((fits) => fits(name)),
    format,
    (line) => output.write(line),
  );
}

/**
 * Prints as `-trace` says, until the program ends: to a file each line at once, so that nothing is lost however that comes. A `QmpError` if
 * there can be no such file.
 */
export function printTracesAsSet({ matches, format, file }: TraceSettings): void {
  const output = file === undefined ? undefined : openTraceFile(file);
  subscribeLines(matches, format, (line) => {
    if (output === undefined) process.stderr.write(line);
    else writeSync(output, line);
  });
}

function openTraceFile(path: string): number {
  try {
    return openSync(path, "w");
  } catch (error) {
    throw new QmpError(`${path}: ${strerror(BlockError.from(error, path).errno)}`);
  }
}

function subscribeLines(
  matches: (name: string) => boolean,
  format: TraceFormat,
  write: (line: string) => void,
): () => void {
  const startedMs = performance.now();
  return subscribeTrace(matches, (name, fields) => {
    const timeMs = Number((performance.now() - startedMs).toFixed(3));
    write(`${format === "json" ? jsonLine(timeMs, name, fields) : textLine(timeMs, name, fields)}\n`);
  });
}

function textLine(timeMs: number, name: string, fields: TraceFields): string {
  const values = Object.entries(fields).map(([field, value]) => ` ${field}=${String(value)}`);
  return `${timeMs.toFixed(3).padStart(10)} ${name}${values.join("")}`;
}

function jsonLine(timeMs: number, name: string, fields: TraceFields): string {
  const plain = Object.entries(fields).map(([field, value]) => [
    field,
    typeof value === "bigint" ? String(value) : value,
  ]);
  return JSON.stringify({ timeMs, name, ...Object.fromEntries(plain) });
}

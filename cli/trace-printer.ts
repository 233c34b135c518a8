// Prints trace points as they happen: a line each, for people or for programs.

import { subscribeTrace, type TraceFields } from "../src/base/trace.ts";

export type TraceFormat = "text" | "json";

/** Prints every trace point that matches one of `patterns` to `output`, with milliseconds since now. The function returned ends it. */
export function printTraces(
  patterns: readonly string[],
  format: TraceFormat,
  output: NodeJS.WritableStream,
): () => void {
  const startedMs = performance.now();
  const print = (name: string, fields: TraceFields): void => {
    const timeMs = Number((performance.now() - startedMs).toFixed(3));
    output.write(`${format === "json" ? jsonLine(timeMs, name, fields) : textLine(timeMs, name, fields)}\n`);
  };
  const ends = patterns.map((pattern) => subscribeTrace(pattern, print));
  return () => {
    for (const end of ends) end();
  };
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

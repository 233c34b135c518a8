// What benchmarks report: tables of figures and ratios, for people and for programs.

import { type Cell, formatTable } from "../cli/table.ts";

/** One comparison. Each row has a cell for each column. */
export interface BenchTable {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

/** The table as text. */
export function formatBenchTable({ title, columns, rows }: BenchTable): string {
  return [title, "", ...formatTable(columns, rows)].join("\n");
}

/** The middle value; of an even number of values, the lower of the two. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

/** Milliseconds as a cell; fractions only where they matter. */
export function ms(value: number): string {
  return `${value.toFixed(value < 20 ? 1 : 0)} ms`;
}

/** The median of the rounds' own ratios: how many times `ours` goes into `theirs`. */
export function ratioOf(theirs: readonly number[], ours: readonly number[]): string {
  return `${median(theirs.map((value, round) => value / ours[round]!)).toFixed(2)}x`;
}

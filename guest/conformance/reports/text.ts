// A run told on a terminal: chapters, then findings by weight, then what was not looked at and why.

import type { RequirementResult, Standing, Summary } from "../summary.ts";
import { findingsOf, reasonsOf, reportChapters, requirementsOf, standings, standingTitles } from "./report-chapters.ts";

/** How a piece of the text is to look. */
export type TextStyle = "heading" | "good" | "bad" | "warning" | "faint";

export interface TextReportOptions {
  /** Gives a piece of text its look; by default it has none. */
  readonly paint?: (style: TextStyle, text: string) => string;
  /** Lines of the conversation that are shown of a finding, the last ones; 16 by default. */
  readonly conversationLines?: number;
}

const WIDTH = 110;
/** The most ids in one list of what was skipped for the same reason. */
const MAX_IDS = 40;
const FINDINGS: readonly Standing[] = ["error", "lost", "violated", "deviates", "differs"];
const COLUMNS: readonly Standing[] = ["kept", "violated", "deviates", "differs", "lost", "error", "skipped"];

/** The whole report, ending in a newline. */
export function textReport(summary: Summary, options: TextReportOptions = {}): string {
  const { paint = (_style, text) => text, conversationLines = 16 } = options;
  const lines = [paint("heading", summary.subject), "", ...chapterTable(summary, paint)];
  for (const standing of FINDINGS) {
    const rows = requirementsOf(summary, standing);
    if (rows.length === 0) continue;
    const style = standing === "deviates" || standing === "differs" ? "warning" : "bad";
    lines.push("", paint(style, `${standingTitles[standing]} (${rows.length})`));
    for (const row of rows) lines.push("", ...describe(row, paint, conversationLines));
  }
  for (const standing of ["skipped", "not examined"] as const) {
    const rows = requirementsOf(summary, standing);
    if (rows.length === 0) continue;
    lines.push("", paint("heading", `${standingTitles[standing]} (${rows.length})`));
    for (const [reason, ids] of reasonsOf(rows)) lines.push(...wrap(`${reason}: ${listIds(ids)}`, "  "));
  }
  lines.push("", conclusion(summary, paint));
  return `${lines.join("\n")}\n`;
}

type Paint = NonNullable<TextReportOptions["paint"]>;

function chapterTable(summary: Summary, paint: Paint): readonly string[] {
  const rows = reportChapters(summary)
    .map(({ title, requirements }) => ({
      title,
      counts: COLUMNS.map((standing) => requirements.filter((row) => row.standing === standing).length),
    }))
    .filter(({ counts }) => counts.some((count) => count > 0));
  const totals = COLUMNS.map((standing) => summary.counts[standing]);
  const shown = COLUMNS.map((standing, i) => standing === "kept" || totals[i]! > 0);
  const widest = Math.max(12, ...rows.map(({ title }) => title.length));
  const line = (title: string, cells: readonly string[]): string =>
    `${title.padEnd(widest)}${cells.map((cell, i) => (shown[i] ? cell.padStart(COLUMNS[i]!.length + 2) : "")).join("")}`;
  const cellsOf = (counts: readonly number[]): readonly string[] =>
    counts.map((count) => (count === 0 ? "·" : String(count)));
  return [
    paint("faint", line("", COLUMNS)),
    ...rows.map(({ title, counts }) => line(title, cellsOf(counts))),
    paint("faint", line("together", cellsOf(totals))),
  ];
}

function describe(row: RequirementResult, paint: Paint, conversationLines: number): readonly string[] {
  const { requirement } = row;
  const lines = [
    `  ${paint("heading", requirement.id)}  ${requirement.level}, ${requirement.section}`,
    ...wrap(requirement.text, "    "),
  ];
  for (const { seen, variants, conversation, title } of findingsOf(row)) {
    const what = title.slice(requirement.id.length + 1);
    lines.push(`    ${paint("faint", `${what} (${variants.join(", ")})`)}`);
    for (const line of seen.split("\n")) lines.push(...wrap(line, "      "));
    for (const line of conversation.slice(-conversationLines)) lines.push(paint("faint", `        ${line}`));
  }
  return lines;
}

function conclusion(summary: Summary, paint: Paint): string {
  const { counts } = summary;
  const told = standings
    .filter((standing) => counts[standing] > 0)
    .map((standing) => `${counts[standing]} ${standing}`);
  const clean = counts.violated + counts.deviates + counts.lost + counts.error === 0;
  return paint(clean ? "good" : "bad", `${summary.requirements.length} requirements: ${told.join(", ")}`);
}

function listIds(ids: readonly string[]): string {
  const shown = ids.slice(0, MAX_IDS).join(", ");
  return ids.length > MAX_IDS ? `${shown} and ${ids.length - MAX_IDS} more` : shown;
}

function wrap(text: string, indent: string): readonly string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line.length + word.length > WIDTH && line.trim() !== "") {
      lines.push(line.trimEnd());
      line = `${indent}  `;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}

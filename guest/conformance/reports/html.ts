// A run as one page that needs nothing else: requirements by chapter, to be filtered by standing and by words.

import { isMandatory } from "../requirement.ts";
import type { CaseResult } from "../runner.ts";
import { isClean, type RequirementResult, type Standing, type Summary } from "../summary.ts";
import { htmlScript, htmlStyle } from "./html-style.ts";
import { escapeMarkup } from "./markup.ts";
import { findingsOf, type ReportChapter, reportChapters, standings, standingTitles } from "./report-chapters.ts";

/** Those that are open to the eye when the page is opened: what was found. */
const GRAVE: ReadonlySet<Standing> = new Set(["error", "lost", "violated", "deviates"]);

/** The page. */
export function htmlReport(summary: Summary): string {
  const examined = summary.requirements.filter(({ results }) => results.length > 0).length;
  const verdict = isClean(summary) ? "nothing was found broken" : "see what was found below";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Conformance of ${escapeMarkup(summary.subject)}</title>
<style>${htmlStyle}</style>
</head>
<body>
<header><div>
<h1>${escapeMarkup(summary.subject)} <button id="theme" type="button" title="light or dark">◐</button></h1>
<p>VIRTIO 1.4, ${examined} of ${summary.requirements.length} requirements on devices looked at; ${verdict}</p>
${bar(summary.requirements)}
<div class="filters">
${standings.map((standing) => chip(standing, summary.counts[standing])).join("")}<input type="search" placeholder="Find id, register or word" aria-label="Find">
</div>
</div></header>
<main>
${reportChapters(summary).map(chapterSection).join("")}<p class="none" hidden>Nothing is left of the requirements with these filters.</p>
</main>
<script>${htmlScript}</script>
</body>
</html>
`;
}

function chip(standing: Standing, count: number): string {
  if (count === 0) return "";
  return (
    `<button type="button" aria-pressed="true" data-standing="${standing}" style="--c: ${colour(standing)}" ` +
    `title="${escapeMarkup(standingTitles[standing])}; click twice to see these alone">${standing}<b>${count}</b></button>\n`
  );
}

function bar(rows: readonly RequirementResult[]): string {
  const parts = standings.map((standing) => {
    const count = rows.filter((row) => row.standing === standing).length;
    const style = `flex: ${count}; --c: ${colour(standing)}`;
    return count === 0 ? "" : `<i style="${style}" title="${count} ${standing}"></i>`;
  });
  return `<div class="bar">${parts.join("")}</div>`;
}

function chapterSection({ title, requirements }: ReportChapter): string {
  const kept = requirements.filter(({ standing }) => standing === "kept").length;
  const head = `${escapeMarkup(title)} ${bar(requirements)} <small>${kept} of ${requirements.length} kept</small>`;
  return `<section>\n<h2>${head}</h2>\n${requirements.map(requirementRow).join("")}</section>\n`;
}

function requirementRow(row: RequirementResult): string {
  const { requirement, standing, reason, results } = row;
  const open = GRAVE.has(standing) && isMandatory(requirement.level) ? " open" : "";
  const told: readonly (readonly [string, string])[] = [
    ["Section", requirement.section],
    ["Level", requirement.level],
    ["Holds with", requirement.gate.text === "-" ? "every device" : requirement.gate.text],
    ["Looked at by", requirement.howToCheck],
    ...(reason === undefined ? [] : [["Reason", reason] as const]),
  ];
  const facts = told.map(([name, text]) => `<dt>${name}</dt><dd>${escapeMarkup(text)}</dd>`).join("");
  const cases = results.length === 0 ? "" : `<table>${results.map(caseRow).join("")}</table>\n`;
  const conversations = findingsOf(row)
    .filter(({ conversation }) => conversation.length > 0)
    .map(({ conversation }) => `<pre>${escapeMarkup(conversation.join("\n"))}</pre>\n`);
  return (
    `<details data-standing="${standing}" style="--c: ${colour(standing)}"${open}>` +
    `<summary><code>${requirement.id}</code><span>${escapeMarkup(requirement.text)}</span><em>${standing}</em></summary>\n` +
    `<div><dl>${facts}</dl>\n${cases}${conversations.join("")}</div></details>\n`
  );
}

function caseRow({ conformanceCase, variant, verdict }: CaseResult): string {
  const { requirement, title } = conformanceCase;
  const told = [title.slice(requirement.id.length + 1), verdict.reason].filter((part) => part !== undefined);
  return (
    `<tr><td>${variant.name}</td><td class="${verdict.outcome}">${verdict.outcome}</td>` +
    `<td>${told.map(escapeMarkup).join("<br>")}</td></tr>\n`
  );
}

function colour(standing: Standing): string {
  return `var(--${standing.replace(" ", "-")})`;
}

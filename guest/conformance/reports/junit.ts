// A run as JUnit XML, for whoever shows test results: a suite for each chapter, a test for each case in each variant.

import type { CaseResult } from "../runner.ts";
import type { Summary } from "../summary.ts";
import { escapeMarkup } from "./markup.ts";
import { reportChapters } from "./report-chapters.ts";

/**
 * The document. What a case found is a `failure`, with the level of the requirement as its type; a device that died and a
 * suite at fault are an `error`. A difference of a legacy device alone is told in `system-out`: nobody is accused.
 */
export function junitReport(summary: Summary): string {
  const suites = reportChapters(summary).map(({ title, requirements }) => {
    const results = requirements.flatMap((row) => row.results);
    const body = results.map(testCase).join("");
    return `  <testsuite name="${escapeMarkup(title)}" ${counts(results)}>\n${body}  </testsuite>\n`;
  });
  const all = summary.requirements.flatMap((row) => row.results);
  const head = `<testsuites name="${escapeMarkup(summary.subject)}" ${counts(all)}>`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n${head}\n${suites.join("")}</testsuites>\n`;
}

function counts(results: readonly CaseResult[]): string {
  const count = (kind: Kind): number => results.filter((result) => kindOf(result) === kind).length;
  const seconds = results.reduce((sum, { verdict }) => sum + verdict.elapsedMs, 0) / 1000;
  return (
    `tests="${results.length}" failures="${count("failure")}" errors="${count("error")}" ` +
    `skipped="${count("skipped")}" time="${seconds.toFixed(3)}"`
  );
}

type Kind = "passed" | "failure" | "error" | "skipped" | "difference";

function kindOf({ variant, verdict }: CaseResult): Kind {
  switch (verdict.outcome) {
    case "pass":
      return "passed";
    case "skip":
      return "skipped";
    case "fail":
      return variant.legacy ? "difference" : "failure";
    case "lost":
    case "error":
      return "error";
  }
}

function testCase(result: CaseResult): string {
  const { conformanceCase, variant, verdict } = result;
  const { requirement, title } = conformanceCase;
  const head =
    `    <testcase classname="${escapeMarkup(`${variant.name}.${requirement.id}`)}" ` +
    `name="${escapeMarkup(`${title} (${variant.name})`)}" time="${(verdict.elapsedMs / 1000).toFixed(3)}"`;
  const reason = verdict.reason ?? "";
  const told = escapeMarkup([`${requirement.id}: ${requirement.text}`, reason, ...verdict.conversation].join("\n"));
  const message = `message="${escapeMarkup(reason)}"`;
  switch (kindOf(result)) {
    case "passed":
      return `${head}/>\n`;
    case "skipped":
      return `${head}><skipped ${message}/></testcase>\n`;
    case "difference":
      return `${head}><system-out>${told}</system-out></testcase>\n`;
    case "failure":
      return `${head}><failure type="${escapeMarkup(requirement.level)}" ${message}>${told}</failure></testcase>\n`;
    case "error":
      return `${head}><error type="${verdict.outcome}" ${message}>${told}</error></testcase>\n`;
  }
}

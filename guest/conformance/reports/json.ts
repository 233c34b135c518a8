// A run as one JSON object, for programs to read.

import type { RequirementLevel } from "../requirement.ts";
import { isClean, type Standing, type Summary } from "../summary.ts";
import type { Outcome } from "../verdict.ts";
import { reportChapters } from "./report-chapters.ts";

/** One case in one variant. */
export interface JsonCase {
  readonly title: string;
  readonly variant: string;
  readonly outcome: Outcome;
  readonly reason?: string;
  readonly elapsedMs: number;
  /** Of a case that did not pass: the last accesses before, oldest first. */
  readonly conversation?: readonly string[];
}

/** One requirement. */
export interface JsonRequirement {
  readonly id: string;
  readonly section: string;
  /** Title of the chapter of the suite. */
  readonly chapter: string;
  readonly level: RequirementLevel;
  readonly gate: string;
  readonly text: string;
  readonly standing: Standing;
  readonly reason?: string;
  readonly cases: readonly JsonCase[];
}

/** A whole run. */
export interface JsonReport {
  readonly subject: string;
  readonly clean: boolean;
  readonly counts: Readonly<Record<Standing, number>>;
  readonly requirements: readonly JsonRequirement[];
}

/** The run as an object that `JSON.stringify` takes as it is. */
export function jsonReport(summary: Summary): JsonReport {
  const chapters = new Map(
    reportChapters(summary).flatMap(({ title, requirements }) =>
      requirements.map(({ requirement }) => [requirement.id, title] as const),
    ),
  );
  return {
    subject: summary.subject,
    clean: isClean(summary),
    counts: summary.counts,
    requirements: summary.requirements.map(({ requirement, standing, reason, results }) => ({
      id: requirement.id,
      section: requirement.section,
      chapter: chapters.get(requirement.id) ?? "",
      level: requirement.level,
      gate: requirement.gate.text,
      text: requirement.text,
      standing,
      ...(reason === undefined ? {} : { reason }),
      cases: results.map(({ conformanceCase, variant, verdict }) => ({
        title: conformanceCase.title,
        variant: variant.name,
        outcome: verdict.outcome,
        ...(verdict.reason === undefined ? {} : { reason: verdict.reason }),
        elapsedMs: Math.round(verdict.elapsedMs),
        ...(verdict.conversation.length === 0 ? {} : { conversation: verdict.conversation }),
      })),
    })),
  };
}

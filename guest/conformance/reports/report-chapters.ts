// The requirements of a run under the chapters of the suite: the order in which every report tells them.

import { type Chapter, chapters } from "../suite.ts";
import type { RequirementResult, Standing, Summary } from "../summary.ts";

/** A chapter with what was found of its requirements. */
export interface ReportChapter {
  readonly title: string;
  readonly requirements: readonly RequirementResult[];
}

/** Every standing, the gravest first. */
export const standings: readonly Standing[] = [
  "error",
  "lost",
  "violated",
  "deviates",
  "differs",
  "kept",
  "skipped",
  "not examined",
];

/** What each standing means, in a word or two for a heading. */
export const standingTitles: Readonly<Record<Standing, string>> = {
  error: "The suite failed",
  lost: "The device died or hung",
  violated: "MUST is broken",
  deviates: "SHOULD is not followed",
  differs: "Different through the legacy interface only, where nothing is required",
  kept: "Kept",
  skipped: "Skipped",
  "not examined": "Not examined",
};

/** Requirements of which no case exists stand with those of the same kind (`SPLIT-DEV-…`), or at the end. */
export function reportChapters(summary: Summary): readonly ReportChapter[] {
  const ofId = new Map<string, Chapter>();
  const ofKind = new Map<string, Chapter>();
  for (const chapter of chapters) {
    for (const { requirement } of chapter.cases) {
      if (!ofId.has(requirement.id)) ofId.set(requirement.id, chapter);
      if (!ofKind.has(kindOf(requirement.id))) ofKind.set(kindOf(requirement.id), chapter);
    }
  }
  const chapterOf = (id: string): Chapter | undefined => ofId.get(id) ?? ofKind.get(kindOf(id));
  const own = chapters.map((chapter) => ({
    title: chapter.title,
    requirements: summary.requirements.filter(({ requirement }) => chapterOf(requirement.id) === chapter),
  }));
  const rest = summary.requirements.filter(({ requirement }) => chapterOf(requirement.id) === undefined);
  return [...own, { title: "Others", requirements: rest }].filter(({ requirements }) => requirements.length > 0);
}

/** The requirements of one standing, in the order of the standard. */
export function requirementsOf(summary: Summary, standing: Standing): readonly RequirementResult[] {
  return summary.requirements.filter((row) => row.standing === standing);
}

/** Reasons why requirements were not looked at, with the ids of each, in the order in which they first come. */
export function reasonsOf(rows: readonly RequirementResult[]): ReadonlyMap<string, readonly string[]> {
  const reasons = new Map<string, string[]>();
  for (const { reason = "no case looks at it yet", requirement } of rows) {
    const ids = reasons.get(reason) ?? [];
    ids.push(requirement.id);
    reasons.set(reason, ids);
  }
  return reasons;
}

/** Findings that say the same, with the variants in which they were made. */
export interface Finding {
  readonly title: string;
  readonly outcome: "fail" | "lost" | "error";
  readonly seen: string;
  readonly variants: readonly string[];
  /** Of the first of the variants. */
  readonly conversation: readonly string[];
}

/** What was found of a requirement, like findings together. */
export function findingsOf({ results }: RequirementResult): readonly Finding[] {
  const findings = new Map<string, Finding & { readonly variants: string[] }>();
  for (const { conformanceCase, variant, verdict } of results) {
    if (verdict.outcome === "pass" || verdict.outcome === "skip") continue;
    const { title } = conformanceCase;
    const seen = verdict.reason ?? "";
    const key = JSON.stringify([title, verdict.outcome, seen]);
    const known = findings.get(key);
    if (known !== undefined) known.variants.push(variant.name);
    else {
      const { outcome, conversation } = verdict;
      findings.set(key, { title, outcome, seen, variants: [variant.name], conversation });
    }
  }
  return [...findings.values()];
}

function kindOf(id: string): string {
  return id.slice(0, id.lastIndexOf("-"));
}

// The results of a run, gathered by requirement: what every report says.

import { reasonNotExamined } from "./not-examined.ts";
import { isMandatory, type Requirement } from "./requirement.ts";
import type { CaseResult } from "./runner.ts";

/**
 * - `kept`: every case that looked passed, and one looked.
 * - `violated`: a case found a MUST broken. `deviates`: a SHOULD.
 * - `differs`: only through the legacy interface, which is no part of what the standard requires (§7.4): nobody is accused.
 * - `lost`: the device's process died or hung, and nothing was found broken elsewhere. `error`: the suite failed.
 * - `skipped`: no case could look. `not examined`: no case exists, for the reason given.
 */
export type Standing = "kept" | "violated" | "deviates" | "differs" | "lost" | "error" | "skipped" | "not examined";

/** What is known of one requirement after a run. */
export interface RequirementResult {
  readonly requirement: Requirement;
  readonly standing: Standing;
  /** Of a requirement that is skipped or not examined: why. */
  readonly reason?: string | undefined;
  readonly results: readonly CaseResult[];
}

/** A whole run. */
export interface Summary {
  /** What was examined, as its factory calls it. */
  readonly subject: string;
  readonly requirements: readonly RequirementResult[];
  readonly counts: Readonly<Record<Standing, number>>;
}

/** Gathers `results` under `requirements`, in their order. */
export function summarise(
  subject: string,
  requirements: readonly Requirement[],
  results: readonly CaseResult[],
): Summary {
  const rows = requirements.map((requirement) =>
    standing(
      requirement,
      results.filter((result) => result.conformanceCase.requirement.id === requirement.id),
    ),
  );
  const counts: Record<Standing, number> = {
    kept: 0,
    violated: 0,
    deviates: 0,
    differs: 0,
    lost: 0,
    error: 0,
    skipped: 0,
    "not examined": 0,
  };
  for (const row of rows) counts[row.standing]++;
  return { subject, requirements: rows, counts };
}

/** Nothing was found broken and nothing went wrong on the way. */
export function isClean(summary: Summary): boolean {
  const { violated, deviates, lost, error } = summary.counts;
  return violated + deviates + lost + error === 0;
}

function standing(requirement: Requirement, results: readonly CaseResult[]): RequirementResult {
  const has = (outcome: string): boolean => results.some(({ verdict }) => verdict.outcome === outcome);
  const failures = results.filter(({ verdict }) => verdict.outcome === "fail");
  if (has("error")) return { requirement, standing: "error", results };
  if (failures.some(({ variant }) => !variant.legacy)) {
    return { requirement, standing: isMandatory(requirement.level) ? "violated" : "deviates", results };
  }
  if (has("lost")) return { requirement, standing: "lost", results };
  if (failures.length > 0) return { requirement, standing: "differs", results };
  if (has("pass")) return { requirement, standing: "kept", results };
  if (results.length === 0)
    return { requirement, standing: "not examined", reason: reasonNotExamined(requirement), results };
  const reasons = new Set(results.map(({ verdict }) => verdict.reason));
  return { requirement, standing: "skipped", reason: [...reasons].join("; "), results };
}

// A run that never was, with every outcome in it, for the reports to tell.
import { deviceRequirements } from "../../../../guest/conformance/requirement.ts";
import type { CaseResult } from "../../../../guest/conformance/runner.ts";
import { conformanceCases } from "../../../../guest/conformance/suite.ts";
import { type Summary, summarise } from "../../../../guest/conformance/summary.ts";
import { variants } from "../../../../guest/conformance/variant.ts";
import type { Verdict } from "../../../../guest/conformance/verdict.ts";

/** What a hostile device may have said. */
export const HOSTILE = `]]> <b>&"'\u0000\u001b[31m\ud800`;

function result(id: string, variant: string, outcome: Verdict["outcome"], reason?: string): CaseResult {
  const conformanceCase = conformanceCases.find(({ requirement }) => requirement.id === id)!;
  const conversation = outcome === "pass" || outcome === "skip" ? [] : ["W Status = 0x0", "R Status = 0x7"];
  return {
    conformanceCase,
    variant: variants.find(({ name }) => name === variant)!,
    verdict: { outcome, reason, conversation, elapsedMs: 12.5 },
  };
}

const results: readonly CaseResult[] = [
  result("STAT-DEV-001", "modern-split", "fail", "a buffer was used"),
  result("STAT-DEV-001", "modern-packed", "fail", "a buffer was used"),
  result("STAT-DEV-003", "modern-split", "fail", HOSTILE),
  result("STAT-DEV-005", "modern-split", "pass"),
  result("STAT-DEV-005", "legacy-split", "fail", "Status is 7"),
  result("STAT-DEV-008", "modern-split", "lost", "no answer within 5000 ms"),
  result("STAT-DEV-009", "modern-split", "skip", "the host cannot hold requests back"),
  result("STAT-DEV-010", "modern-split", "skip", "the host cannot hold requests back"),
  result("FEAT-DEV-004", "modern-split", "error", "TypeError: of the suite"),
  result("MMIO-DEV-028", "modern-split", "fail", "the line is raised"),
  result("MMIO-DEV-028", "modern-packed", "lost", "no answer within 5000 ms"),
  result("MMIO-DEV-001", "modern-split", "pass", "a remark"),
];

export const madeUpRun: Summary = summarise("a <made-up> device", deviceRequirements, results);

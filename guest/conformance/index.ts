// The conformance suite for virtio-mmio block devices, requirement by requirement. Published as `virtio-blk/conformance`.

export type { ConformanceCase } from "./case.ts";
export { htmlReport } from "./reports/html.ts";
export { type JsonCase, type JsonReport, type JsonRequirement, jsonReport } from "./reports/json.ts";
export { junitReport } from "./reports/junit.ts";
export { type TextReportOptions, type TextStyle, textReport } from "./reports/text.ts";
export {
  deviceRequirements,
  driverRequirements,
  isMandatory,
  type Requirement,
  type RequirementLevel,
} from "./requirement.ts";
export { type CaseResult, plannedRuns, type RunOptions, runCases } from "./runner.ts";
export type {
  DiskGeometry,
  DiskLifetime,
  DiskTopology,
  SecureEraseLimits,
  Subject,
  SubjectFactory,
  SubjectHost,
  SubjectOptions,
  SubjectUnavailable,
  ZonedDisk,
} from "./subject.ts";
export { type Chapter, chapters, conformanceCases } from "./suite.ts";
export { isClean, type RequirementResult, type Standing, type Summary, summarise } from "./summary.ts";
export { type Variant, variants } from "./variant.ts";
export type { Outcome, Verdict } from "./verdict.ts";

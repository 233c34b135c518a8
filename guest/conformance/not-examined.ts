// Requirements without a case, each with its reason.

import type { Requirement } from "./requirement.ts";

/** Observable ones that no case looks at. */
const REASONS: ReadonlyMap<string, string> = new Map([]);

/** Why no case looks at a requirement; undefined when one should. */
export function reasonNotExamined(requirement: Requirement): string | undefined {
  if (!requirement.observable) return "cannot be seen from outside";
  return REASONS.get(requirement.id);
}

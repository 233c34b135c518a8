// Requirements without a case, each with its reason.

import type { Requirement } from "./requirement.ts";

/** Observable ones that no case looks at. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ["RSVD-DEV-003", "whether addresses are translated on their way to the device is known to its platform alone"],
  [
    "BLK-DEV-046",
    "no host can be told to take from its storage, or give it, the ability to deallocate while a device runs",
  ],
]);

/** Why no case looks at a requirement; undefined when one should. */
export function reasonNotExamined(requirement: Requirement): string | undefined {
  if (!requirement.observable) return "cannot be seen from outside";
  return REASONS.get(requirement.id);
}

// The suite on this project's device: every case that can run passes, in every variant.
import { describe, expect, it } from "vitest";
import { plannedRuns, runCases } from "../../../guest/conformance/runner.ts";
import { chapters } from "../../../guest/conformance/suite.ts";
import { variants } from "../../../guest/conformance/variant.ts";
import { inProcessSubjects } from "../../../machine/conformance/in-process-subject.ts";

const factory = inProcessSubjects("test");

for (const { title, cases } of chapters) {
  describe(title, () => {
    for (const { conformanceCase, variant } of plannedRuns({ cases, variants })) {
      it(`${conformanceCase.title} (${variant.name})`, async () => {
        const [result] = await runCases({ factory, cases: [conformanceCase], variants: [variant] });
        const { outcome, reason, conversation } = result!.verdict;
        expect(["pass", "skip"], `${reason}\n${conversation.join("\n")}`).toContain(outcome);
      });
    }
  });
}

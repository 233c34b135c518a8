// The cases about suspension, on a device that can be suspended, and on some that do it wrong.
import { describe, expect, it } from "vitest";
import { suspendCases } from "../../../guest/conformance/chapters/suspend.ts";
import { runCases } from "../../../guest/conformance/runner.ts";
import { variants } from "../../../guest/conformance/variant.ts";
import { inProcessSubjects } from "../../../machine/conformance/in-process-subject.ts";
import { type SuspendFault, suspendingSubjects } from "./suspending-subject.ts";

const modern = variants.filter(({ legacy }) => !legacy);
const plain = inProcessSubjects("test");

/** Titles of the cases that end like this, each once. */
async function titlesOf(outcome: string, fault?: SuspendFault): Promise<readonly string[]> {
  const factory = suspendingSubjects(plain, fault);
  const cases = suspendCases.filter(({ requirement }) => fault === undefined || requirement.id === fault);
  const results = await runCases({ factory, cases, variants: modern.slice(0, fault === undefined ? 2 : 1) });
  const ended = results.filter(({ verdict }) => verdict.outcome === outcome);
  return [...new Set(ended.map(({ conformanceCase }) => conformanceCase.title))];
}

describe("cases about suspension", () => {
  it("pass on a device that keeps the rules, on rings of both layouts", async () => {
    expect(await titlesOf("pass")).toEqual(suspendCases.map(({ title }) => title));
    expect(await titlesOf("fail")).toEqual([]);
  });

  const faults: readonly SuspendFault[] = [
    "SUSP-DEV-001",
    "SUSP-DEV-002",
    "SUSP-DEV-003",
    "SUSP-DEV-004",
    "SUSP-DEV-005",
    "SUSP-DEV-006",
    "SUSP-DEV-007",
    "SUSP-DEV-008",
  ];
  it.each(faults)(
    "%s fails on a device that breaks it alone",
    async (fault) => {
      const [title = ""] = await titlesOf("fail", fault);
      expect(title.split(" ")[0]).toBe(fault);
    },
    20_000,
  );
});

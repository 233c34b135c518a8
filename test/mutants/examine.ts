// Runs the suite on the device of the tree that this file stands in, up to the first finding, and prints that as JSON. A process of
// its own: a mutant may hang, or throw where nothing catches it.
import { runCases } from "../../guest/conformance/runner.ts";
import { conformanceCases } from "../../guest/conformance/suite.ts";
import { variants } from "../../guest/conformance/variant.ts";
import { inProcessSubjects } from "../../machine/conformance/in-process-subject.ts";

const ending = new AbortController();
let finding: object | null = null;
const results = await runCases({
  factory: inProcessSubjects("mutant"),
  cases: conformanceCases,
  variants,
  signal: ending.signal,
  onResult({ conformanceCase, variant, verdict }) {
    if (verdict.outcome === "pass" || verdict.outcome === "skip") return;
    const [reason = ""] = (verdict.reason ?? "").split("\n");
    finding ??= { title: conformanceCase.title, variant: variant.name, reason };
    ending.abort();
  },
});
process.stdout.write(`${JSON.stringify({ finding, cases: results.length })}\n`, () => process.exit());

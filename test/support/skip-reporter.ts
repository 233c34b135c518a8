// Tells at the end of a run which tests did not run and why, each reason with its count: a skip is never silent.
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** A vitest reporter to stand beside the usual one. Prints nothing when every test ran. */
export class SkipReporter implements Reporter {
  onTestRunEnd(testModules: readonly TestModule[]): void {
    const counts = new Map<string, number>();
    for (const testModule of testModules) {
      for (const test of testModule.children.allTests("skipped")) {
        const reason = readReason(test);
        counts.set(reason, (counts.get(reason) ?? 0) + 1);
      }
    }
    for (const [reason, count] of counts) console.log(`Skipped ${count} ${count === 1 ? "test" : "tests"}: ${reason}`);
  }
}

/** The note of `context.skip(note)`, or what stands as `(skipped: …)` in the titles of the test and its suites. */
function readReason(test: TestCase): string {
  const result = test.result();
  if (result.state === "skipped" && result.note !== undefined) return result.note;
  return /\(skipped: ([^)]*)\)/.exec(test.fullName)?.[1] ?? "not selected, not set up, or without a reason";
}

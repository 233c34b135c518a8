// Counts the tests in a JSON report of vitest and prints them as one line; exit code 0 only for a run in which all went well.
import { readFileSync } from "node:fs";

const [reportPath] = process.argv.slice(2);
const { success, testResults } = JSON.parse(readFileSync(reportPath, "utf8"));

const counts = { passed: 0, failed: 0, skipped: 0 };
for (const file of testResults) {
  for (const { status } of file.assertionResults) {
    if (status === "passed" || status === "failed") counts[status]++;
    else counts.skipped++; // skipped, pending, todo, disabled: did not run
  }
  // A file that failed before its first test has nothing else to show for it.
  if (file.status === "failed" && file.assertionResults.every(({ status }) => status !== "failed")) counts.failed++;
}

console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = success && counts.failed === 0 && counts.passed > 0 ? 0 : 1;

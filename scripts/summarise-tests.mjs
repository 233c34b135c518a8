// Counts the tests in JSON reports of vitest and prints them as one line; exit code 0 only if all went well in each run.
import { readFileSync } from "node:fs";

const reports = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")));

const counts = { passed: 0, failed: 0, skipped: 0 };
for (const file of reports.flatMap(({ testResults }) => testResults)) {
  for (const { status } of file.assertionResults) {
    if (status === "passed" || status === "failed") counts[status]++;
    else counts.skipped++; // skipped, pending, todo, disabled: did not run
  }
  // A file that failed before its first test has nothing else to show for it.
  if (file.status === "failed" && file.assertionResults.every(({ status }) => status !== "failed")) counts.failed++;
}

console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = reports.every(({ success }) => success) && counts.failed === 0 && counts.passed > 0 ? 0 : 1;

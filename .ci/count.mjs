// Sums the JSON reports of vitest in a folder: `node .ci/count.mjs FOLDER` prints `N passed, N failed`, and how many were
// skipped where any were.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const total = { passed: 0, failed: 0, skipped: 0 };
for (const file of readdirSync(process.argv[2]).filter((name) => name.endsWith(".json"))) {
  const report = JSON.parse(readFileSync(join(process.argv[2], file), "utf8"));
  total.passed += report.numPassedTests;
  total.failed += report.numFailedTests;
  total.skipped += report.numPendingTests + report.numTodoTests;
  // A file that could not be loaded has no tests to fail.
  total.failed += report.testResults.filter(
    (one) => one.status === "failed" && one.assertionResults.length === 0,
  ).length;
}
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);

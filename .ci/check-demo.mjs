// Looks at what a short demo wrote: `node .ci/check-demo.mjs RESULT RUNS`. It holds the contract, the methods spent the same, and
// IOP, which learns several times as fast at this point of the curve, is ahead of the plain outcome method.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const [result, runs] = process.argv.slice(2);
const demo = JSON.parse(readFileSync(result, "utf8"));
const { outcome, positiveOnly, iop } = demo.methods;
assert.equal(demo.budgetTokens, 120_000);
for (const method of [outcome, positiveOnly, iop]) {
  assert.equal(method.sampled.length, 1);
  assert.ok(method.tokens[0] <= 120_000 && method.tokens[0] > 0.97 * 120_000, `${method.tokens[0]} tokens`);
  const points = method.curves[0].map(([tokens]) => tokens);
  points.slice(1).forEach((tokens, p) => assert.ok(tokens - points[p] <= 60_000));
}
assert.ok(demo.warmStart.sampled > 0 && demo.warmStart.sampled < 0.12, `warm start ${demo.warmStart.sampled}`);
assert.ok(iop.sampled[0] > outcome.sampled[0], `IOP ${iop.sampled[0]}, outcome ${outcome.sampled[0]}`);
assert.ok(iop.identify.agreement > 0.8, `agreement ${iop.identify.agreement}`);

const [run] = readdirSync(runs);
assert.deepEqual(readdirSync(join(runs, run)).sort(), [
  "checkpoints",
  "config.json",
  "metrics.jsonl",
  "report.html",
  "result.json",
]);
const lines = readFileSync(join(runs, run, "metrics.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map(JSON.parse);
for (const method of ["outcome", "positiveOnly", "iop"])
  assert.ok(lines.some((line) => line.method === method && line.iteration));
console.log(
  `demo: outcome ${outcome.sampled[0]}, positiveOnly ${positiveOnly.sampled[0]}, IOP ${iop.sampled[0]} at 120,000 tokens`,
);

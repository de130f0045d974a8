// What docs/demo.md reports of settings and warm starts: trains one warm start by several settings and prints a line each.
//   node scripts/tune-demo.mjs WARM_START_SEED SEEDS METHOD:LR:EPOCHS[:ROWS] ...        after npm run build
//   METHOD: outcome, positiveOnly, iop, iopFullPenalty, positiveOnlyRepair, iopSiblings
// It evaluates on problems of its own, not those of the demo, with repairs of verified data; `stepcredit compare` does the rest.
import { demoDefaults, methodConfig } from "../dist/demo/demo.js";
import { deviation, mean } from "../dist/run/curves.js";
import { loopConfigOf } from "../dist/run/config.js";
import { freshPolicy, warmStart, warmStartDefaults } from "../dist/run/warm-start.js";
import { chainArithmetic, deriveSeed, evaluate, Random, train } from "../dist/index.js";

const rules = {
  outcome: { rule: "outcome", repair: false },
  positiveOnly: { rule: "positiveOnly", repair: false },
  iop: { rule: "contrast", repair: true },
  // Failures paid all of their advantage when the lines of the page were run.
  iopFullPenalty: { rule: "contrast", repair: true, penaltyWeight: 1 },
  positiveOnlyRepair: { rule: "positiveOnly", repair: true },
  iopSiblings: { rule: "contrast", repair: false, penaltyWeight: 1 },
};
const marks = [60_000, 120_000, 240_000];

const [warmStartSeed, seedList, ...settings] = process.argv.slice(2);
if (settings.length === 0) {
  console.error("usage: node scripts/tune-demo.mjs WARM_START_SEED SEEDS METHOD:LR:EPOCHS[:ROWS] ...");
  process.exit(2);
}
const seed = Number(warmStartSeed);
const task = chainArithmetic();
const random = new Random(deriveSeed(seed, "tuning problems"));
const problems = Array.from({ length: 300 }, () => task.problem(random.next));
const accuracy = async (policy, temperature) =>
  (await evaluate(task, problems, policy.sampler({ seed: 1, temperature }))).accuracy;

const shared = methodConfig("iop", 0, { ...demoDefaults, repairs: "verified" });
const warm = freshPolicy(task, seed, shared);
await warmStart(warm, task, { ...warmStartDefaults.verified, seed }, () => {});
console.log(`warm start ${seed}: greedy ${await accuracy(warm, 0)}, sampled ${await accuracy(warm, 1)}`);

for (const setting of settings) {
  const [method, lr, epochs, rows = "128"] = setting.split(":");
  const at = marks.map(() => []);
  for (const runSeed of seedList.split(",").map(Number)) {
    const policy = warm.clone();
    const numbers = { lr: Number(lr), epochs: Number(epochs), rowsPerBatch: Number(rows) };
    const config = { ...loopConfigOf(shared), ...rules[method], ...numbers, seed: runSeed, budgetTokens: marks.at(-1) };
    for await (const { metrics } of train(policy, task, config)) {
      // The first iteration to end within half an iteration of a mark, or past it, stands for it.
      const next = at.findIndex((values, m) => values.at(-1)?.seed !== runSeed && metrics.tokens >= marks[m] - 3000);
      if (next >= 0) at[next].push({ seed: runSeed, accuracy: await accuracy(policy, 1) });
    }
  }
  const cells = at.map((values) => {
    const numbers = values.map((value) => value.accuracy);
    return `${mean(numbers).toFixed(3)} ± ${deviation(numbers).toFixed(3)}`;
  });
  console.log(`${setting.padEnd(26)} ${marks.map((mark, m) => `${mark / 1000} k: ${cells[m]}`).join("   ")}`);
}

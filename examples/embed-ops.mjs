// The ops and the credit inside a trainer of your own: the model, its logits and its optimizer stay yours.
//
//   npm run build && node examples/embed-ops.mjs
//
// Four recorded rollouts of one problem become credit per step, the credit becomes arrays, and the arrays with the logits of
// a model (here random numbers) become the gradient of its logits: first op by op, then in one fused pass.
import assert from "node:assert/strict";
import { createTree, delimiter, graft, grpo, openOps, pack, Random, supervise } from "../dist/index.js";

// ── credit for rollouts that you sampled and judged

const words = ["2", "3", "4", "5", "12", "14", "20", "+", "×", "=", ";"];
const ids = (text) => text.split(" ").map((word) => words.indexOf(word));

const rollouts = [
  { text: "3 × 4 = 12 ; 2 + 12 = 14 ;", reward: 1 },
  { text: "3 × 4 = 12 ; 2 + 12 = 20 ;", reward: 0 }, // breaks in its second step, in one token
  { text: "2 + 3 = 5 ; 5 × 4 = 20 ;", reward: 0 }, // breaks in its first step
  { text: "3 × 4 = 12 ; 2 + 12 = 14 ;", reward: 1 },
];
const tree = createTree({ id: "one", prompt: ids("2 + 3 × 4 =") });
const segment = delimiter(ids(";"));
for (const { text, reward } of rollouts) {
  const completion = ids(text);
  const steps = segment(completion).map(({ start, end }) => completion.slice(start, end));
  graft(tree, 0, steps, { source: "recorded", outcome: reward });
}
const supervision = supervise(tree, { rule: "contrast", advantage: (outcomes) => grpo({ outcomes }) });
const batch = pack([tree], [supervision], { prune: true });
const { tokens, targetOffsets, targets, stepOf, stepCredits, weights } = batch;
const [T, N, V] = [tokens.length, targets.length, words.length];
const unrolled = rollouts.reduce((sum, { text }) => sum + tree.problem.prompt.length + ids(text).length, 0);
console.log(`${unrolled} tokens in ${rollouts.length} rollouts, packed into T = ${T} positions with N = ${N} targets`);

// ── what your model gives for the packed positions: logits [T, V], before the update and after some steps of it

const random = new Random(1);
const oldLogits = Float32Array.from({ length: T * V }, () => 2 * random.next());
const logits = oldLogits.map((logit) => logit + random.next() - 0.5);

// ── op by op

const ops = openOps("cpu");
const clip = { epsLow: 0.2, epsHigh: 0.2 };
const { logprobs: oldLogprobs } = ops.logprobs({ logits: oldLogits, targetOffsets, targets });
const { logprobs, lse } = ops.logprobs({ logits, targetOffsets, targets });
const advantages = ops.scatterAdvantages({ stepCredits, stepOf });
const ratios = new Float32Array(N);
const loss = ops.policyLoss.clip({ logprobs, oldLogprobs, advantages, weights, ratios, ...clip });
const dlogits = ops.logprobsBackward({ logits, targetOffsets, targets, lse, dlogprobs: loss.dlogprobs });

console.log("target   A⁺     A⁻     ratio  dlogprob");
for (let n = 0; n < N; n++) {
  const numbers = [advantages[2 * n], advantages[2 * n + 1], ratios[n], loss.dlogprobs[n]];
  console.log(words[targets[n]].padEnd(6) + numbers.map((number) => number.toFixed(3).padStart(7)).join(""));
}
console.log(`loss ${loss.metrics.loss.toFixed(4)}, clipped ${(100 * loss.metrics.clipFraction).toFixed(0)} %`);

// ── the same in one pass over the logits, which their gradient overwrites

const inPlace = logits.slice();
const fused = ops.policyUpdate.clip({
  logits: inPlace,
  dlogits: inPlace,
  targetOffsets,
  targets,
  oldLogprobs,
  advantages,
  weights,
  ...clip,
});
const difference = dlogits.reduce((most, d, i) => Math.max(most, Math.abs(d - inPlace[i])), 0);
console.log(
  `fused: loss ${fused.metrics.loss.toFixed(4)}, largest difference of dlogits ${difference.toExponential(1)}`,
);
assert.ok(Math.abs(fused.metrics.loss - loss.metrics.loss) < 1e-6);
assert.ok(difference < 1e-6);

// Your trainer takes it from here: dlogits [T, V] goes into the backward pass of the model.

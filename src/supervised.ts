/** Learning from written sequences: the log-likelihood of their targets, one op for its value and one for its gradient. */

import type { Batch } from "./batch.ts";
import type { Optimizer } from "./optimizer.ts";
import type { Policy } from "./policy.ts";

/** One step down Σ −weights · logprobs; gives that sum before the step, in nats. */
export function supervisedStep(policy: Policy, optimizer: Optimizer, batch: Batch): number {
  const { targetOffsets, targets, weights } = batch;
  const pass = policy.forward(batch);
  const { lse, logprobs } = policy.ops.logprobs({ logits: pass.logits, targetOffsets, targets });
  const dlogprobs = weights.map((weight) => -weight);
  const rows = { logits: pass.logits, targetOffsets, targets, lse, dlogprobs, dlogits: pass.logits };
  policy.ops.logprobsBackward(rows);
  pass.backward(pass.logits);
  policy.step(optimizer);
  return weights.reduce((sum, weight, n) => sum - (weight === 0 ? 0 : weight * logprobs[n]), 0);
}

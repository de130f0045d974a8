/** Vectors of selective log-softmax: log-probs, entropy, Σ p² and the gradient, one target per row. */
import type { Ops } from "../ops/ops.ts";
import { flatten, floats, optionalNumber, type Computed, type GoldenVector, type Precision } from "./vector.ts";

export function computeLogprob(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const array = (name: string) => floats(precision, flatten(vector.inputs[name], name));
  const targets = Int32Array.from(flatten(vector.inputs["targets"], "targets"));
  const rows = {
    logits: array("logits"),
    targetOffsets: Int32Array.from({ length: targets.length + 1 }, (_, t) => t),
    targets,
    temperature: optionalNumber(vector.options, "temperature") ?? 1,
  };
  const outputs = (length: number) => floats(precision, new Float64Array(length));
  const [lse, logprobs, entropy, sumSquares] = [1, 2, 3, 4].map(() => outputs(targets.length));
  ops.logprobs({ ...rows, lse, logprobs, entropy, sumSquares });
  const dlogits = ops.logprobsBackward({
    ...rows,
    lse,
    entropy,
    dlogprobs: array("grad_logprob"),
    dentropy: array("grad_entropy"),
    dlogits: outputs(rows.logits.length),
  });
  return { values: { logprob: logprobs, entropy, sum_pi_squared: sumSquares, grad_logits: dlogits } };
}

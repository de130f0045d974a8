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

/** Vectors of log-probs over a part of the vocabulary: `keep [N, V]` and the target. */
export function computeLogprobSupport(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const array = (name: string) => floats(precision, flatten(vector.inputs[name], name));
  const targets = Int32Array.from(flatten(vector.inputs["targets"], "targets"));
  const logits = array("logits");
  const rows = {
    logits,
    keep: keepBits(flatten(vector.inputs["keep"], "keep"), logits.length / targets.length),
    targetOffsets: Int32Array.from({ length: targets.length + 1 }, (_, t) => t),
    targets,
    temperature: optionalNumber(vector.options, "temperature") ?? 1,
  };
  const outputs = (length: number) => floats(precision, new Float64Array(length));
  const [lse, logprobs, entropy] = [1, 2, 3].map(() => outputs(targets.length));
  ops.logprobs({ ...rows, lse, logprobs, entropy });
  const dlogits = outputs(logits.length);
  ops.logprobsBackward({ ...rows, lse, dlogprobs: array("grad_logprob"), dlogits });
  return { values: { logprob: logprobs, entropy, grad_logits: dlogits } };
}

/** Rows of V zeros and ones as rows of ⌈V / 8⌉ bytes, the lowest bit first. */
function keepBits(keep: readonly number[], V: number): Uint8Array {
  const bytes = Math.ceil(V / 8);
  const bits = new Uint8Array((keep.length / V) * bytes);
  keep.forEach((kept, i) => {
    if (kept !== 0) bits[Math.floor(i / V) * bytes + ((i % V) >> 3)] |= 1 << ((i % V) & 7);
  });
  return bits;
}

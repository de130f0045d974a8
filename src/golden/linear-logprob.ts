/** Vectors of a language-model head fused with its log-probabilities. A target to be ignored is a row without a target. */
import type { Ops } from "../ops/ops.ts";
import { flatten, floats, optionalNumber, type Computed, type GoldenVector, type Precision } from "./vector.ts";

export function computeLinearLogprob(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const { inputs, options } = vector;
  const given = (name: string) => flatten(inputs[name], name);
  const array = (name: string) => floats(precision, given(name));
  const outputs = (length: number) => floats(precision, new Float64Array(length));

  const ignored = optionalNumber(options, "ignore_index");
  const all = given("targets");
  const kept = [...all.keys()].filter((t) => all[t] !== ignored);
  const targetOffsets = new Int32Array(all.length + 1);
  all.forEach((target, t) => (targetOffsets[t + 1] = targetOffsets[t] + (target === ignored ? 0 : 1)));
  const logitScale = optionalNumber(options, "logit_scale");
  const softcap = optionalNumber(options, "softcap");
  const head = {
    hidden: array("hidden"),
    weight: array("weight"),
    ...(inputs["bias"] !== undefined && { bias: array("bias") }),
    targetOffsets,
    targets: Int32Array.from(kept, (t) => all[t]),
    temperature:
      inputs["temperature_per_row"] === undefined
        ? (optionalNumber(options, "temperature") ?? 1)
        : array("temperature_per_row"),
    ...(logitScale !== undefined && { logitScale }),
    ...(softcap !== undefined && { softcap }),
  };
  const [lse, entropy] = [outputs(all.length), outputs(all.length)];
  const logprobs = outputs(kept.length);
  ops.linearLogprobs({ ...head, lse, logprobs, entropy });

  const [dhidden, dweight] = [outputs(head.hidden.length), outputs(head.weight.length)];
  const dbias = outputs(head.weight.length / (head.hidden.length / all.length));
  const dlogprob = given("grad_logprob");
  ops.linearLogprobsBackward({
    ...head,
    lse,
    logprobs,
    entropy,
    dlogprobs: floats(
      precision,
      kept.map((t) => dlogprob[t]),
    ),
    dentropy: array("grad_entropy"),
    dhidden,
    dweight,
    dbias,
  });
  const logprob = outputs(all.length);
  kept.forEach((t, n) => (logprob[t] = logprobs[n]));
  return { values: { logprob, entropy, grad_hidden: dhidden, grad_weight: dweight, grad_bias: dbias } };
}

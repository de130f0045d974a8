/** Vectors of a language-model head fused with its log-probabilities. */
import type { Ops } from "../ops/ops.ts";
import { flatten, floats, optionalNumber, type Computed, type GoldenVector, type Precision } from "./vector.ts";

export function computeLinearLogprob(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const { inputs, options } = vector;
  const given = (name: string) => flatten(inputs[name], name);
  const array = (name: string) => floats(precision, given(name));
  const outputs = (length: number) => floats(precision, new Float64Array(length));

  const ignoreIndex = optionalNumber(options, "ignore_index");
  const targets = Int32Array.from(given("targets"));
  const T = targets.length;
  const logitScale = optionalNumber(options, "logit_scale");
  const softcap = optionalNumber(options, "softcap");
  const head = {
    hidden: array("hidden"),
    weight: array("weight"),
    ...(inputs["bias"] !== undefined && { bias: array("bias") }),
    targetOffsets: Int32Array.from({ length: T + 1 }, (_, t) => t),
    targets,
    ...(ignoreIndex !== undefined && { ignoreIndex }),
    temperature:
      inputs["temperature_per_row"] === undefined
        ? (optionalNumber(options, "temperature") ?? 1)
        : array("temperature_per_row"),
    ...(logitScale !== undefined && { logitScale }),
    ...(softcap !== undefined && { softcap }),
  };
  const [lse, logprobs, entropy] = [outputs(T), outputs(T), outputs(T)];
  ops.linearLogprobs({ ...head, lse, logprobs, entropy });

  const [dhidden, dweight] = [outputs(head.hidden.length), outputs(head.weight.length)];
  const dbias = outputs(head.weight.length / (head.hidden.length / T));
  ops.linearLogprobsBackward({
    ...head,
    lse,
    logprobs,
    entropy,
    dlogprobs: array("grad_logprob"),
    dentropy: array("grad_entropy"),
    dhidden,
    dweight,
    dbias,
  });
  return { values: { logprob: logprobs, entropy, grad_hidden: dhidden, grad_weight: dweight, grad_bias: dbias } };
}
